/** The API over a real embedded database, and the few things that tests do again and again. */
import { type ApiDeps, createApp } from '../../../tenants-api/app.js';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import { type Clock, type Log, silentLog } from '../../../services/kernel/kernel.js';

export const operatorKey = 'operator-key-of-the-tests';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
}

export interface ReadAnswer extends Answer {
  /** The body as JSON, or its text. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any;
}

export interface TestApi {
  readonly clock: Clock & { advance(ms: number): void };
  call(method: string, target: string, options?: CallOptions): Promise<ReadAnswer>;
  /** A new tenant's id and key. */
  signUp(): Promise<{ id: string; key: string }>;
}

export interface CallOptions {
  readonly key?: string;
  readonly json?: unknown;
  /** A body as it is, and its type. */
  readonly raw?: readonly [body: string | Buffer, contentType: string];
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** The address that the request comes from. */
  readonly from?: string;
}

/** A request as it goes over the wire. */
export interface Asked {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: Buffer;
  readonly from: string;
}

/** Stands still unless told; waits end at once, as if their time had come. */
export function standingClock(startMs = Date.UTC(2026, 10, 21, 10)): TestApi['clock'] {
  let nowMs = startMs;
  return {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    after(delayMs, run) {
      nowMs += delayMs;
      const timer = setImmediate(run);
      return () => clearImmediate(timer);
    },
    advance: (ms) => void (nowMs += ms),
  };
}

let tenants = 0;

/** The calls of tests, over whatever takes a request and answers it. */
export function callsThrough(send: (asked: Asked) => Promise<Answer>): Pick<TestApi, 'call' | 'signUp'> {
  const call: TestApi['call'] = async (method, target, options = {}) => {
    const { key, json, raw, headers = [], from = '127.0.0.1' } = options;
    const [given, contentType] = raw ?? (json === undefined ? [] : [JSON.stringify(json), 'application/json']);
    const body = given === undefined ? undefined : Buffer.from(given);
    const all = [
      ['Host', 'api.example.com'],
      ...(key === undefined ? [] : [['Authorization', `Bearer ${key}`]]),
      ...(contentType === undefined ? [] : [['Content-Type', contentType]]),
      ...(body === undefined ? [] : [['Content-Length', String(body.length)]]),
      ...headers,
    ] as [string, string][];
    const answer = await send({ method, target, headers: all, from, ...(body && { body }) });
    const text = answer.bytes.toString();
    const isJson = answer.headers.get('content-type')?.includes('json') === true && text !== '';
    return { ...answer, body: isJson ? (JSON.parse(text) as unknown) : text };
  };
  return {
    call,
    async signUp() {
      const name = `tenant-${tenants++}`;
      const { status, body } = await call('POST', '/v1/tenants', { key: operatorKey, json: { name } });
      if (status !== 201) throw new Error(`sign-up answered ${status}`);
      return { id: name, key: (body as { apiKey: string }).apiKey };
    },
  };
}

/** The app alone, with whatever a test wants to be different. */
export function openApi(dynamo: Dynamo, overrides: Partial<ApiDeps> = {}, log: Log = silentLog): TestApi {
  const clock = standingClock();
  const app = createApp({
    dynamo,
    clock,
    endpoints: { mqtts: 'mqtts://127.0.0.1:8883', api: 'http://127.0.0.1:8080' },
    operatorKey,
    health: () => Promise.resolve({ ok: true, parts: { dynamodb: 'ok' } }),
    log,
    sourceAddress: () => '127.0.0.1',
    ...overrides,
  });
  const calls = callsThrough(async ({ method, target, headers, body }) => {
    const init = { method, headers: headers.map(([name, value]) => [name, value] as [string, string]) };
    const response = await app.request(target, { ...init, ...(body && { body: Uint8Array.from(body) }) });
    return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
  });
  return { ...calls, clock };
}
