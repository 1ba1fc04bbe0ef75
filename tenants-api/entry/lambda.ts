/** The API in a Lambda behind an HTTP API (payload 2.0). The only file here that reads the environment. */
import { fileURLToPath } from 'node:url';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import type { Context as HonoContext } from 'hono';
import {
  checkLayout,
  Dynamo,
  DynamoMisconfigured,
  DynamoUnavailable,
  layoutUnreadable,
} from '../../services/dynamo/dynamo.js';
import { type Clock, type Log, systemClock } from '../../services/kernel/kernel.js';
import { brokersPartition } from '../../services/tenancy/tenancy.js';
import { createApp } from '../app.js';
import type { Endpoints, Health } from '../deps.js';
import { operatorKeyOf } from './operator-key.js';
import { requestOf, resultOf } from './payload.js';

async function fromEnvironment(env: NodeJS.ProcessEnv): Promise<Parameters<typeof createApp>[0]> {
  const endpoint = env['SHOAL_DYNAMODB_ENDPOINT'];
  const dynamo = new Dynamo({
    region: needed(env, 'AWS_REGION'),
    tablePrefix: env['SHOAL_TABLE_PREFIX'] ?? 'shoal-',
    ...(endpoint !== undefined && { endpoint }),
  });
  const perMinute = env['SHOAL_SIGN_UPS_PER_MINUTE'];
  return {
    dynamo,
    clock: waitingClock,
    endpoints: endpointsOf(needed(env, 'SHOAL_ENDPOINTS')),
    operatorKey: await operatorKeyOf(env),
    ...(perMinute !== undefined && { signUp: { perMinute: countOf('SHOAL_SIGN_UPS_PER_MINUTE', perMinute) } }),
    health: () => health(dynamo),
    log: jsonLog,
    sourceAddress,
    docsFolder: fileURLToPath(new URL('./docs', import.meta.url)),
  };
}

/**
 * Its timers keep the process alive: between calls of the database nothing else does, and a Lambda whose event loop is
 * empty ends without an answer.
 */
const waitingClock: Clock = {
  ...systemClock,
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

function endpointsOf(text: string): Endpoints {
  try {
    return JSON.parse(text) as Endpoints;
  } catch {
    throw new Error('environment variable SHOAL_ENDPOINTS is not JSON; use {"api":"https://…","mqtts":"mqtts://…"}');
  }
}

function countOf(name: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Error(`environment variable ${name} is ${text}, not a number`);
}

interface Invocation {
  /** What the gateway saw; headers such as X-Forwarded-For are the client's to write. */
  readonly sourceIp: string;
}

const sourceAddress = (c: HonoContext): string => (c.env as Invocation).sourceIp;

async function health(dynamo: Dynamo): Promise<Health> {
  try {
    await dynamo.get('cluster', { pk: 'health', sk: 'probe' });
    return { ok: true, parts: { dynamodb: 'ok' } };
  } catch (error) {
    return { ok: false, parts: { dynamodb: error instanceof DynamoUnavailable ? 'unavailable' : 'misconfigured' } };
  }
}

/** One JSON object a line: what CloudWatch indexes. */
const write =
  (level: string) =>
  (fields: object, message: string): void => {
    process.stdout.write(`${JSON.stringify({ level, message, ...fields })}\n`);
  };
const jsonLog: Log = { debug() {}, info: write('info'), warn: write('warn'), error: write('error') };

function needed(env: NodeJS.ProcessEnv, name: string): string {
  const value = env[name];
  if (value === undefined || value === '') throw new Error(`environment variable ${name} is not set`);
  return value;
}

const deps = await fromEnvironment(process.env);
const app = createApp(deps);

let layout: Promise<void> | undefined;

/** Once, before anything is read. Whatever else is wrong with DynamoDB is told by the request itself, and the next one asks again. */
async function layoutFits(): Promise<void> {
  layout ??= checkLayout(deps.dynamo, brokersPartition);
  try {
    await layout;
  } catch (error) {
    layout = undefined;
    if (!(error instanceof DynamoMisconfigured) || error.code !== layoutUnreadable) return;
    jsonLog.error({ error: error.message }, 'the API cannot serve');
    throw error;
  }
}

export async function handler(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  if (event.version !== '2.0') throw new Error('this is not an event of an HTTP API with payload format 2.0');
  await layoutFits();
  const invocation: Invocation = { sourceIp: event.requestContext.http.sourceIp };
  return await resultOf(await app.fetch(requestOf(event), invocation));
}
