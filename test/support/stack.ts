/**
 * The whole of Shoal as `npm start` starts it, for tests that are about tenants: sign-up, credentials, quotas and
 * deletion go through the real API, and what the broker says about itself is read from its metrics and its process.
 */
import { readFileSync } from 'node:fs';
import type { Endpoints } from '../../services/local/endpoints.js';
import { call, endpointsIn, freePorts, type Shoal, Workshop } from '../local/shoal.js';
import type { Credential, Grant } from './broker.js';
import { LiveClient, type ConnectFields } from './live-client.js';
import type { Packet } from './packet-codec.js';
import { until } from './until.js';
import { quotaKinds } from '../../services/tenancy/tenancy.js';

/** A value for each kind of quota; null is no limit. */
export type Quotas = Record<string, number | null>;

/** No limit of any kind that can have none: a test then sets the one it is about. */
export const unlimited: Quotas = Object.fromEntries(quotaKinds.map(({ kind }) => [kind, null]));

interface Request {
  readonly method?: string;
  readonly body?: unknown;
  readonly key?: string;
}

export class Stack {
  readonly endpoints: Endpoints;
  readonly #workshop: Workshop;
  readonly #shoal: Shoal;
  readonly #clients: LiveClient[] = [];
  #tenants = 0;
  #killed = false;

  private constructor(workshop: Workshop, shoal: Shoal, endpoints: Endpoints) {
    this.#workshop = workshop;
    this.#shoal = shoal;
    this.endpoints = endpoints;
  }

  /** `args`: flags beside those that every test needs. */
  static async start(args: readonly string[] = []): Promise<Stack> {
    const workshop = new Workshop();
    try {
      const folder = workshop.folder();
      const shoal = await workshop.start(['--ephemeral', '--data', folder, ...freePorts, ...args]).ready();
      return new Stack(workshop, shoal, endpointsIn(folder));
    } catch (error) {
      await workshop.clean();
      throw error;
    }
  }

  /** One call of the API, below `/v1/tenants`. Fails on a status that is not 2xx. */
  async api(path: string, request: Request = {}): Promise<Record<string, unknown>> {
    const { status, body } = await call(`${this.endpoints.api.url}/v1/tenants${path}`, request);
    if (status >= 300) throw new Error(`${request.method ?? ''} ${path}: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** A tenant of its own, by default with a new name. The quotas hold before its first client connects. */
  async tenant(quotas: Quotas = {}, name = `tenant-${++this.#tenants}`): Promise<TestTenant> {
    const { apiKey } = await this.api('', { body: { name } });
    const tenant = new TestTenant(this, name, String(apiKey));
    await tenant.setQuotas({ ...unlimited, ...quotas });
    return tenant;
  }

  /** A client over plain TCP that answers what it gets. Ended with the stack at the latest. */
  async client(credential: Credential, fields: ConnectFields = {}): Promise<LiveClient> {
    const client = await LiveClient.open(this.endpoints.mqtt.port);
    this.#clients.push(client);
    await client.connect({ ...credential, ...fields });
    return client;
  }

  /** A connected socket that has said nothing yet. */
  async socket(): Promise<LiveClient> {
    const client = await LiveClient.open(this.endpoints.mqtt.port);
    this.#clients.push(client);
    return client;
  }

  /** Memory of the broker's process, as the system sees it. */
  brokerRssBytes(): number {
    const pages = readFileSync(`/proc/${this.endpoints.pids.broker}/statm`, 'utf8').split(' ')[1];
    return Number(pages) * 4096;
  }

  /** The sum of a metric of the broker over all its labels that contain `label`. */
  async metric(name: string, label = ''): Promise<number> {
    const text = await (await fetch(this.endpoints.broker.metricsUrl)).text();
    return text
      .split('\n')
      .filter((line) => line.startsWith(name) && /^[{ ]/.test(line.slice(name.length)) && line.includes(label))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /** What broker and API have logged. */
  get log(): string {
    return this.#shoal.stderr;
  }

  /** Ends the clients that the tests have left. */
  endClients(): void {
    for (const client of this.#clients.splice(0)) client.destroy();
  }

  /** Without a word to anybody. The next broker starts by itself, on the same ports. */
  killBroker(): void {
    this.#killed = true;
    process.kill(this.endpoints.pids.broker, 'SIGKILL');
  }

  /** Fails when the broker or the API complained. */
  async close(): Promise<void> {
    this.endClients();
    const code = await this.#shoal.stop();
    await this.#workshop.clean();
    const isExpected = (line: string): boolean => this.#killed && /\(signal SIGKILL\)|running again$/.test(line);
    const complaints = this.log
      .split('\n')
      .filter((line) => !/^(\{"level":[1-3]0,.*)?$/.test(line) && !isExpected(line));
    if (code !== 0 || complaints.length > 0) throw new Error(`Shoal ended with ${code}: ${complaints.join('\n')}`);
  }
}

export class TestTenant {
  readonly id: string;
  readonly #stack: Stack;
  readonly #key: string;
  #credentials = 0;
  #account: Promise<Credential> | undefined;

  constructor(stack: Stack, id: string, key: string) {
    this.id = id;
    this.#stack = stack;
    this.#key = key;
  }

  /** A call of the API with the tenant's own key, below `/v1/tenants/{id}`. */
  api(path: string, request: Request = {}): Promise<Record<string, unknown>> {
    return this.#stack.api(`/${this.id}${path}`, { key: this.#key, ...request });
  }

  /** With the operator's key. */
  async setQuotas(quotas: Quotas): Promise<void> {
    await this.api('/quotas', { method: 'PUT', body: quotas, key: this.#stack.endpoints.operatorKey });
  }

  async credential(grants?: readonly Grant[]): Promise<Credential> {
    const body = { name: `c${++this.#credentials}`, ...(grants && { grants }) };
    const { username, password } = await this.api('/credentials', { body });
    return { username: String(username), password: String(password) };
  }

  /** A connected client, by default with an account that may do everything, MQTT 5 and a new session. */
  async client(fields: ConnectFields = {}, account?: Credential): Promise<LiveClient> {
    return this.#stack.client(account ?? (await this.account()), fields);
  }

  /** The broker's answer to CONNECT, whatever it is. */
  async tryConnect(fields: ConnectFields = {}, account?: Credential): Promise<Packet> {
    const client = await this.#stack.socket();
    return client.tryConnect({ ...(account ?? (await this.account())), ...fields });
  }

  account(): Promise<Credential> {
    return (this.#account ??= this.credential());
  }

  /** One of the tenant's own numbers, as `$SYS/broker/…` tells it to who subscribes. */
  async systemNumber(name: string): Promise<number> {
    const client = await this.client();
    // Asked again while the tenant's own delivery rate holds the answer back.
    const isTold = async (): Promise<boolean> => {
      await client.subscribe(`$SYS/broker/${name}`);
      await client.ping();
      return client.received.length > 0;
    };
    await until(isTold, name);
    client.destroy();
    return Number(client.received[0]!.payload);
  }
}

/** What brokers must have heard of a change that the API has confirmed. */
export const heardWithinMs = 2_000;

/** The change must show within the time that is promised. */
export const heard = (effect: () => unknown, what: string): Promise<void> => until(effect, what, heardWithinMs);
