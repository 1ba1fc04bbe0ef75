/**
 * An HTTP API of API Gateway with a `$default` route and payload format 2.0: what it makes of a request, and of the
 * result. The shape is that of the documentation; what it leaves open was observed by others on AWS:
 *
 * - shape, joined headers, cookies: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 * - the path is decoded: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html (note),
 *   %2F too: https://github.com/fastify/aws-lambda-fastify/issues/169,
 *   and cut at what was an encoded `?`: https://github.com/middleapi/standard-server/pull/93
 * - the query stays encoded: https://github.com/ministackorg/ministack/issues/1035
 * - bodies are text only for these types: https://github.com/ministackorg/ministack/pull/766
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';

export interface GatewayRequest {
  readonly method: string;
  /** As the client sends it: percent-encoded, with its query. */
  readonly target: string;
  /** In the order and the case in which they were sent; a name may come again. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body?: Buffer;
  readonly sourceIp: string;
  readonly stage?: string;
}

export function eventOf(request: GatewayRequest): APIGatewayProxyEventV2 {
  const { method, target, body, sourceIp, stage = '$default' } = request;
  const at = target.indexOf('?');
  const rawQueryString = at < 0 ? '' : target.slice(at + 1);
  const [decoded = ''] = decodedLeniently(at < 0 ? target : target.slice(0, at)).split('?');
  const rawPath = stage === '$default' ? decoded : `/${stage}${decoded}`;
  const given = request.headers ?? [];
  const headers: Record<string, string> = {
    host: 'api.example.com',
    'content-length': String(body?.length ?? 0),
    'x-amzn-trace-id': 'Root=1-67405a1e-0a1b2c3d4e5f60718293a4b5',
    'x-forwarded-for': sourceIp,
    'x-forwarded-port': '443',
    'x-forwarded-proto': 'https',
  };
  for (const name of new Set(given.map(([one]) => one.toLowerCase()))) {
    const values = given.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value);
    if (name !== 'cookie') headers[name] = values.join(',');
  }
  const cookies = given.filter(([name]) => name.toLowerCase() === 'cookie').flatMap(([, value]) => value.split(/; */));
  const query = new URLSearchParams(rawQueryString);
  const isText = /^(text\/|application\/(json|xml|javascript)\b)/i.test(headers['content-type'] ?? '');
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath,
    rawQueryString,
    ...(cookies.length > 0 && { cookies }),
    headers,
    ...(query.size > 0 && {
      queryStringParameters: Object.fromEntries([...query.keys()].map((key) => [key, query.getAll(key).join(',')])),
    }),
    requestContext: {
      accountId: '123456789012',
      apiId: 'a1b2c3d4e5',
      domainName: 'api.example.com',
      domainPrefix: 'api',
      http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp, userAgent: headers['user-agent'] ?? '' },
      requestId: 'JKJaXmPLvHcESHA=',
      routeKey: '$default',
      stage,
      time: '21/Nov/2026:10:00:00 +0000',
      timeEpoch: Date.UTC(2026, 10, 21, 10),
    },
    ...(body !== undefined && body.length > 0 && { body: body.toString(isText ? 'utf8' : 'base64') }),
    isBase64Encoded: body !== undefined && body.length > 0 && !isText,
  };
}

/** What cannot be decoded stays. */
function decodedLeniently(path: string): string {
  return path.replaceAll(/(?:%[0-9a-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded;
    }
  });
}

/** What the client of the gateway gets. */
export function responseOf(result: APIGatewayProxyStructuredResultV2): {
  status: number;
  headers: Headers;
  body: Buffer;
} {
  const headers = new Headers();
  for (const [name, value] of Object.entries(result.headers ?? {})) headers.set(name, String(value));
  for (const cookie of result.cookies ?? []) headers.append('set-cookie', cookie);
  const body = Buffer.from(result.body ?? '', result.isBase64Encoded ? 'base64' : 'utf8');
  return { status: result.statusCode ?? 200, headers, body };
}

/** The gateway itself, over plain HTTP on a free port. A function that fails is answered with 500, as there. */
export async function serveGateway(
  invoke: (event: APIGatewayProxyEventV2) => Promise<APIGatewayProxyStructuredResultV2>,
): Promise<{ url: string; close(): void }> {
  const server = createServer((request, response) => {
    const { method = '', url: target = '', rawHeaders, socket } = request;
    const headers = rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? ''] as const] : []));
    const chunks: Buffer[] = [];
    const answer = async (): Promise<void> => {
      const asked = { method, target, headers, body: Buffer.concat(chunks), sourceIp: socket.remoteAddress ?? '' };
      const given = await invoke(eventOf(asked)).then(responseOf, () => undefined);
      if (given === undefined) response.writeHead(500, { 'content-type': 'application/json' });
      else response.writeHead(given.status, Object.fromEntries(given.headers));
      response.end(given?.body ?? '{"message":"Internal Server Error"}');
    };
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => void answer());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
