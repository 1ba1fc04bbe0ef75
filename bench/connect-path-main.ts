/**
 * What `connect-path.ts` measures: real connections over streams that lead nowhere, real admission, sessions and store, and
 * requests to the fast database, which is another process. Prints a line for each step, as soon as all rounds are over.
 */
import { Admission } from '../services/broker/admission/admission.js';
import { Heap } from '../services/broker/ops/ops.js';
import { Flusher } from '../services/broker/outbox/outbox.js';
import {
  DynamoRetained,
  DynamoSessionStore,
  DynamoSharedStore,
  DynamoUsage,
  GroupCommit,
} from '../services/broker/store/store.js';
import { Thread, UnitLedger } from '../services/broker/tenant/tenant.js';
import { Connection } from '../services/broker/transport/connection.js';
import type { ByteSink, ByteStream } from '../services/broker/transport/ports.js';
import { DeadlineWheel } from '../services/broker/transport/wheel.js';
import { Slab, TopicTable } from '../services/broker/wire/wire.js';
import { createTables, Dynamo, type TableName } from '../services/dynamo/dynamo.js';
import {
  atOnce,
  type BrokerId,
  Metrics,
  silentLog as log,
  systemClock as clock,
  type TenantId,
  type TenantScope,
} from '../services/kernel/kernel.js';
import { hashSecret, scopeOf, scopeOfPartition } from '../services/tenancy/tenancy.js';
import { MemoryAccounts } from '../test/support/memory/accounts.js';
import { connectPacket, subscribePacket } from './load/packets.js';

const [port, devices, rounds] = process.argv.slice(2).map(Number) as [number, number, number];
/** As many as the broker has sockets for claims. */
const devicesAtOnce = 64;
const settleMs = 50;
const version = 5;
const account = { username: 'device@acme', password: 'a-generated-secret-of-32-letters' };
const plenty = 1e9;
const levelsMax = 128;

/** As `compose.ts` puts the rooms together, but for the lease, the accounts and the listeners. */
async function assemble() {
  const metrics = new Metrics();
  const tenantOf = (table: TableName, pk: string): string | undefined =>
    table === 'tenants' || table === 'cluster' ? undefined : scopeOfPartition(pk);
  const charge = (tenant: string, amount: number): void => units.charge(tenant as TenantScope, amount);
  const base = { endpoint: `http://127.0.0.1:${port}`, region: 'eu-central-1', tablePrefix: 'shoal-' };
  const dynamo = new Dynamo({ ...base, metrics, tenantOf, charge });
  await createTables(dynamo);
  const units = new UnitLedger({ store: new DynamoUsage(dynamo), clock, log, metrics });
  const thread = new Thread(clock);
  const commitLog = new GroupCommit({
    ...{ dynamo: dynamo.apart(devicesAtOnce), reads: dynamo, clock, log, metrics, persistDelayMs: 50 },
    waitMs: (tenant) => units.waitMs(tenant),
    pay: (tenant, ms) => admission.pay(tenant, ms),
    isHeld: () => true,
  });
  const records = { records: dynamo.apart(devicesAtOnce), contents: dynamo };
  const admission: Admission = new Admission({
    ...{ accounts: await accountsOfOne(), commitLog, units, thread, clock, log, metrics, slab: new Slab() },
    ...{ memory: new Heap(), lease: { state: 'held', whenAwake: (listener) => listener() } },
    records: new DynamoSessionStore(records, 'broker-1' as BrokerId, clock),
    brokerId: 'broker-1' as BrokerId,
    shared: new DynamoSharedStore(dynamo),
    makeRetained: (tenant) => new DynamoRetained(dynamo, tenant.scope, tenant.limits, tenant.units, clock, log),
    ...{ unsafeBytesMax: 1 << 26, holdBackMs: 5000, inFlightMax: 16_383, topicLevelsMax: levelsMax },
    ...{ keepAliveSecondsMax: 0, publishesRevokedWills: false, isControlLogHeard: () => true },
    leaseEndedAtMs: () => Promise.resolve(undefined),
  });
  const flusher = new Flusher({ leave: () => 'all', onLapsed: () => undefined }, clock);
  thread.beforeTurn(() => flusher.flush());
  const wheel = new DeadlineWheel(() => clock.monotonicMs());
  const topics = new TopicTable(levelsMax);
  return { admission, topics, flusher, wheel, clock, log, metrics, onGone: () => undefined };
}

