/** A neighbour and an attacker at one broker: how the neighbour is served while it is quiet, and under attack. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Credential } from '../support/broker.js';
import { LiveClient } from '../support/live-client.js';
import { until } from '../support/until.js';
import type { AttackerJob } from './attacker-main.js';
import { rowOf, type AttackName } from './attacks/attacks.js';
import type { NeighbourJob, Served } from './neighbour.js';
import { Site, sumOf, type SiteOptions, type Tenant } from './site.js';

/** By the name of its attack. Not the beginning of another one. */
const hostile = (name: AttackName): string => `hostile-${name}`;
/** One CONNECT a second with a password that the broker does not know yet. */
const chosenPasswords = 40;
const preparesMsMax = 120_000;

type Quotas = Readonly<Record<string, number | null>>;

/** Rates that only make a patient attacker wait. */
const patience: Quotas = {
  publishPerSecond: null,
  deliverPerSecond: null,
  bytesPerSecond: null,
  connectsPerSecond: null,
  packetsPerSecond: null,
  subscribesPerSecond: null,
  databaseUnitsPerSecond: null,
  cpuShare: 100,
};

export interface Measured {
  readonly seconds: number;
  readonly served: Served;
  /** Undefined: it has died, or did not answer within half a minute. */
  readonly broker: BrokerUse | undefined;
}

interface BrokerUse {
  readonly rssBytesMax: number;
  readonly heapBytesMax: number;
  /** Time of the thread with the event loop. */
  readonly loopShare: number;
  /** How many times longer everything took this thread because others had its core; 1 on a machine alone. */
  readonly slowdown: number;
  readonly writeUnits: number;
  readonly readUnits: number;
}

export interface DuelOptions extends Omit<SiteOptions, 'throttled'> {
  /** The neighbour comes with passwords that it has chosen, and which the broker does not know yet, too. */
  readonly choosesPasswords?: boolean;
  /** Called with each process that takes part, for who wants to bind it to a core. */
  readonly onProcess?: (pid: number, part: 'broker' | 'database' | 'neighbour' | 'attacker') => void;
}

export interface AttackOptions {
  /** How much of the attack. */
  readonly scale?: number;
  /** What the operator has given the attacker instead of the free plan's: more, so that it shows within seconds. */
  readonly quotas?: Quotas;
  /** Called before the attack begins, and when the attacker has gone. */
  readonly onBegin?: () => void;
  readonly onEnd?: () => void;
}

export class Duel {
  readonly site: Site;
  readonly #options: DuelOptions;
  readonly #neighbour: ChildProcess;
  #attacker: ChildProcess | undefined;

  private constructor(site: Site, options: DuelOptions, neighbour: ChildProcess) {
    this.site = site;
    this.#options = options;
    this.#neighbour = neighbour;
  }

  static async start(options: DuelOptions = {}): Promise<Duel> {
    const site = await Site.start({ ...options, throttled: hostile('throttled-sessions') });
    try {
      const { broker, dynamodb } = site.endpoints.pids;
      options.onProcess?.(broker, 'broker');
      options.onProcess?.(dynamodb, 'database');
      const neighbour = program('neighbour-main.ts');
      options.onProcess?.(neighbour.pid!, 'neighbour');
      const tenant = await site.tenant('neighbour');
      const job: NeighbourJob = {
        port: site.endpoints.mqtt.port,
        credential: await credentialOf(site, tenant, 'own'),
        chosen: options.choosesPasswords ? await chosenCredentials(site, tenant) : [],
      };
      const living = once(neighbour, 'message');
      neighbour.send(job);
      await living;
      return new Duel(site, options, neighbour);
    } catch (error) {
      await site.close();
      throw error;
    }
  }

  /** The neighbour alone. */
  async quiet(seconds: number): Promise<Measured> {
    await this.#served();
    return this.#measure(seconds);
  }

  /** By a tenant of its own, which is gone from its connections afterwards. */
  async attack(
    name: AttackName,
    seconds: number,
    { scale = 1, quotas = {}, onBegin, onEnd }: AttackOptions = {},
  ): Promise<Measured> {
    const attacker = program('attacker-main.ts');
    this.#attacker = attacker;
    this.#options.onProcess?.(attacker.pid!, 'attacker');
    const { api, mqtt } = this.site.endpoints;
    const tenant = await this.site.tenant(hostile(name));
    const credential = await credentialOf(this.site, tenant, 'own');
    const place = { port: mqtt.port, credential, apiUrl: api.url, tenant: tenant.id, apiKey: tenant.apiKey };
    const job: AttackerJob = { name, scale, ...place };
    const plan = new PlanOf(this.site, tenant, credential);
    await plan.set({ ...quotas, ...(rowOf(name).isPatient && patience) });
    const prepared = once(attacker, 'message', { signal: AbortSignal.timeout(preparesMsMax) });
    attacker.send(job);
    await prepared;
    if (rowOf(name).isPatient) await plan.set(quotas);
    onBegin?.();
    await this.site.metrics(10_000); // What begins to look at the broker holds it up.
    await this.#served();
    const begin = (): void => void attacker.send('begin');
    const end = (): void => {
      attacker.kill('SIGKILL');
      onEnd?.();
    };
    return this.#measure(seconds, begin, end);
  }

  async #measure(seconds: number, begin?: () => void, end?: () => void): Promise<Measured> {
    const gauge = new Gauge(this.site);
    await gauge.begin();
    begin?.();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    end?.();
    const served = await this.#served();
    return { seconds, served, broker: await gauge.end() };
  }

  /** What has been since the last time. */
  async #served(): Promise<Served> {
    const answer = once(this.#neighbour, 'message');
    this.#neighbour.send('take');
    return ((await answer) as [Served])[0];
  }

  async close(): Promise<void> {
    this.#attacker?.kill('SIGKILL');
    this.#neighbour.kill('SIGKILL');
    await this.site.close();
  }
}

