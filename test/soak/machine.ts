/** The machine under test, started as `npm start` does it, and everything that can be counted about it from outside. */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ScanCommand, type ScanCommandOutput } from '@aws-sdk/client-dynamodb';
import { Dynamo, type TableName, tableDefinitions } from '../../services/dynamo/dynamo.js';
import type { Endpoints } from '../../services/local/endpoints.js';
import { endpointsIn, freePorts, Shoal } from '../local/shoal.js';
import { until } from '../support/until.js';

const processes = ['main', 'broker', 'dynamodb'] as const;
/** Tells nothing about what is held: times and rates, or what the probe reads better. */
const ignoredGauges = /_(seconds|bytes|ms|percent)$/;
const probeWithinMs = 60_000;

/** What is held at one moment, by name. */
export type Holding = Readonly<Record<string, number>>;

interface Probe {
  readonly heapUsed: number;
  readonly external: number;
  readonly rss: number;
  readonly resources: Readonly<Record<string, number>>;
}

export class Machine {
  readonly endpoints: Endpoints;
  readonly folder: string;
  readonly #shoal: Shoal;
  readonly #dynamo: Dynamo;
  readonly #databasePort: number;

  private constructor(shoal: Shoal, folder: string) {
    this.#shoal = shoal;
    this.folder = folder;
    this.endpoints = endpointsIn(join(folder, 'data'));
    const environment = readFileSync(`/proc/${this.endpoints.pids.broker}/environ`, 'utf8').split('\0');
    const endpoint = environment.find((line) => line.startsWith('SHOAL_DYNAMODB_ENDPOINT='))!.split('=')[1]!;
    this.#databasePort = Number(new URL(endpoint).port);
    this.#dynamo = new Dynamo({ endpoint, region: 'local', tablePrefix: 'shoal-', requestTimeoutMs: 30_000 });
  }

  static async start(): Promise<Machine> {
    const folder = mkdtempSync(join(tmpdir(), 'shoal-soak-'));
    const probe = pathToFileURL(join(import.meta.dirname, 'probe.mjs')).href;
    const shoal = new Shoal([...freePorts, '--data', join(folder, 'data'), '--log-level', 'error'], {
      NODE_OPTIONS: `--import ${probe}`,
      SOAK_DIR: folder,
    });
    try {
      await shoal.ready();
      return new Machine(shoal, folder);
    } catch (error) {
      shoal.signalGroup('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** What the processes have logged: a soak without a fault has nothing to say. */
  get stderr(): string {
    return this.#shoal.stderr;
  }

  /** The same process ids as at the start: one that was started again would look as if it had let everything go. */
  get isWhole(): boolean {
    const { broker, dynamodb } = endpointsIn(join(this.folder, 'data')).pids;
    return !this.#shoal.hasExited && broker === this.endpoints.pids.broker && dynamodb === this.endpoints.pids.dynamodb;
  }

  async gauges(): Promise<Map<string, number>> {
    const text = await (await fetch(this.endpoints.broker.metricsUrl)).text();
    const kinds = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => [name!, kind!]));
    const samples = [...text.matchAll(/^(\w+)(\{[^}]*\})? (\S+)$/gm)];
    return new Map(
      samples
        .filter(([, name]) => kinds.get(name!) === 'gauge')
        .map(([, name, labels = '', value]) => [`${name}${labels}`, Number(value)]),
    );
  }

  /** Collected first, so that what is held is what somebody still refers to. */
  async holding(): Promise<Holding> {
    const held: Record<string, number> = {};
    for (const name of processes) {
      const pid = this.endpoints.pids[name];
      const { heapUsed, external, rss, resources } = await this.#probe(pid);
      held[`${name}: heap`] = heapUsed;
      held[`${name}: external`] = external;
      held[`${name}: resident`] = rss;
      held[`${name}: descriptors`] = this.#descriptors(pid);
      held[`${name}: resources`] = Object.values(resources).reduce((sum, count) => sum + count, 0);
    }
    for (const [name, value] of await this.gauges()) if (!ignoredGauges.test(name.split('{')[0]!)) held[name] = value;
    // Series themselves may grow as well: labels are for small closed sets.
    held['metrics: lines'] = (await (await fetch(this.endpoints.broker.metricsUrl)).text()).split('\n').length;
    return { ...held, ...(await this.#items()) };
  }

  /** Items of every table; apart those that have a time to live, which end by themselves. */
  async #items(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    const nowSeconds = Date.now() / 1000;
    for (const { name } of tableDefinitions) {
      let lasting = 0;
      let overdue = 0;
      let ending = 0;
      for await (const ttl of this.#timesToLive(name))
        if (ttl === undefined) lasting++;
        else if (ttl < nowSeconds - 180) overdue++;
        else ending++;
      counts[`${name}: items`] = lasting;
      counts[`${name}: items overdue`] = overdue;
      counts[`${name}: items with a time to live`] = ending;
    }
    return counts;
  }

  /** Without connections to the database: its client keeps as many as were once needed, at most 128. */
  #descriptors(pid: number): number {
    const port = this.#databasePort.toString(16).toUpperCase().padStart(4, '0');
    const lines = readFileSync(`/proc/${pid}/net/tcp`, 'utf8').trim().split('\n').slice(1);
    const toDatabase = new Set(
      lines
        .map((line) => line.trim().split(/\s+/))
        .filter(([, , remote]) => remote!.endsWith(`:${port}`))
        .map((fields) => `socket:[${fields[9]}]`),
    );
    const open = readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return undefined; // closed meanwhile
      }
    });
    return open.filter((target) => target !== undefined && !toDatabase.has(target)).length;
  }

  async *#timesToLive(table: TableName): AsyncGenerator<number | undefined, void, void> {
    let from: ScanCommandOutput['LastEvaluatedKey'];
    do {
      const command = new ScanCommand({
        TableName: this.#dynamo.tableName(table),
        ProjectionExpression: '#ttl',
        ExpressionAttributeNames: { '#ttl': 'ttl' },
        ...(from && { ExclusiveStartKey: from }),
      });
      const page = await this.#dynamo.run(table, 'Scan', (client) => client.send(command));
      for (const item of page.Items ?? []) yield item['ttl']?.N === undefined ? undefined : Number(item['ttl'].N);
      from = page.LastEvaluatedKey;
    } while (from !== undefined);
  }

  async #probe(pid: number): Promise<Probe> {
    const file = join(this.folder, `${pid}.json`);
    rmSync(file, { force: true });
    process.kill(pid, 'SIGUSR2');
    let probe: Probe | undefined;
    await until(
      () => {
        try {
          probe = JSON.parse(readFileSync(file, 'utf8')) as Probe;
        } catch {
          // not there yet
        }
        return probe;
      },
      `the probe of process ${pid}`,
      probeWithinMs,
    );
    return probe!;
  }

  async stop(): Promise<void> {
    this.#dynamo.close();
    await this.#shoal.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
