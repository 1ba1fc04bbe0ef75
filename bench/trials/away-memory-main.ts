/**
 * Runs with --expose-gc: a tenant of this process, real but for its database and its sockets, gets stored sessions of one
 * subscription each whose clients then leave, or that an earlier broker has left. Prints what of the heap each takes.
 */
import { getHeapSnapshot } from 'node:v8';
import { json } from 'node:stream/consumers';
import { Admission } from '../../services/broker/admission/admission.js';
import type { CommitLog, CommitSource } from '../../services/broker/inbox/inbox.js';
import type { SessionStore, StoredSession } from '../../services/broker/residence/residence.js';
import { type Admitted, type Connection, Thread, UnitLedger } from '../../services/broker/tenant/tenant.js';
import { type ConnectPacket, packetType, Slab, type SubscribePacket } from '../../services/broker/wire/wire.js';
import { Message, topicName } from '../../services/broker/message/message.js';
import { type BrokerId, type ClientId, Metrics, silentLog, systemClock } from '../../services/kernel/kernel.js';
import type { TenantId, TenantScope } from '../../services/kernel/kernel.js';
import { epochAt, hashSecret } from '../../services/tenancy/tenancy.js';
import { MemoryAccounts } from '../../test/support/memory/accounts.js';
import { MemoryRetained } from '../../test/support/memory/retained.js';
import { MemorySharedStore } from '../../test/support/memory/shared-store.js';
import { MemoryUsage } from '../../test/support/memory/usage.js';

declare const gc: () => void;

export interface AwayJob {
  readonly sessions: number;
  /** `left`: clients of this process. `restored`: of a broker before it. */
  readonly come: 'left' | 'restored';
  readonly hasWill: boolean;
  /** Each gets one, when all have left. */
  readonly hasMessage: boolean;
  /** Their expiry; 0xFFFFFFFF: none. */
  readonly expirySeconds: number;
  /** Prints the objects that hold most. */
  readonly isDetailed?: boolean;
}

const scope = 'acme' as string as TenantScope;
const clientIdOf = (i: number): string => own(`device-${String(i).padStart(8, '0')}`);
const filterOf = (i: number): string => own(`plants/${String(i).padStart(8, '0')}/set/+/value`);
/** As a string comes out of a packet or an item: with characters of its own. */
const own = (text: string): string => Buffer.from(text).toString();