/** The free plan of a tenant, with what the operator overrides. */
class PlanOf {
  readonly #site: Site;
  readonly #path: string;
  readonly #credential: Credential;
  /** As it was. */
  #free: Quotas | undefined;
  #visits = 0;

  constructor(site: Site, { id }: Tenant, credential: Credential) {
    this.#site = site;
    this.#path = `/${id}/quotas`;
    this.#credential = credential;
  }

  /** Over the free plan, not over what was set before. An older broker knows fewer kinds. Resolves when the broker obeys. */
  async set(overrides: Quotas): Promise<void> {
    if (this.#free === undefined && Object.keys(overrides).length === 0) return;
    const key = this.#site.endpoints.operatorKey;
    if (!this.#free) {
      const { body } = await this.#site.call(this.#path, { key });
      this.#free = (body['quotas'] ?? body) as Quotas;
    }
    const known = Object.entries({ ...this.#free, ...overrides }).filter(([kind]) => kind in this.#free!);
    // Which nobody needs to the byte: CONNACK says what the broker has heard.
    const messageBytesMax = this.#free['messageBytesMax']! - ++this.#visits;
    const body = { ...Object.fromEntries(known), messageBytesMax };
    await this.#site.call(this.#path, { key, method: 'PUT', body });
    await until(async () => (await this.#packetBytesMax()) === messageBytesMax, 'a change of quotas');
  }

  async #packetBytesMax(): Promise<number | undefined> {
    const client = await LiveClient.open(this.#site.endpoints.mqtt.port);
    const connack = await client.tryConnect({ ...this.#credential, clientId: `quota${this.#visits++}` });
    client.packets.destroy();
    return connack.properties?.['maximumPacketSize'];
  }
}

function program(name: string): ChildProcess {
  return fork(join(import.meta.dirname, name), {
    execArgv: ['--import', 'tsx'],
    // Keeps NaN, which is the percentile of nothing.
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}

async function credentialOf(site: Site, { id, apiKey }: Tenant, name: string, password?: string): Promise<Credential> {
  const body = { name, ...(password !== undefined && { password }) };
  const answer = await site.call(`/${id}/credentials`, { key: apiKey, body });
  return { username: String(answer.body['username']), password: password ?? String(answer.body['password']) };
}

async function chosenCredentials(site: Site, tenant: Tenant): Promise<Credential[]> {
  const chosen: Credential[] = [];
  for (let n = 0; n < chosenPasswords; n++)
    chosen.push(await credentialOf(site, tenant, `chosen${n}`, `a password that a person chose ${n}`));
  return chosen;
}

const looksEveryMs = 50;
const asksEveryMs = 500;

/** Of a thread: on a core, and ready to run while others were. */
interface LoopTime {
  readonly usedMs: number;
  readonly waitedMs: number;
}

const noTime: LoopTime = { usedMs: 0, waitedMs: 0 };

/** The broker's process, looked at from outside: it may have no time to answer. */
class Gauge {
  readonly #site: Site;
  readonly #pid: number;
  #rssBytesMax = 0;
  #heapBytesMax = 0;
  #loop = noTime;
  #begunMs = 0;
  #before: string | undefined;
  #timers: NodeJS.Timeout[] = [];

  constructor(site: Site) {
    this.#site = site;
    this.#pid = site.endpoints.pids.broker;
  }

  async begin(): Promise<void> {
    this.#before = await this.#site.metrics(10_000);
    this.#begunMs = performance.now();
    this.#loop = loopTime(this.#pid) ?? noTime;
    const look = (): void => void (this.#rssBytesMax = Math.max(this.#rssBytesMax, rssBytes(this.#pid) ?? 0));
    this.#timers = [setInterval(look, looksEveryMs), setInterval(() => void this.#ask(), asksEveryMs)];
  }

  async #ask(): Promise<void> {
    const used = sumOf(await this.#site.metrics(), 'nodejs_heap_size_used_bytes');
    this.#heapBytesMax = Math.max(this.#heapBytesMax, used);
  }

  async end(): Promise<BrokerUse | undefined> {
    for (const timer of this.#timers) clearInterval(timer);
    const loop = loopTime(this.#pid);
    const passedMs = performance.now() - this.#begunMs;
    await this.#ask();
    const after = await this.#site.metrics(30_000);
    if (loop === undefined || after === undefined) return undefined;
    const usedMs = loop.usedMs - this.#loop.usedMs;
    const units = (kind: string): number =>
      sumOf(after, 'shoal_dynamodb_units_total', `kind="${kind}"`) -
      sumOf(this.#before, 'shoal_dynamodb_units_total', `kind="${kind}"`);
    return {
      rssBytesMax: this.#rssBytesMax,
      heapBytesMax: this.#heapBytesMax,
      loopShare: usedMs / passedMs,
      slowdown: 1 + (loop.waitedMs - this.#loop.waitedMs) / usedMs,
      writeUnits: units('write'),
      readUnits: units('read'),
    };
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function rssBytes(pid: number): number | undefined {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kib === undefined ? undefined : Number(kib) * 1024;
}

/** Of the main thread. */
function loopTime(pid: number): LoopTime | undefined {
  const [usedNs, waitedNs] = read(`/proc/${pid}/task/${pid}/schedstat`)?.split(' ').map(Number) ?? [];
  return usedNs === undefined ? undefined : { usedMs: usedNs / 1e6, waitedMs: waitedNs! / 1e6 };
}
