/**
 * Shoal as it runs for real: the whole service on this machine (bundled broker, embedded DynamoDB and tenant API, each a
 * process), a tenant that signs up over HTTP, and a credential with an explicit grant. Access checks and meters are on.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { host, watch, type Broker, type ShoalOptions } from './broker.js';

const startScript = fileURLToPath(new URL('../../services/local/start.mjs', import.meta.url));
const profiler = new URL('../profiler.mjs', import.meta.url).href;
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
interface Endpoints {
  readonly mqtt: { readonly port: number };
  readonly api: { readonly url: string };
  readonly operatorKey: string;
  readonly broker: { readonly metricsUrl: string };
  readonly pids: { readonly broker: number };
}

export const shoal: Broker = {
  unavailable: () => (existsSync(startScript) ? undefined : 'services/local/start.mjs is missing'),
  start: async ({ version, folder, shoal: options, unboundedQueues }) => {
    const data = join(folder, 'data');
    const child = spawn(
      process.execPath,
      [startScript, '--ephemeral', '--data', data, '--host', host, ...anyFreePort],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, NODE_ENV: 'production', ...profiling(options) },
      },
    );
    const { died, stop } = watch(child);
    try {
      const endpoints = await untilReady(data, died);
      const credentials = await signUp(endpoints, options, unboundedQueues);
      const target = { host, port: endpoints.mqtt.port, version, credentials };
      const pid = endpoints.pids.broker;
      // The service starts its broker again when it dies; for us that is another broker than the one we measured.
      const isProfiled = options.profileFolder !== undefined;
      return {
        target,
        pid,
        metricsUrl: endpoints.broker.metricsUrl,
        isProfiled,
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

function profiling({ profileFolder }: ShoalOptions): Record<string, string> {
  if (profileFolder === undefined) return {};
  return { NODE_OPTIONS: `--import ${profiler}`, BENCH_PROFILE_FOLDER: profileFolder };
}

async function untilReady(data: string, died: () => string | undefined): Promise<Endpoints> {
  const file = join(data, 'endpoints.json');
  for (const deadlineMs = performance.now() + startsMs; performance.now() < deadlineMs;) {
    if (died() !== undefined) throw new Error(died());
    if (existsSync(file)) {
      const endpoints = JSON.parse(readFileSync(file, 'utf8')) as Endpoints;
      const health = await fetch(`${endpoints.api.url}/healthz`).catch(() => undefined);
      if (health?.status === 200) return endpoints;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`Shoal is not ready after ${startsMs} ms`);
}

async function signUp({ api, operatorKey }: Endpoints, { quotas }: ShoalOptions, unboundedQueues: boolean) {
  const call = async (method: string, path: string, key: string | undefined, body: unknown): Promise<unknown> => {
    const headers = {
      'content-type': 'application/json',
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
    };
    const url = `${api.url}/v1/tenants${path}`;
    const response = await fetch(url, { method, headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
    return response.json();
  };
  const tenant = (await call('POST', '', undefined, { name: 'bench' })) as { apiKey: string };
  const chosen = quotas === 'high' ? highQuotas : noQuotas;
  const queues = unboundedQueues ? { queuedMessagesPerSession: null } : {};
  await call('PUT', '/bench/quotas', operatorKey, { ...chosen, ...queues });
  const grants = [{ effect: 'allow', action: 'all', topic: 'bench/#' }];
  const credential = await call('POST', '/bench/credentials', tenant.apiKey, { name: 'load', grants });
  const { username, password } = credential as { username: string; password: string };
  return { username, password };
}