/** Stores nothing, and says at once that it has. */
class NoLog implements CommitLog {
  readonly persistDelayMs = 50;
  readonly #dirty = new Set<CommitSource>();
  request(source: CommitSource): void {
    if (this.#dirty.size === 0) setImmediate(() => this.#commit());
    this.#dirty.add(source);
  }
  requestLater(source: CommitSource): void {
    this.request(source);
  }
  #commit(): void {
    const sources = [...this.#dirty];
    this.#dirty.clear();
    for (const source of sources) {
      source.take(25, systemClock.nowMs(), Infinity);
      source.committed([]);
    }
  }
  read(): Promise<never> {
    return Promise.reject(new Error('nothing is stored'));
  }
}

function storedSession(i: number, { hasWill, hasMessage, expirySeconds }: AwayJob): StoredSession {
  const epoch = epochAt(Date.now()) - 1000;
  const clientId = clientIdOf(i) as ClientId;
  const ended = { connected: false, connectedAtMs: Date.now() - 9e6, disconnectedAtMs: Date.now() - 1000 };
  const names = { userName: own('device@acme'), address: own(`10.1.${(i >> 8) & 255}.${i & 255}:${i % 50_000}`) };
  const will = { topic: own(`state/${i}`), payload: Buffer.from('gone'), qos: 1, retain: true } as const;
  return {
    record: {
      ...{ tenant: scope, clientId, protocolVersion: own('5') as '5', keepAliveSeconds: 60, expirySeconds, ...names },
      ...{ owner: own('broker-0') as BrokerId, epoch, born: epoch, ...ended },
      ...{ queuedMessages: hasMessage ? 1 : 0, droppedMessages: 0 },
      ...(hasWill && {
        will: { ...will, properties: Buffer.alloc(0), delaySeconds: 86_400 },
        willAtMs: Date.now() + 8e7,
      }),
    },
    routes: [
      { filter: filterOf(i), qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const,
    ],
  };
}

/** What is claimed and released is nowhere. */
function noRecords(job: AwayJob): SessionStore {
  const base = epochAt(Date.now());
  let epoch = base;
  let isAsked = false;
  async function* sessions() {
    await Promise.resolve();
    for (let from = 0; from < job.sessions && job.come === 'restored'; from += 500)
      yield Array.from({ length: Math.min(500, job.sessions - from) }, (_, i) => storedSession(from + i, job));
  }
  return {
    claim: () => Promise.resolve({ epoch: ++epoch, born: epoch }),
    release: () => Promise.resolve(),
    will: () => Promise.resolve(undefined),
    dropWill: () => Promise.resolve(),
    note: () => Promise.resolve(),
    sessions,
    inherit: ({ epoch: before }) => ({
      epoch: base,
      inheritedFrom: { owner: 'broker-0' as BrokerId, epoch: before },
    }),
    load: ({ born }) =>
      Promise.resolve({
        received: { packetIds: [], settled: { epoch: born, number: 0 } },
        stored: { messages: job.hasMessage ? 1 : 0, origins: [] },
      }),
    purge: () => Promise.resolve(),
    sessionOf: () => Promise.resolve(undefined),
    take: () => Promise.resolve(undefined),
    isAlive: () => Promise.resolve(false),
    discard: () => Promise.resolve(true),
    enter: () => Promise.resolve(!isAsked && (isAsked = true)),
    entered: () => undefined,
    scopesOf: () => Promise.resolve([]),
    forget: () => Promise.resolve(),
  };
}

const password = 'correct horse';

async function open(job: AwayJob): Promise<Admission> {
  const accounts = new MemoryAccounts();
  const tenant = { id: 'acme' as TenantId, plan: 'free' as const, status: 'active' as const, createdAtMs: 0 };
  const quotas = { sessions: 1e7, connections: 1e7, subscriptions: 1e8, memoryBytes: 1e11 } as object;
  accounts.tenants.set(tenant.id, { ...tenant, quotaOverrides: { ...quotas, connectsPerSecond: 1e7 } });
  const secretHash = await hashSecret(password, 'generated');
  accounts.put({ scope, name: 'device', secretHash, createdAtMs: 0, revision: 1 });
  const [clock, log, metrics] = [systemClock, silentLog, new Metrics()];
  return new Admission({
    memory: { limitBytes: 1e12, usedBytes: 0, liveBytes: 0, collections: 0 },
    ...{ accounts, records: noRecords(job), shared: new MemorySharedStore({} as never), commitLog: new NoLog() },
    ...{ unsafeBytesMax: 1e9, holdBackMs: 0, inFlightMax: 16_383, topicLevelsMax: 128 },
    lease: { state: 'held', whenAwake: (listener) => listener() },
    brokerId: 'broker-1' as BrokerId,
    units: new UnitLedger({ store: new MemoryUsage(), clock, log, metrics }),
    ...{
      thread: new Thread(clock),
      leaseEndedAtMs: () => Promise.resolve(undefined),
      makeRetained: () => new MemoryRetained({ clock }),
    },
    ...{ clock, slab: new Slab(), log, metrics, keepAliveSecondsMax: 0, publishesRevokedWills: false },
  });
}

async function comeAndLeave(admission: Admission, clientId: string, filter: string | undefined, job: AwayJob) {
  let admitted: Admitted | undefined;
  let hasSubacked = (): void => undefined;
  let closed = false;
  const connection: Connection = {
    remoteAddress: own(`10.1.2.3:${clientId.slice(-4)}`),
    waitingBytes: 0,
    get closed() {
      return closed;
    },
    push: (source, start) => {
      if (source[start]! >> 4 === packetType.suback) hasSubacked();
    },
    giveUp: () => undefined,
    admitted: (to) => (admitted = to),
    close: () => (closed = true),
  };
  const will = { topic: own(`state/${clientId}`), payload: Buffer.from('gone'), qos: 1, retain: true } as const;
  const packet = {
    ...{ type: packetType.connect, version: 5, isBridge: false, cleanStart: false, keepAliveSeconds: 60, clientId },
    ...{ userName: own('device@acme'), password: Buffer.from(password) },
    properties: { sessionExpiryInterval: job.expirySeconds },
    ...(job.hasWill && { will: { ...will, properties: { willDelayInterval: 86_400 } } }),
  };
  await admission.connect(packet as unknown as ConnectPacket, connection);
  const { session, channel, tenant } = admitted!;
  if (filter !== undefined) {
    const subacked = new Promise<void>((resolve) => (hasSubacked = resolve));
    const one = { filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 };
    const subscribe = { type: packetType.subscribe, packetId: 1, subscriptions: [one], properties: {} };
    session.receiveSubscribe(subscribe as unknown as SubscribePacket, channel);
    await subacked;
  }
  admission.disconnected(admitted!, { publishWill: true });
  return tenant;
}

async function settledHeap(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

type Histogram = Map<string, { bytes: number; count: number }>;

/** Bytes and objects by constructor. */
async function histogram(): Promise<Histogram> {
  const { snapshot, nodes, strings } = (await json(getHeapSnapshot())) as {
    snapshot: { meta: { node_fields: string[]; node_types: [string[]] } };
    nodes: number[];
    strings: string[];
  };
  const fields = snapshot.meta.node_fields;
  const at = (field: string): number => fields.indexOf(field);
  const types = snapshot.meta.node_types[0];
  const found: Histogram = new Map();
  for (let node = 0; node < nodes.length; node += fields.length) {
    const kind = types[nodes[node + at('type')]!]!;
    const isValue = kind.includes('string') || kind === 'number';
    const key = isValue ? kind : `${kind} ${strings[nodes[node + at('name')]!]!.slice(0, 40)}`;
    const sum = found.get(key) ?? { bytes: 0, count: 0 };
    sum.bytes += nodes[node + at('self_size')]!;
    sum.count++;
    found.set(key, sum);
  }
  return found;
}

/** What has been added, for each session. */
function printAdded(before: Histogram, after: Histogram, sessions: number): void {
  const added = [...after].map(([key, { bytes, count }]) => {
    const old = before.get(key) ?? { bytes: 0, count: 0 };
    return [key, { bytes: (bytes - old.bytes) / sessions, count: (count - old.count) / sessions }] as const;
  });
  const largest = added.sort((a, b) => b[1].bytes - a[1].bytes).filter(([, { bytes }]) => bytes >= 4);
  const rounded = largest.map(([key, { bytes, count }]) => [
    key,
    { bytes: Math.round(bytes), count: Number(count.toFixed(2)) },
  ]);
  console.table(Object.fromEntries(rounded));
}

/** For each session. */
export interface AwayResult {
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** What the quota of memory counts. */
  readonly countedBytes: number;
  readonly cpuUs: number;
}

async function measure(job: AwayJob): Promise<AwayResult> {
  const admission = await open({ ...job, come: 'left' });
  // Code is compiled, tables of the tenant are made.
  for (let i = 0; i < 300; i++) await comeAndLeave(admission, own(`warm-${i}`), undefined, job);
  const measured = job.come === 'left' ? admission : await open(job);
  const before = job.isDetailed && (await histogram());
  const heapBefore = await settledHeap();
  const rssBefore = process.memoryUsage.rss();
  const cpuBefore = process.cpuUsage();
  let tenant: Admitted['tenant'] | undefined;
  if (job.come === 'left')
    for (let i = 0; i < job.sessions; i++) tenant = await comeAndLeave(measured, clientIdOf(i), filterOf(i), job);
  else tenant = await comeAndLeave(measured, 'the-first', undefined, job);
  if (job.hasMessage && job.come === 'left')
    for (let i = 0; i < job.sessions; i++) {
      const topic = topicName(own(`plants/${String(i).padStart(8, '0')}/set/a/value`));
      tenant!.publish(Message.of({ topic, payload: Buffer.alloc(30), qos: 1, retain: false }), systemClock.nowMs());
      if (i % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  const { user, system } = process.cpuUsage(cpuBefore);
  const each = (value: number): number => Math.round(value / job.sessions);
  const heapBytes = each((await settledHeap()) - heapBefore);
  const rssBytes = each(process.memoryUsage.rss() - rssBefore);
  if (before) printAdded(before, await histogram(), job.sessions);
  return { heapBytes, rssBytes, countedBytes: each(tenant!.memory.bytes), cpuUs: each(user + system) };
}

const job = JSON.parse(process.argv[2]!) as AwayJob;
const result = await measure(job);
if (process.send) process.send(result);
else console.log(result);
process.exit(0);
