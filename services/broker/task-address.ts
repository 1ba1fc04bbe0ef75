/**
 * The address of a task of ECS, by which the other brokers dial it. ECS says it at a URL in the task's environment (task metadata,
 * version 4), which needs no permission. `main.ts` asks once before the broker starts, for a task keeps its address.
 */
import { isIPv4 } from 'node:net';
import { type Config, ConfigError } from './config.js';

/** The task's own host answers within milliseconds. Whoever gets no answer ends, and ECS starts another task. */
const metadataMsMax = 5000;

/** The part that is read here. In `awsvpc` mode, the only one of Fargate, there is one network, of the task itself. */
interface Metadata {
  readonly Networks?: readonly { readonly IPv4Addresses?: readonly unknown[] }[];
}

/** The same configuration, with what ECS says in place of `SHOAL_MESH_ADDRESS=ecs`. Rejects with ConfigError. */
export async function withTaskAddress(config: Config, waitMsMax = metadataMsMax): Promise<Config> {
  const { mesh } = config;
  if (mesh?.metadataUrl === undefined) return config;
  const host = await taskAddress(mesh.metadataUrl, waitMsMax);
  return { ...config, mesh: { ...mesh, address: `${host}:${mesh.port}` } };
}

async function taskAddress(url: string, waitMsMax: number): Promise<string> {
  const metadata = await read(url, waitMsMax);
  const address = metadata?.Networks?.[0]?.IPv4Addresses?.[0];
  if (typeof address === 'string' && isIPv4(address)) return address;
  throw refusal(url, 'names no IPv4 address of this task');
}

async function read(url: string, waitMsMax: number): Promise<Metadata | null> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(waitMsMax), redirect: 'error' });
    text = await response.text();
  } catch (error) {
    throw refusal(url, `does not answer (${causeOf(error, waitMsMax)})`);
  }
  if (!response.ok) throw refusal(url, `answers ${response.status}`);
  try {
    return JSON.parse(text) as Metadata | null;
  } catch {
    throw refusal(url, 'does not answer in JSON');
  }
}

function refusal(url: string, what: string): ConfigError {
  return new ConfigError(`SHOAL_MESH_ADDRESS=ecs: ${url} ${what}; outside ECS set host:port`);
}

function causeOf(error: unknown, waitMsMax: number): string {
  const { name, message, cause } = error as Error & { readonly cause?: { readonly code?: string } };
  return name === 'TimeoutError' ? `within ${waitMsMax / 1000} s` : (cause?.code ?? message);
}
