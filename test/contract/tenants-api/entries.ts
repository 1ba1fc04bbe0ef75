/**
 * The two ways in which the API runs, for contract tests that hold for both: the HTTP server of `npm start`, asked through
 * a socket, and the bundle that is deployed, in a Lambda behind an HTTP API.
 */
import { request } from 'node:http';
import { join } from 'node:path';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import { serveApi } from '../../../tenants-api/entry/local.js';
import { eventOf, responseOf } from '../../support/api-gateway.js';
import { Lambda } from '../../support/lambda.js';
import { type Answer, callsThrough, operatorKey, standingClock, type TestApi } from './api.js';

export interface OpenOptions {
  /** Of the database, and a client whose tables the API is to use. */
  readonly endpoint: string;
  readonly dynamo: Dynamo;
  readonly signUpsPerMinute?: number;
}

export interface EntryApi extends TestApi {
  /** What the API has logged, as JSON. */
  readonly lines: string[];
  close(): Promise<void>;
}

export interface Entry {
  readonly name: string;
  open(options: OpenOptions): Promise<EntryApi>;
}

const endpoints = { mqtts: 'mqtts://127.0.0.1:8883', api: 'http://127.0.0.1:8080' };
/** Tests sign up more often than people do. */
const signUpsPerMinuteDefault = 1000;

const localServer: Entry = {
  name: 'the local server',
  async open({ dynamo, signUpsPerMinute = signUpsPerMinuteDefault }) {
    const clock = standingClock();
    const lines: string[] = [];
    const write = (level: string) => (fields: object, message: string) =>
      void lines.push(JSON.stringify({ level, message, ...fields }));
    const served = await serveApi({
      dynamo,
      clock,
      endpoints,
      operatorKey,
      signUp: { perMinute: signUpsPerMinute },
      health: () => dynamo.check().then(() => ({ ok: true, parts: { dynamodb: 'ok' } })),
      log: { debug() {}, info: write('info'), warn: write('warn'), error: write('error') },
      host: '127.0.0.1',
      port: 0,
    });
    const calls = callsThrough(({ method, target, headers, body, from }) => {
      return new Promise<Answer>((resolve, reject) => {
        const options = { port: served.port, host: '127.0.0.1', localAddress: from, method, path: target };
        const asked = request({ ...options, headers: headers.flat(), agent: false }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
          response.on('end', () => {
            const answered = new Headers();
            for (const [name, values = []] of Object.entries(response.headersDistinct))
              for (const value of values) answered.append(name, value);
            resolve({ status: response.statusCode ?? 0, headers: answered, bytes: Buffer.concat(chunks) });
          });
        });
        asked.on('error', reject).end(body);
      });
    });
    return { ...calls, clock, lines, close: () => served.close() };
  },
};

/** Made by `npm run build`, which runs before these tests. */
export const lambdaBundle = join(import.meta.dirname, '../../../dist/tenants-api-lambda/index.mjs');

export function lambdaEnv({ endpoint, dynamo, signUpsPerMinute }: OpenOptions): Record<string, string> {
  return {
    AWS_REGION: 'eu-central-1',
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    SHOAL_DYNAMODB_ENDPOINT: endpoint,
    SHOAL_TABLE_PREFIX: dynamo.tableName('tenants').replace(/tenants$/, ''),
    SHOAL_ENDPOINTS: JSON.stringify(endpoints),
    SHOAL_OPERATOR_KEY: operatorKey,
    SHOAL_SIGN_UPS_PER_MINUTE: String(signUpsPerMinute ?? signUpsPerMinuteDefault),
  };
}

const lambda: Entry = {
  name: 'the Lambda',
  async open(options) {
    const clock = standingClock();
    const { nowMs } = clock;
    const running = await Lambda.start({ file: lambdaBundle, env: lambdaEnv(options), nowMs });
    const calls = callsThrough(async ({ from, ...asked }) => {
      const result = await running.invoke(eventOf({ ...asked, sourceIp: from }));
      const { status, headers, body } = responseOf(result);
      return { status, headers, bytes: body };
    });
    return { ...calls, clock, lines: running.lines, close: () => running.stop() };
  },
};

export const entries: readonly Entry[] = [localServer, lambda];
