/**
 * What can go wrong with DynamoDB, in four kinds that need four treatments: a condition that did not hold (part of
 * the plan), DynamoDB out of reach (try again), a wrong set-up (tell the operator), a request that is ours to fix.
 * Messages name the table and the action and never carry keys or values: those are tenants' data.
 */
import { codeOf, isTimeout, isUnreachable, type SdkError, setUpFault } from './set-up.js';
import type { Item } from './tables.js';

/** The condition of a write did not hold. Expected by whoever stated the condition. */
export class ConditionFailed extends Error {
  override readonly name = 'ConditionFailed';
  readonly #item: Item | undefined;
  constructor(message: string, item: Item | undefined) {
    super(message);
    this.#item = item;
  }

  /**
   * The item as it stands; missing when there is none and where the server does not tell (the embedded one). No field: a
   * log shows the fields of an error.
   */
  get item(): Item | undefined {
    return this.#item;
  }
}

/** One call, in words for people. */
export interface CallWords {
  /** Full names. */
  readonly tables: readonly string[];
  readonly action: string;
  /** `at http://127.0.0.1:8000`, `in region eu-central-1`. */
  readonly place: string;
}

export function nameOf({ action, tables }: Pick<CallWords, 'action' | 'tables'>): string {
  return `${action} on table${tables.length > 1 ? 's' : ''} ${tables.join(', ')}`;
}

/** What the errors of the world have in common: who meets them may try again, and tells each cause once. */
interface WorldOptions {
  readonly cause?: unknown;
  /** DynamoDB's or the system's name of the cause: `AccessDeniedException`, `ECONNREFUSED`. */
  readonly code?: string;
  readonly call?: CallWords;
}

/** Throttled, timed out, 5xx or unreachable: the same call may succeed later. A write may have happened. */
export class DynamoUnavailable extends Error {
  override readonly name = 'DynamoUnavailable';
  readonly throttled: boolean;
  readonly code: string;
  readonly call: CallWords | undefined;
  /** DynamoDB did not even answer. */
  readonly isUnreachable: boolean;
  constructor(message: string, options: WorldOptions & { throttled?: boolean; isUnreachable?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.throttled = options.throttled ?? false;
    this.code = options.code ?? '';
    this.call = options.call;
    this.isUnreachable = options.isUnreachable ?? false;
  }
}

/** A missing table, a wrong key schema, no access, a bad endpoint or region: the message says what to do. */
export class DynamoMisconfigured extends Error {
  override readonly name = 'DynamoMisconfigured';
  readonly code: string;
  readonly call: CallWords | undefined;
  constructor(message: string, options: WorldOptions = {}) {
    super(message, { cause: options.cause });
    this.code = options.code ?? '';
    this.call = options.call;
  }
}

/** Worth trying again while running: DynamoDB comes back, and an operator may mend what is set up wrongly. */
export function mayPass(error: unknown): error is DynamoUnavailable | DynamoMisconfigured {
  return error instanceof DynamoUnavailable || error instanceof DynamoMisconfigured;
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

/** Any error of the SDK as one of the four kinds. `unmarshallItem` decodes what a failed condition returned. */
export function typedError(
  cause: unknown,
  call: CallWords,
  unmarshallItem: (item: Record<string, unknown>) => Item,
): Error {
  const error = (cause ?? {}) as SdkError;
  const name = error.name ?? '';
  const what = `DynamoDB ${nameOf(call)}`;
  if (name === 'ConditionalCheckFailedException')
    return new ConditionFailed(
      `${what}: the condition did not hold`,
      error.Item === undefined ? undefined : unmarshallItem(error.Item),
    );
  const wrong = setUpFault(error, call.place);
  if (wrong) {
    const { code, remedy } = wrong;
    return new DynamoMisconfigured(`${what} failed (${code}): ${remedy}`, { cause, code, call });
  }
  if (throttles.has(name))
    return new DynamoUnavailable(`${what} was throttled`, { cause, throttled: true, code: name, call });
  const status = error.$metadata?.httpStatusCode ?? 0;
  if (status >= 400 && status < 500 && !isUnreachable(error))
    return new DynamoRejected(`${what} was rejected (${name})`, error.message ?? name, { cause });
  // A dead socket or half an answer: not the caller's doing, and the next attempt uses a new connection.
  const code = codeOf(error);
  const words = isTimeout(error) ? `no answer in time (${code})` : code;
  return new DynamoUnavailable(`${what} failed: ${words} ${call.place}`, {
    cause,
    code,
    call,
    isUnreachable: status === 0 || isUnreachable(error),
  });
}
