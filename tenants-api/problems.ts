/**
 * Every error that the API answers with, in one table: the code is what scripts rely on and never changes its
 * meaning. Answers are `application/problem+json` (RFC 9457) and never carry a stack trace or another tenant's data.
 */
import type { ContentfulStatusCode } from 'hono/utils/http-status';

interface ProblemRow {
  readonly status: ContentfulStatusCode;
  readonly title: string;
}

export const problems = {
  'body-incomplete': { status: 400, title: 'The body is incomplete' },
  'malformed-json': { status: 400, title: 'The body is not valid JSON' },
  unauthenticated: { status: 401, title: 'A valid API key is required' },
  'operator-only': { status: 403, title: 'Only the operator may do this' },
  'tenant-only': { status: 403, title: 'Only the tenant may do this' },
  'tenant-suspended': { status: 403, title: 'The tenant is suspended' },
  'path-not-found': { status: 404, title: 'Path not found' },
  'tenant-not-found': { status: 404, title: 'Tenant not found' },
  'key-not-found': { status: 404, title: 'API key not found' },
  'credential-not-found': { status: 404, title: 'Credential not found' },
  'session-not-found': { status: 404, title: 'Session not found' },
  'broker-not-found': { status: 404, title: 'Broker not found' },
  'method-not-allowed': { status: 405, title: 'This path does not support that method' },
  'tenant-name-taken': { status: 409, title: 'This tenant name is taken' },
  'credential-name-taken': { status: 409, title: 'This credential name is taken' },
  'last-key': { status: 409, title: 'The last API key cannot be deleted' },
  'too-many-keys': { status: 409, title: 'The tenant has reached its limit of API keys' },
  'too-many-credentials': { status: 409, title: 'The tenant has reached its quota of credentials' },
  'last-broker': { status: 409, title: 'No other broker could take over' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'not-json': { status: 415, title: 'The body must be application/json' },
  'invalid-request': { status: 422, title: 'The request is not valid' },
  'invalid-cursor': { status: 422, title: 'This cursor was not issued for this list' },
  'too-many-sign-ups': { status: 429, title: 'Too many sign-ups from this address' },
  internal: { status: 500, title: 'Internal error' },
  unavailable: { status: 503, title: 'The service is temporarily unavailable' },
  'not-ready': { status: 503, title: 'The service is not ready yet' },
} as const satisfies Record<string, ProblemRow>;

export type ProblemCode = keyof typeof problems;

/** One wrong field; `field` is a path such as `grants.0.topic`, empty for the body as a whole. */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

export interface ProblemOptions {
  /** One sentence for this occurrence. */
  readonly detail?: string;
  readonly errors?: readonly FieldError[];
  readonly retryAfterSeconds?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** More members of the answer. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** Thrown anywhere below a route; `app.ts` turns it into the answer. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ProblemCode;
  readonly options: ProblemOptions;
  constructor(code: ProblemCode, options: ProblemOptions = {}) {
    super(options.detail ?? problems[code].title);
    this.code = code;
    this.options = options;
  }
}

export function problemResponse({ code, options }: Problem): Response {
  const { status, title } = problems[code];
  const { detail, errors, retryAfterSeconds, extra } = options;
  const body = { type: `urn:shoal:problem:${code}`, title, status, code, detail, errors, ...extra };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      'content-type': 'application/problem+json',
      ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }),
      ...(status === 401 && { 'www-authenticate': 'Bearer' }),
      ...options.headers,
    },
  });
}
