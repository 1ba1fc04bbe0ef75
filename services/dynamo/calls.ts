/**
 * One call of DynamoDB: a deadline for every attempt, from the moment at which it has a socket to the last byte of the answer,
 * and, if wanted, for all of them, retries of what may succeed later, typed errors, counting. The one place that decides what is
 * tried again; `Dynamo` makes the commands.
 *
 * Time: an attempt may take 2 s (DynamoDB answers in 10 ms, a busy laptop in 500), three attempts are made, and the
 * waits between them are up to 50 and 100 ms: a call fails within 6.2 s, not counted what it waits for its turn
 * (`call-queue.ts`): that is no time of DynamoDB's. Who has somebody waiting sets `deadlineMs`, which bounds it all.
 */
import { type ConsumedCapacity, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { type Log, type Metrics, silentLog } from '../kernel/kernel.js';
import { fromAttributes } from './attributes.js';
import { CallQueue, type NotSent } from './call-queue.js';
import { type ChargeOptions, Charges } from './charges.js';
import { endpointOf } from './endpoint.js';
import {
  type CallWords,
  ConditionFailed,
  DynamoMisconfigured,
  DynamoUnavailable,
  mayPass,
  nameOf,
  typedError,
} from './errors.js';
import { Http } from './http.js';
import { Meter } from './meter.js';
import type { TableName } from './tables.js';
import { Troubles } from './troubles.js';

export interface DynamoOptions extends ChargeOptions {
  /** Of an embedded server; without it the region's. */
  readonly endpoint?: string;
  readonly region: string;
  /** Put before every table name, so that stages share an account: `shoal-`. */
  readonly tablePrefix: string;
  /** For one attempt, connecting included. Default 2000: DynamoDB answers in 10, a busy laptop in 500. */
  readonly requestTimeoutMs?: number;
  /** Default 3: about 100 ms of waiting in all; longer outages are the caller's to ride out. */
  readonly maxAttempts?: number;
  /** Where calls, request units and errors are counted. Default nowhere. */
  readonly metrics?: Metrics;
  /** Where it is told that a trouble is over. That there is one is told by who meets it. Default nowhere. */
  readonly log?: Log;
}

/** What one call may take, where the defaults of the client do not fit. */
export interface CallOptions {
  readonly maxAttempts?: number;
  /** For all attempts together, waits included; then DynamoUnavailable. Default: no bound but the attempts' own. */
  readonly deadlineMs?: number;
  /** Nobody waits for it: calls that somebody waits for overtake it in the queue. */
  readonly canWait?: boolean;
}

/** Connections to DynamoDB, unless they are told apart (`apart`). Each carries one request at a time. */
const socketsMaxDefault = 64;
const backoffBaseMs = 25;
const backoffMsMax = 1000;

/** What a call is about, for its place in the queue and for who pays. */
export interface Asker {
  readonly table: TableName;
  readonly pk: string;
}

const notSentWords: Readonly<Record<NotSent, string>> = {
  QueueFull: 'too many calls of this process are already waiting for DynamoDB',
  QueuedTooLong: 'it waited too long behind other calls of this process',
};

export class Calls {
  readonly #options: DynamoOptions;
  /** For what is called seldom, and to find endpoint and credentials. */
  readonly #client: DynamoDBClient;
  readonly #http: Http;
  readonly #queue: CallQueue;
  readonly #maxAttempts: number;
  readonly #requestTimeoutMs: number;
  readonly #meter: Meter;
  readonly #troubles: Troubles;
  readonly charges: Charges;
  readonly #apart: Calls[] = [];
  /** Where DynamoDB is looked for, in words. */
  readonly place: string;

  constructor(options: DynamoOptions, socketsMax = socketsMaxDefault, like?: Calls) {
    if (options.endpoint !== undefined && !/^https?:\/\/./.test(options.endpoint))
      throw new DynamoMisconfigured(`DynamoDB endpoint ${options.endpoint} is not a URL; use http://host:port`);
    if (options.region === '') throw new DynamoMisconfigured('DynamoDB has no region; set AWS_REGION');
    this.#options = options;
    this.place = options.endpoint === undefined ? `in region ${options.region}` : `at ${options.endpoint}`;
    this.#maxAttempts = options.maxAttempts ?? 3;
    this.#meter = like ? like.#meter : new Meter(options.tablePrefix, options.metrics);
    this.#troubles = like ? like.#troubles : new Troubles(options.log ?? silentLog);
    this.charges = like ? like.charges : new Charges(options);
    this.#queue = new CallQueue(socketsMax);
    const requestTimeoutMs = (this.#requestTimeoutMs = options.requestTimeoutMs ?? 2000);
    this.#client = like ? like.#client : sdkClient(options, requestTimeoutMs);
    this.#http = new Http({
      region: options.region,
      endpoint: () => endpointOf(this.#client),
      credentials: () => this.#client.config.credentials(),
    });
  }

  /**
   * One call of an action that a broker makes all the time; `input` and the answer are as the API has them. An input that is a
   * string is its JSON. `read`: makes of the JSON of an answer what is wanted of it.
   */
  call<T extends { ConsumedCapacity?: ConsumedCapacity | ConsumedCapacity[] | undefined }>(
    tables: readonly TableName[],
    action: string,
    input: object | string,
    options: CallOptions = {},
    asker?: Asker,
    read?: (text: string) => T,
  ): Promise<T> {
    const body = typeof input === 'string' ? input : JSON.stringify(input);
    return this.#run<T>(tables, action, (withinMs) => this.#http.send<T>(action, body, withinMs, read), options, asker);
  }

  /** The same over sockets of its own: what waits for those of others does not hold it up. Closed with this one. */
  apart(socketsMax: number): Calls {
    const calls = new Calls(this.#options, socketsMax, this);
    this.#apart.push(calls);
    return calls;
  }

  /** The full name in the account. */
  tableName(table: TableName): string {
    return this.#options.tablePrefix + table;
  }

  /** The same around a command of the SDK. Its own time-outs end with the head of the answer, and would wait for the body for ever. */
  run<T extends object>(
    tables: readonly TableName[],
    action: string,
    send: (client: DynamoDBClient, options: { abortSignal: AbortSignal }) => Promise<T>,
    options: CallOptions = {},
  ): Promise<T> {
    const attempt = (withinMs: number): Promise<T> =>
      send(this.#client, { abortSignal: AbortSignal.timeout(Math.ceil(withinMs)) });
    return this.#run<T>(tables, action, attempt, options);
  }

  async #run<T extends { ConsumedCapacity?: ConsumedCapacity | ConsumedCapacity[] | undefined }>(
    tables: readonly TableName[],
    action: string,
    send: (withinMs: number) => Promise<T>,
    options: CallOptions,
    asker?: Asker,
  ): Promise<T> {
    const tenant = asker && this.charges.tenantOf(asker.table, asker.pk);
    const endsAtMs = performance.now() + (options.deadlineMs ?? Infinity);
    const leftMs = (): number => endsAtMs - performance.now();
    const maxAttempts = options.maxAttempts ?? this.#maxAttempts;
    for (let attempt = 1; ; attempt++) {
      const turn = this.#queue.enter(tenant ?? '', leftMs(), options.canWait);
      const notSent = turn && (await turn);
      if (notSent !== undefined) throw this.#notSent(tables, action, notSent);
      this.#meter.call(tables, action);
      let answer: T;
      try {
        try {
          answer = await send(Math.max(0, Math.min(this.#requestTimeoutMs, leftMs())));
        } finally {
          this.#queue.leave();
        }
      } catch (cause) {
        const error = typedError(cause, this.#words(tables, action), (item) => fromAttributes(item as never));
        this.#meter.failed(tables, action, error);
        if (error instanceof ConditionFailed) {
          this.#troubles.succeeded(tables, action);
          this.charges.conditionFailed(tenant);
        }
        const isLast = !(error instanceof DynamoUnavailable) || attempt >= maxAttempts || leftMs() <= 0;
        if (!isLast) await backOff(attempt);
        if (!isLast && leftMs() > 0) continue;
        if (mayPass(error)) this.#troubles.failed(tables, action, error);
        throw error;
      }
      // Who is told of it is no part of the attempt: what goes wrong there must not make the call again.
      this.#meter.consumed(action, answer.ConsumedCapacity);
      this.charges.call(tenant, action, answer.ConsumedCapacity);
      this.#troubles.succeeded(tables, action);
      return answer;
    }
  }

  #words(tables: readonly TableName[], action: string): CallWords {
    return { tables: tables.map((table) => this.tableName(table)), action, place: this.place };
  }

  #notSent(tables: readonly TableName[], action: string, why: NotSent): DynamoUnavailable {
    const call = this.#words(tables, action);
    const words = `DynamoDB ${nameOf(call)} was not sent: ${notSentWords[why]}`;
    const error = new DynamoUnavailable(words, { code: why, call });
    this.#meter.failed(tables, action, error);
    this.#troubles.failed(tables, action, error);
    return error;
  }

  close(): void {
    for (const calls of this.#apart) calls.close();
    this.#http.close();
    this.#client.destroy();
  }
}

function sdkClient(options: DynamoOptions, requestTimeoutMs: number): DynamoDBClient {
  const isEmbedded =
    options.endpoint !== undefined &&
    !/\.(amazonaws\.com|amazonaws\.com\.cn|api\.aws)(:\d+)?\/?$/.test(options.endpoint) && // A VPC's own endpoint.
    process.env['AWS_ACCESS_KEY_ID'] === undefined;
  return new DynamoDBClient({
    region: options.region,
    ...(options.endpoint !== undefined && { endpoint: options.endpoint }),
    // An embedded server checks the form of a signature, not who signed.
    ...(isEmbedded && { credentials: { accessKeyId: 'embedded', secretAccessKey: 'embedded' } }),
    maxAttempts: 1, // `run` retries: one place decides what may be tried again.
    requestHandler: new NodeHttpHandler({
      connectionTimeout: requestTimeoutMs,
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
      httpAgent: { keepAlive: true, maxSockets: socketsMaxDefault },
      httpsAgent: { keepAlive: true, maxSockets: socketsMaxDefault },
    }),
  });
}

/** Full jitter: clients that failed together do not come back together. */
export async function backOff(attempt: number): Promise<void> {
  const delayMsMax = Math.min(backoffMsMax, backoffBaseMs * 2 ** attempt);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * delayMsMax));
}