async function accountsOfOne(): Promise<MemoryAccounts> {
  const accounts = new MemoryAccounts();
  const id = 'acme' as TenantId;
  const rates = { connectsPerSecond: plenty, packetsPerSecond: plenty, subscribesPerSecond: plenty };
  const units = { databaseUnitsPerSecond: plenty, databaseUnitsPerMonth: plenty };
  const quotaOverrides = { connections: null, sessions: null, memoryBytes: null, ...rates, ...units };
  accounts.tenants.set(id, { id, plan: 'free', status: 'active', quotaOverrides, createdAtMs: 0 });
  const secretHash = await hashSecret(account.password, 'generated');
  const grants = [{ effect: 'allow', action: 'all', topic: 'bench/#' }] as const;
  accounts.put({ scope: scopeOf({ id }), name: 'device', secretHash, createdAtMs: 0, revision: 1, grants });
  return accounts;
}

const world = await assemble();

class Device implements ByteStream {
  readonly remoteAddress = '192.0.2.1:50000';
  readonly unsentBytes = 0;
  readonly #index: number;
  #sink: ByteSink | undefined;
  #heard: ((bytes: Buffer | undefined) => void) | undefined;

  constructor(index: number) {
    this.#index = index;
  }

  async come(name: string, isStored: boolean): Promise<void> {
    const durable = isStored ? { sessionExpirySeconds: 3600, resumes: true } : undefined;
    const packet = connectPacket(`${name}-${this.#index}`, version, account, durable);
    const place = { occupant: undefined, become: () => undefined, mayBeSilentFor: () => undefined };
    new Connection(world, place, (sink) => {
      this.#sink = sink;
      return this;
    });
    const answer = await this.#say(packet);
    if (answer?.[0] !== 0x20 || answer[3] !== 0) throw new Error(`CONNECT was answered ${answer?.toString('hex')}`);
  }

  async subscribe(): Promise<void> {
    const answer = await this.#say(subscribePacket(`bench/device/${this.#index}/command`, 1, version));
    if (answer?.[0] !== 0x90 || answer.at(-1) !== 1) throw new Error(`SUBSCRIBE: ${answer?.toString('hex')}`);
  }

  /** Until the broker ends the connection, which is when the record says so. */
  async leave(): Promise<void> {
    if (await this.#say(Buffer.from([0xe0, 0]))) throw new Error('DISCONNECT was answered');
  }

  #say(bytes: Buffer): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      this.#heard = resolve;
      this.#sink!.onBytes(bytes);
    });
  }

  write(bytes: Buffer): void {
    this.#heard!(bytes);
  }
  pause(): void {}
  resume(): void {}
  end(): void {
    this.#sink!.onClosed();
    this.#heard!(undefined);
  }
  destroy(): void {
    this.end();
  }
}

const all = Array.from({ length: devices }, (_, i) => new Device(i));
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, settleMs));
const cpuUs = ({ user, system }: NodeJS.CpuUsage): number => user + system;
const least = new Map<string, number>();

async function step(what: string, run: (device: Device) => Promise<void>): Promise<void> {
  await pause();
  const before = cpuUs(process.cpuUsage());
  await atOnce(all, devicesAtOnce, run);
  await pause();
  const took = (cpuUs(process.cpuUsage()) - before) / devices;
  least.set(what, Math.min(took, least.get(what) ?? Infinity));
}

for (let round = 0; round < rounds; round++) {
  const name = `stored-${round}`;
  await step('CONNECT, clean session', (device) => device.come('clean', false));
  await step('leaves, clean session', (device) => device.leave());
  await step('CONNECT, new stored session', (device) => device.come(name, true));
  await step('SUBSCRIBE, stored session', (device) => device.subscribe());
  await step('leaves, stored session', (device) => device.leave());
  await step('CONNECT, stored session comes back', (device) => device.come(name, true));
  await step('leaves again, stored session', (device) => device.leave());
}
for (const [what, us] of least) process.stdout.write(`${what.padEnd(36)}${us.toFixed(0).padStart(5)} us\n`);
process.exit(0);
