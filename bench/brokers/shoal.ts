/**
 * Shoal as it runs for real: the whole service on this machine (bundled broker, embedded DynamoDB and tenant API, each a
 * process), a tenant that signs up over HTTP, and a credential with an explicit grant. Access checks and meters are on.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Credentials } from '../load/packets.js';
import { buildDatabase } from '../database/build.js';
import { host, watch, type Broker, type RunningBroker, type ShoalOptions, type StartOptions } from './broker.js';

const ownRoot = fileURLToPath(new URL('../..', import.meta.url));
const startScript = 'services/local/start.mjs';
const profiler = new URL('../profiler.mjs', import.meta.url).href;
const instead = new URL('../database/instead.mjs', import.meta.url).href;
const startsMs = 60_000;
const anyFreePort = ['mqtt', 'mqtts', 'ws', 'wss', 'api'].flatMap((name) => [`--${name}-port`, '0']);

/** Numbers far above what the load reaches: each is counted against, none is ever met. */
const highQuotas = {
  connections: 1_000_000,
  publishPerSecond: 1_000_000_000,
  deliverPerSecond: 1_000_000_000,
  bytesPerSecond: 1_000_000_000_000,
  messageBytesMax: 262_144,
  subscriptionsPerSession: 1000,
  sessionExpirySecondsMax: 86_400,
  queuedMessagesPerSession: 1_000_000,
  retainedMessages: 1_000_000,
  retainedBytes: 1_000_000_000,
  connectsPerSecond: 1_000_000_000,
  packetsPerSecond: 1_000_000_000,
  subscribesPerSecond: 1_000_000_000,
  subscriptions: 1_000_000_000,
  cpuShare: 100,
  memoryBytes: 1_000_000_000_000,
  databaseUnitsPerSecond: 1_000_000_000,
  databaseUnitsPerMonth: 1_000_000_000_000,
};
const noQuotas = Object.fromEntries(Object.keys(highQuotas).map((kind) => [kind, null]));

/** The part of `endpoints.json` that is needed here. */
export interface Endpoints {
  readonly mqtt: { readonly port: number };
  readonly mqtts: { readonly port: number };
  readonly caFile: string;
  readonly api: { readonly url: string };
  readonly operatorKey: string;
  readonly broker: { readonly metricsUrl: string };
  readonly pids: { readonly broker: number; readonly dynamodb: number };
}

export interface RunningShoal extends RunningBroker {
  /** As they are now: a broker that was started again has another process. */
  readonly endpoints: () => Endpoints;
}

export const shoal: Pick<Broker, 'unavailable'> & { readonly start: (options: StartOptions) => Promise<RunningShoal> } =
  {
    unavailable: () => undefined,
    start: async ({ version, folder, shoal: options, unboundedQueues }) => {
      const data = join(folder, 'data');
      const script = join(options.root ?? ownRoot, startScript);
      const child = spawn(process.execPath, [script, '--ephemeral', '--data', data, '--host', host, ...anyFreePort], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, NODE_ENV: 'production', ...(await environment(options)) },
      });
      const { died, stop } = watch(child);
      try {
        const endpoints = await untilReady(data, died);
        const credentials = await signUp(endpoints, 'bench', options, unboundedQueues);
        const target = { host, port: endpoints.mqtt.port, version, credentials };
        const pid = endpoints.pids.broker;
        // The service starts its broker again when it dies; for us that is another broker than the one we measured.
        const isProfiled = options.profileFolder !== undefined;
        return {
          target,
          pid,
          metricsUrl: endpoints.broker.metricsUrl,
          isProfiled,
          endpoints: () => readEndpoints(data),
          stop,
          died: () => died() ?? (isAlive(pid) ? undefined : 'the broker process died'),
        };
      } catch (error) {
        await stop();
        throw error;
      }
    },
  };

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function environment(options: ShoalOptions): Promise<Record<string, string>> {
  const { modules, env } = await preloads(options);
  return {
    // Beside those that the bench itself was given.
    NODE_OPTIONS: [process.env['NODE_OPTIONS'] ?? '', ...modules.map((module) => `--import ${module}`)].join(' '),
    ...env,
  };
}

/** What makes Shoal's processes write a profile, or have another database: modules, and what they need to know. */
export async function preloads({ profileFolder, database }: Pick<ShoalOptions, 'profileFolder' | 'database'>) {
  return {
    modules: [...(profileFolder === undefined ? [] : [profiler]), ...(database.engine === 'dynalite' ? [] : [instead])],
    env: {
      ...(profileFolder !== undefined && { BENCH_PROFILE_FOLDER: profileFolder }),
      ...(database.engine === 'fast' && {
        BENCH_DATABASE: await buildDatabase(),
        BENCH_DATABASE_DELAY_MS: String(database.delayMs),
      }),
    },
  };
}

const readEndpoints = (data: string): Endpoints =>
  JSON.parse(readFileSync(join(data, 'endpoints.json'), 'utf8')) as Endpoints;

async function untilReady(data: string, died: () => string | undefined): Promise<Endpoints> {
  const file = join(data, 'endpoints.json');
  for (const deadlineMs = performance.now() + startsMs; performance.now() < deadlineMs;) {
    if (died() !== undefined) throw new Error(died());
    if (existsSync(file)) {
      const endpoints = readEndpoints(data);
      const health = await fetch(`${endpoints.api.url}/healthz`).catch(() => undefined);
      if (health?.status === 200) return endpoints;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`Shoal is not ready after ${startsMs} ms`);
}

/** A tenant with a credential for `bench/#`. */
export async function signUp(
  { api, operatorKey }: Endpoints,
  name: string,
  { quotas }: Pick<ShoalOptions, 'quotas'>,
  unboundedQueues: boolean,
): Promise<Credentials> {
  const call = async (method: string, path: string, key: string, body?: unknown): Promise<unknown> => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
    const url = `${api.url}/v1/tenants${path}`;
    const response = await fetch(url, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
    return response.json();
  };
  // The operator's key, because sign-ups of one address are counted.
  const tenant = (await call('POST', '', operatorKey, { name })) as { apiKey: string };
  const chosen = quotas === 'high' ? highQuotas : noQuotas;
  const queues = unboundedQueues ? { queuedMessagesPerSession: null } : {};
  // An older checkout has fewer kinds, and refuses one that it does not know.
  const body = (await call('GET', `/${name}/quotas`, tenant.apiKey)) as { quotas?: object };
  const known = Object.keys(body.quotas ?? body);
  const wanted = Object.entries({ ...chosen, ...queues }).filter(([kind]) => known.includes(kind));
  await call('PUT', `/${name}/quotas`, operatorKey, Object.fromEntries(wanted));
  const grants = [{ effect: 'allow', action: 'all', topic: 'bench/#' }];
  const credential = await call('POST', `/${name}/credentials`, tenant.apiKey, { name: 'load', grants });
  const { username, password } = credential as Credentials;
  return { username, password };
}
