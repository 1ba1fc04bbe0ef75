/** The whole of Shoal as `npm start` starts it, of this checkout or of another one, with the heap that a broker has in production. */
import { join } from 'node:path';
import type { Endpoints } from '../../services/local/endpoints.js';
import { call, endpointsIn, freePorts, type Shoal, Workshop } from '../local/shoal.js';

/** What the stage `prod` gives a broker: 60 % of 2 GiB. */
const heapMiB = 1228;
const semiSpaceMiB = 8;

export interface Preloads {
  readonly modules: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface SiteOptions {
  /** A checkout with its packages; the own one unless given. */
  readonly root?: string;
  /** The database throttles what is stored for the tenant of this name. */
  readonly throttled?: string;
  /** Preloaded into each process, with what they need in its environment. */
  readonly preloads?: Preloads;
}

export interface Tenant {
  readonly id: string;
  readonly apiKey: string;
}

export class Site {
  readonly endpoints: Endpoints;
  readonly #workshop: Workshop;
  readonly #shoal: Shoal;

  private constructor(workshop: Workshop, shoal: Shoal, endpoints: Endpoints) {
    this.#workshop = workshop;
    this.#shoal = shoal;
    this.endpoints = endpoints;
  }

  static async start({
    root = join(import.meta.dirname, '../..'),
    throttled,
    preloads,
  }: SiteOptions = {}): Promise<Site> {
    const workshop = new Workshop();
    const folder = workshop.folder();
    const modules = [new URL('throttle.mjs', import.meta.url).href, ...(preloads?.modules ?? [])];
    const env = {
      NODE_ENV: 'production',
      NODE_OPTIONS: [
        `--max-old-space-size=${heapMiB}`,
        `--max-semi-space-size=${semiSpaceMiB}`,
        ...modules.map((module) => `--import ${module}`),
      ].join(' '),
      ...(throttled !== undefined && { NEIGHBOURS_THROTTLED: throttled }),
      ...preloads?.env,
    };
    const command = [process.execPath, join(root, 'services/local/start.mjs')];
    try {
      const args = ['--ephemeral', '--data', folder, '--log-level', 'silent', ...freePorts];
      const shoal = await workshop.start(args, env, command).ready();
      return new Site(workshop, shoal, endpointsIn(folder));
    } catch (error) {
      await workshop.clean();
      throw error;
    }
  }

  /** On the free plan. The operator's key, because sign-ups of one address are counted. */
  async tenant(name: string): Promise<Tenant> {
    const { body } = await this.call('', { key: this.endpoints.operatorKey, body: { name } });
    return { id: name, apiKey: String(body['apiKey']) };
  }

  /** Below `/v1/tenants`. Fails on a status that is not 2xx. */
  async call(path: string, request: Parameters<typeof call>[1]): ReturnType<typeof call> {
    const answer = await call(`${this.endpoints.api.url}/v1/tenants${path}`, request);
    if (answer.status >= 300) throw new Error(`${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer;
  }

  /** The broker's own numbers; undefined when it does not answer for half a second, which happens to one under attack. */
  async metrics(patienceMs = 500): Promise<string | undefined> {
    try {
      const signal = AbortSignal.timeout(patienceMs);
      return await (await fetch(this.endpoints.broker.metricsUrl, { signal })).text();
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    this.#shoal.signalGroup('SIGKILL');
    await this.#workshop.clean();
  }
}

/** The sum of a metric over all its labels that contain `label`. */
export function sumOf(metrics: string | undefined, name: string, label = ''): number {
  return (metrics ?? '')
    .split('\n')
    .filter((line) => line.startsWith(name) && /^[{ ]/.test(line.slice(name.length)) && line.includes(label))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}
