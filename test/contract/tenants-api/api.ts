/** The API over a real embedded database, called without a socket; and the few things that tests do again and again. */
import { type ApiDeps, createApp } from '../../../tenants-api/app.js';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import { type Clock, type Log, silentLog } from '../../../services/kernel/kernel.js';

export const operatorKey = 'operator-key-of-the-tests';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The body as JSON, or its text. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any;
}

export interface TestApi {
  readonly app: ReturnType<typeof createApp>;
  readonly clock: Clock & { advance(ms: number): void };
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** A new tenant's id and key. */
  signUp(): Promise<{ id: string; key: string }>;
}

export interface CallOptions {
  readonly key?: string;
  readonly json?: unknown;
  /** A body as it is, and its type. */
  readonly raw?: readonly [body: string, contentType: string];
  readonly from?: string;
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

export function openApi(dynamo: Dynamo, overrides: Partial<ApiDeps> = {}, log: Log = silentLog): TestApi {
  const clock = standingClock();
  const app = createApp({
    dynamo,
    clock,
    endpoints: { mqtts: 'mqtts://127.0.0.1:8883', api: 'http://127.0.0.1:8080' },
    operatorKey,
    health: () => Promise.resolve({ ok: true, parts: { dynamodb: 'ok' } }),
    log,
    sourceAddress: (c) => c.req.header('x-test-source') ?? '192.0.2.1',
    ...overrides,
  });
  const call = async (method: string, path: string, options: CallOptions = {}): Promise<Answer> => {
    const { key, json, raw, from } = options;
    const [body, contentType] = raw ?? (json === undefined ? [] : [JSON.stringify(json), 'application/json']);
    const response = await app.request(path, {
      method,
      headers: {
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
        ...(contentType !== undefined && { 'content-type': contentType }),
        ...(from !== undefined && { 'x-test-source': from }),
      },
      ...(body !== undefined && { body }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json');
    return { status: response.status, headers: response.headers, body: isJson ? (JSON.parse(text) as unknown) : text };
  };
  return {
    app,
    clock,
    call,
    async signUp() {
      const name = `tenant-${tenants++}`;
      const { status, body } = await call('POST', '/v1/tenants', { key: operatorKey, json: { name } });
      if (status !== 201) throw new Error(`sign-up answered ${status}`);
      return { id: name, key: (body as { apiKey: string }).apiKey };
    },
  };
}
