/**
 * What can go wrong with DynamoDB, in four kinds that need four treatments: a condition that did not hold (part of
 * the plan), DynamoDB out of reach (try again), a wrong set-up (tell the operator), a request that is ours to fix.
 * Messages name the table and the action and never carry keys or values: those are tenants' data.
 */
import type { Item } from './tables.js';

/** The condition of a write did not hold. Expected by whoever stated the condition. */
export class ConditionFailed extends Error {
  override readonly name = 'ConditionFailed';
  /** The item as it stands; missing when there is none and where the server does not tell (the embedded one). */
  readonly item: Item | undefined;
  constructor(message: string, item: Item | undefined) {
    super(message);
    this.item = item;
  }
}

/** Throttled, timed out, 5xx or unreachable: the same call may succeed later. A write may have happened. */
export class DynamoUnavailable extends Error {
  override readonly name = 'DynamoUnavailable';
  readonly throttled: boolean;
  constructor(message: string, options: { cause?: unknown; throttled?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.throttled = options.throttled ?? false;
  }
}

/** A missing table, a wrong key schema, no access, a bad endpoint or region: the message says what to do. */
export class DynamoMisconfigured extends Error {
  override readonly name = 'DynamoMisconfigured';
}

/** A request that DynamoDB will never accept (an expression, a size, a duplicate key): the caller's fault. */
export class DynamoRejected extends Error {
  override readonly name = 'DynamoRejected';
  readonly reason: string;
  constructor(message: string, reason: string, options?: { cause?: unknown }) {
    super(message, options);
    this.reason = reason;
  }
}

const throttles = new Set([
  'ProvisionedThroughputExceededException',
  'ThrottlingException',
  'Throttling',
  'RequestLimitExceeded',
  'LimitExceededException',
  'TooManyRequestsException',
]);

/** What Node and the HTTP handler say when nobody answers. A host name that does not exist is a wrong set-up. */
const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'TimeoutError',
  'RequestTimeout',
  'RequestTimeoutException',
  'AbortError',
]);

/** Error name or code, and what the operator should look at. */
const misconfigured: ReadonlyMap<string, string> = new Map([
  ['ResourceNotFoundException', 'create the tables, or check the table prefix and the region'],
  ['AccessDeniedException', 'grant this action on the table to the role in use'],
  ['UnrecognizedClientException', 'check the AWS credentials in use'],
  ['InvalidSignatureException', 'check the AWS credentials and the clock of this machine'],
  ['MissingAuthenticationTokenException', 'check the AWS credentials in use'],
  ['IncompleteSignatureException', 'check the AWS credentials in use'],
  ['ExpiredTokenException', 'renew the AWS credentials in use'],
  ['CredentialsProviderError', 'provide AWS credentials (a role, a profile or environment variables)'],
  ['ENOTFOUND', 'check the endpoint and the region: the host name does not exist'],
  ['ERR_INVALID_URL', 'check the endpoint: it is not a URL'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'check the endpoint: its certificate is for another name'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'check the endpoint: its certificate is not trusted'],
]);

/** How a ValidationException reads when the table has other keys than `tableDefinitions` says. */
const wrongKeys = /key element|Missing the key|Type mismatch for key|does not match the schema|specified index/i;

interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly Item?: Record<string, unknown>;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** Any error of the SDK as one of the four kinds. `unmarshallItem` decodes what a failed condition returned. */
export function typedError(
  cause: unknown,
  table: string,
  action: string,
  unmarshallItem: (item: Record<string, unknown>) => Item,
): Error {
  const error = (cause ?? {}) as SdkError;
  const name = error.name ?? '';
  const code = error.code ?? '';
  const what = `DynamoDB ${action} on table ${table}`;
  if (name === 'ConditionalCheckFailedException')
    return new ConditionFailed(
      `${what}: the condition did not hold`,
      error.Item === undefined ? undefined : unmarshallItem(error.Item),
    );
  const remedy = misconfigured.get(name) ?? misconfigured.get(code);
  if (remedy !== undefined) return new DynamoMisconfigured(`${what} failed (${code || name}): ${remedy}`, { cause });
  if (throttles.has(name)) return new DynamoUnavailable(`${what} was throttled`, { cause, throttled: true });
  const status = error.$metadata?.httpStatusCode ?? 0;
  if (status >= 500 || unreachable.has(name) || unreachable.has(code))
    return new DynamoUnavailable(`${what} failed: ${code || name || status}`, { cause });
  if (name === 'ValidationException' && wrongKeys.test(error.message ?? ''))
    return new DynamoMisconfigured(`${what} failed: the table has other keys than expected; create it anew`, { cause });
  if (/region is missing/i.test(error.message ?? ''))
    return new DynamoMisconfigured(`${what} failed: no region is set; set AWS_REGION`, { cause });
  if (status >= 400) return new DynamoRejected(`${what} was rejected (${name})`, error.message ?? name, { cause });
  // A dead socket or half an answer: not the caller's doing, and the next attempt uses a new connection.
  return new DynamoUnavailable(`${what} failed: ${code || name || 'unknown error'}`, { cause });
}
