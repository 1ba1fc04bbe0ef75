/**
 * One machine under test: a DynamoDB that survives, perhaps a proxy with faults before it, the broker that runs now, a
 * tenant without limits made through the API, and the history that all clients write into.
 */
import { createApp } from '../../tenants-api/app.js';
import { createTables, Dynamo } from '../../services/dynamo/dynamo.js';
import { silentLog, systemClock } from '../../services/kernel/kernel.js';
import type { Credential } from '../support/broker.js';
import { Chance } from '../support/chance.js';
import { FaultProxy } from '../support/fault-proxy.js';
import type { ChooseFault } from '../support/faults.js';
import { unlimited } from '../support/stack.js';
import type { Broker, World } from './device.js';
import { History } from './history.js';
import { BrokerProcess, endProcesses, region, startEngine, tablePrefix } from './processes.js';

const operatorKey = 'operator-key-of-the-crash-tests';
const tenant = 'crash';

export class Site implements World {
  readonly history = new History();
  readonly chance: Chance;
  readonly account: Credential;
  readonly dynamo: Dynamo;
  /** Between the brokers and the engine; the tenant and the checks go round it. */
  readonly proxy: FaultProxy | undefined;
  /** How long each start of a broker took. */
  readonly startMs: number[] = [];
  running: BrokerProcess | undefined;
  readonly #endpoint: string;
  readonly #brokerEnv: Readonly<Record<string, string>>;
  #serving: Broker | undefined;
  #brokers = 0;

  private constructor(parts: {
    seed: number;
    account: Credential;
    dynamo: Dynamo;
    endpoint: string;
    proxy: FaultProxy | undefined;
    brokerEnv: Readonly<Record<string, string>>;
  }) {
    this.chance = new Chance(parts.seed);
    this.account = parts.account;
    this.dynamo = parts.dynamo;
    this.proxy = parts.proxy;
    this.#endpoint = parts.endpoint;
    this.#brokerEnv = parts.brokerEnv;
  }

  /** Nothing goes wrong by itself: `choose` of the proxy is set when the load runs. */
  static async open(
    seed: number,
    { withProxy = false, brokerEnv = {} }: { withProxy?: boolean; brokerEnv?: Readonly<Record<string, string>> } = {},
  ): Promise<Site> {
    const engine = await startEngine();
    const dynamo = new Dynamo({ endpoint: engine, region, tablePrefix, requestTimeoutMs: 10_000 });
    await createTables(dynamo);
    const account = await signUp(dynamo);
    const proxy = withProxy ? await FaultProxy.start(engine) : undefined;
    return new Site({ seed, account, dynamo, endpoint: proxy?.endpoint ?? engine, proxy, brokerEnv });
  }

  broker(): Broker | undefined {
    return this.#serving;
  }

  /** A process that is not yet where clients go. */
  launch(): BrokerProcess {
    const broker = new BrokerProcess(`broker-${++this.#brokers}`, this.#endpoint, this.#brokerEnv);
    this.history.add({ type: 'harness', what: `${broker.name} starts` });
    return broker;
  }

  /** Waits until it takes clients, and sends them there. */
  async serveFrom(broker: BrokerProcess): Promise<void> {
    const startedMs = performance.now();
    const port = await broker.port();
    this.startMs.push(performance.now() - startedMs);
    this.history.add({ type: 'harness', what: `${broker.name} is ready` });
    this.running = broker;
    this.#serving = { name: broker.name, port };
  }

  /** The next broker, on the data that the last one has left. */
  async start(): Promise<void> {
    await this.serveFrom(this.launch());
  }

  /** SIGKILL, now. */
  async kill(): Promise<void> {
    const broker = this.running!;
    this.history.add({ type: 'harness', what: `${broker.name} is killed` });
    this.#serving = undefined;
    await broker.kill();
  }

  /**
   * SIGKILL when DynamoDB gets the first request of that kind from now on, which is not carried out then (`before`), or
   * when it has carried it out (`after`). Resolves when the process is gone.
   */
  killAt(isIt: (action: string, body: string) => boolean, at: 'before' | 'after', what: string): Promise<void> {
    return new Promise((resolve) => {
      this.proxy!.onRequest = async (action, body, when) => {
        if (when !== at || !isIt(action, body)) return;
        this.proxy!.onRequest = undefined;
        this.note(`${at} ${what}`);
        await this.kill();
        resolve();
        if (at === 'before') throw new Error('nobody is left to ask');
      };
    });
  }

  note(what: string): void {
    this.history.add({ type: 'harness', what });
  }

  setFaults(choose: ChooseFault): void {
    this.proxy!.choose = choose;
  }

  async close(): Promise<void> {
    this.#serving = undefined;
    endProcesses();
    this.dynamo.close();
    await this.proxy?.close();
  }
}

async function signUp(dynamo: Dynamo): Promise<Credential> {
  const app = createApp({
    dynamo,
    clock: systemClock,
    endpoints: { api: 'http://127.0.0.1' },
    operatorKey,
    health: () => Promise.resolve({ ok: true, parts: {} }),
    log: silentLog,
    sourceAddress: () => '127.0.0.1',
  });
  const ask = async (method: string, path: string, key: string, body: object): Promise<Record<string, string>> => {
    const response = await app.request(`/v1/tenants${path}`, {
      method,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Record<string, string>;
  };
  const { apiKey = '' } = await ask('POST', '', operatorKey, { name: tenant });
  await ask('PUT', `/${tenant}/quotas`, operatorKey, unlimited);
  const { username = '', password = '' } = await ask('POST', `/${tenant}/credentials`, apiKey, { name: 'device' });
  return { username, password };
}
