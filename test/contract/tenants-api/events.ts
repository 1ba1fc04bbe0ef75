/**
 * Events as API Gateway sends them for an HTTP API with a `$default` route, payload format 2.0. Shapes after the example of
 * the documentation and after events that others captured on AWS, with values of our own:
 *
 * - https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 * - a decoded slash: https://github.com/fastify/aws-lambda-fastify/issues/169
 * - null where nothing is, a stage in the path, a binary body: https://github.com/floci-io/floci/issues/2172
 */
import type { APIGatewayProxyEventV2 } from 'aws-lambda';

const requestContext = {
  accountId: '123456789012',
  apiId: 'a1b2c3d4e5',
  domainName: 'a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com',
  domainPrefix: 'a1b2c3d4e5',
  http: {
    method: 'GET',
    path: '/healthz',
    protocol: 'HTTP/1.1',
    sourceIp: '198.51.100.20',
    userAgent: 'curl/8.5.0',
  },
  requestId: 'KPx2mhVqliAEMaQ=',
  routeKey: '$default',
  stage: '$default',
  time: '21/Nov/2026:10:00:00 +0000',
  timeEpoch: 1795255200000,
};

const headers = {
  accept: '*/*',
  'content-length': '0',
  host: requestContext.domainName,
  'user-agent': 'curl/8.5.0',
  'x-amzn-trace-id': 'Root=1-67405a1e-0a1b2c3d4e5f60718293a4b5',
  'x-forwarded-for': '198.51.100.20',
  'x-forwarded-port': '443',
  'x-forwarded-proto': 'https',
};

/** `GET /healthz`. */
export const plain: APIGatewayProxyEventV2 = {
  version: '2.0',
  routeKey: '$default',
  rawPath: '/healthz',
  rawQueryString: '',
  headers,
  requestContext,
  isBase64Encoded: false,
};

/** `POST /v1/tenants` with cookies and a query, text as its body. */
export const withEverything: APIGatewayProxyEventV2 = {
  ...plain,
  rawPath: '/v1/tenants',
  rawQueryString: 'a=1&a=2&b=x%20y',
  cookies: ['theme=dark', 'seen=1'],
  headers: {
    ...headers,
    accept: 'text/html,application/json',
    'content-length': '14',
    'content-type': 'application/json',
  },
  queryStringParameters: { a: '1,2', b: 'x y' },
  requestContext: { ...requestContext, http: { ...requestContext.http, method: 'POST', path: '/v1/tenants' } },
  body: '{"name":"all"}',
};

/** `DELETE /dev/v1/tenants/acme/sessions/a%2Fb` at a stage that has a name: the path is decoded and begins with the stage. */
export const atStage: APIGatewayProxyEventV2 = {
  ...plain,
  rawPath: '/dev/v1/tenants/acme/sessions/a/b',
  requestContext: {
    ...requestContext,
    stage: 'dev',
    http: { ...requestContext.http, method: 'DELETE', path: '/dev/v1/tenants/acme/sessions/a/b' },
  },
};

/** A POST of 3 bytes that are no text; null where nothing is. */
export const binary = {
  ...plain,
  rawPath: '/v1/tenants',
  cookies: null,
  headers: { ...headers, 'content-length': '3', 'content-type': 'application/octet-stream' },
  queryStringParameters: null,
  pathParameters: null,
  stageVariables: null,
  requestContext: {
    ...requestContext,
    authentication: null,
    http: { ...requestContext.http, method: 'POST', path: '/v1/tenants' },
  },
  body: '//4A',
  isBase64Encoded: true,
} as unknown as APIGatewayProxyEventV2;

/** The same without a body, which is null, too. */
export const withNulls = {
  ...binary,
  rawPath: '/healthz',
  headers,
  requestContext: plain.requestContext,
  body: null,
  isBase64Encoded: false,
} as unknown as APIGatewayProxyEventV2;
