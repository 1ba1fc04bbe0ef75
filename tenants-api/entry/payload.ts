/**
 * An event of an HTTP API (payload format 2.0) as a request, and a response as the result that the gateway wants.
 * Shapes: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html.
 * What may be missing may also be null, as captured events show.
 * Called by `lambda.ts`; it knows no route.
 */
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';

export function requestOf(event: APIGatewayProxyEventV2): Request {
  const { requestContext, rawQueryString, body } = event;
  const { method } = requestContext.http;
  const query = rawQueryString ? `?${rawQueryString}` : '';
  const headers = headersOf(event);
  const url = `https://${requestContext.domainName}${pathOf(event)}${query}`;
  // A request that Fetch knows has no body with these methods; HTTP servers ignore one, too.
  if (body == null || method === 'GET' || method === 'HEAD') return new Request(url, { method, headers });
  const bytes = Buffer.from(body, event.isBase64Encoded ? 'base64' : 'utf8');
  headers.set('content-length', String(bytes.length));
  return new Request(url, { method, headers, body: bytes });
}

/**
 * The gateway has decoded the path, so every part is encoded again: without that a `#` would end the path, and `%2F` in a
 * name be decoded twice. Which slashes had been encoded cannot be known, and what followed an encoded `?` is gone.
 */
function pathOf({ rawPath, requestContext: { stage } }: APIGatewayProxyEventV2): string {
  const prefix = `/${stage}`;
  const isBelowStage = stage !== '$default' && (rawPath === prefix || rawPath.startsWith(`${prefix}/`));
  const path = isBelowStage ? rawPath.slice(prefix.length) : rawPath;
  return (path === '' ? '/' : path).split('/').map(segmentOf).join('/');
}

/**
 * URLs resolve `.` and `..`, however they are encoded: the client id `../../acme` would make of the end of a session the
 * end of a tenant. With a NUL before them, which no name of ours contains, they name nothing.
 */
function segmentOf(segment: string): string {
  const isDots = segment === '.' || segment === '..';
  return isDots ? `%00${segment}` : encodeURIComponent(Buffer.from(segment).toString());
}

function headersOf({ headers, cookies }: APIGatewayProxyEventV2): Headers {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers)) if (value != null) all.set(name, bytesAsText(value));
  if (cookies != null) all.set('cookie', bytesAsText(cookies.join('; ')));
  return all;
}

/** A character of a header is a byte, as an HTTP server reads it. */
const bytesAsText = (value: string): string => Buffer.from(value, 'utf8').toString('latin1');

export async function resultOf(response: Response): Promise<APIGatewayProxyStructuredResultV2> {
  const { status, headers } = response;
  const isText = /^text\/|[/+](?:json|xml|javascript)\b/.test(headers.get('content-type') ?? 'text/');
  const body = Buffer.from(await response.arrayBuffer());
  const cookies = headers.getSetCookie();
  headers.delete('set-cookie');
  return {
    statusCode: status,
    headers: Object.fromEntries(headers),
    ...(cookies.length > 0 && { cookies }),
    body: body.toString(isText ? 'utf8' : 'base64'),
    isBase64Encoded: !isText,
  };
}
