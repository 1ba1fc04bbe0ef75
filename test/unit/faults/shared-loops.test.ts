/**
 * Every place of `services/kernel/faults.ts`: a fault is planted in what a loop does for one, and its neighbour must not
 * notice. The compiler asks for a case for each place; each must be counted there, and nowhere else.
 */
import { createConnection } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Tenants, type TenantsOptions } from '../../../services/broker/tenant/tenants.js';
import { Thread, UnitLedger } from '../../../services/broker/tenant/tenant.js';
import type { CommitSource, QueueHost, Write } from '../../../services/broker/inbox/inbox.js';
import { SharedQueue } from '../../../services/broker/inbox/inbox.js';
import { Channel } from '../../../services/broker/mesh/mesh.js';
import { PendingReceipt } from '../../../services/broker/message/message.js';
import { EmfReporter, serveHealth } from '../../../services/broker/ops/ops.js';
import type { Session } from '../../../services/broker/session/session.js';
import { ControlLog, DynamoRetained, Gate, GroupCommit, Membership } from '../../../services/broker/store/store.js';
import { paced } from '../../../services/broker/transport/drain.js';
import { Flusher } from '../../../services/broker/outbox/flusher.js';
import { SendQueue } from '../../../services/broker/outbox/send-queue.js';
import { Transport } from '../../../services/broker/transport/transport.js';
import { DeadlineWheel, wheelTickMs } from '../../../services/broker/transport/wheel.js';
import { TopicTable } from '../../../services/broker/wire/wire.js';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import {
  type BrokerId,
  type FaultPlace,
  type MetricSample,
  Metrics,
  reportFaults,
  silentLog,
  systemClock,
  type TenantId,
} from '../../../services/kernel/kernel.js';
import { controlToItem, scopeOf, type Tenant, type TenantEntry } from '../../../services/tenancy/tenancy.js';
import { heardFaults, type HeardFaults } from '../../support/heard-faults.js';
import { MemoryUsage } from '../../support/memory/usage.js';
import { ManualClock } from '../../support/manual-clock.js';
import { until } from '../../support/until.js';
import { acme, World } from '../admission/world.js';
import { broker, hear, memberOf, metric } from '../mesh/brokers.js';
import { FakeHost, message, nowMs } from '../session/world.js';
import { LooseStream, looseConnection, turn } from '../transport/loose-connection.js';

const planted = (): never => {
  throw new Error('planted');
};
/** Throws the first time. */
const firstTime = <A extends unknown[], R>(then: (...args: A) => R) => {
  let isFirst = true;
  return (...args: A): R => {
    if (!isFirst) return then(...args);
    isFirst = false;
    return planted();
  };
};
const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await turn();
};

const other = 'other' as TenantId;

/** Two tenants with one client each, stored sessions if `expiry` is given. */
async function twoTenants(expiry?: number) {
  const world = new World();
  const secretHash = world.credential!.secretHash;
  world.accounts.tenants.set(other, { ...world.tenant!, id: other });
  world.accounts.put({ scope: scopeOf({ id: other }), name: 'device', secretHash, createdAtMs: 0, revision: 1 });
  const wish = { clean: expiry === undefined, ...(expiry !== undefined && { expiry }) };
  const one = await world.admit({ clientId: 'one', ...wish });
  const two = await world.admit({ clientId: 'two', user: 'device@other', ...wish });
  return { world, one, two };
}

function commits() {
  const clock = new ManualClock();
  const written: string[] = [];
  const dynamo = {
    batchWriteOnce(writes: { delete?: { sk: string } }[]) {
      written.push(...writes.map((write) => write.delete!.sk));
      return Promise.resolve([]);
    },
  } as unknown as Dynamo;
  const isHeld = (): boolean => true;
  const log = new GroupCommit({
    dynamo,
    reads: dynamo,
    clock,
    log: silentLog,
    metrics: new Metrics(),
    persistDelayMs: 50,
    waitMs: () => 0,
    isHeld,
  });
  const told: string[] = [];
  const source = (lane: string, more: Partial<CommitSource> = {}): CommitSource => {
    const left: Write[] = [{ kind: 'delete', key: lane }];
    return { partition: lane, lane, take: () => left.splice(0), committed: () => void told.push(lane), ...more };
  };
  const run = async (...sources: CommitSource[]): Promise<void> => {
    for (const one of sources) log.request(one);
    clock.advance(10);
    await settle();
    expect([written.includes('neighbour'), told.filter((lane) => lane === 'neighbour')]).toEqual([true, ['neighbour']]);
    await log.settled();
  };
  return { source, run, told };
}

/** Place by place: what is planted, and how the neighbour fares. */
const cases: Record<FaultPlace, () => void | Promise<void>> = {
  async accept() {
    const metrics = new Metrics();
    let isPlanted = false;
    const clock = { ...systemClock, monotonicMs: () => (isPlanted ? planted() : performance.now()) };
    const gate = { leave: () => 'all' as const, onLapsed() {} };
    const { admission } = new World();
    const places = { connectionsMax: 10, newcomersPercentMax: 100, newcomersPerAddressPercentMax: 100 };
    const world = {
      admission,
      thread: new Thread(clock),
      topics: new TopicTable(),
      clock,
      log: silentLog,
      metrics,
      ...places,
      gate,
      isWebSocketAtRoot: true,
    };
    const transport = new Transport(world);
    const port = await transport.listen({ kind: 'mqtt', host: '127.0.0.1', port: 0 });
    const isWaiting = ({ name, labels }: MetricSample): boolean =>
      name === 'shoal_sockets' && labels['state'] === 'connect';
    const sockets = (): number => [...metrics.samples()].find(isWaiting)!.value;
    isPlanted = true;
    const refused = createConnection({ port, host: '127.0.0.1' })
      .resume()
      .on('error', () => undefined);
    await once(refused, 'close');
    isPlanted = false;
    const neighbour = createConnection({ port, host: '127.0.0.1' });
    await until(() => sockets() === 1);
    neighbour.destroy();
    transport.stop();
  },
  async 'commit-item'() {
    const { source, run } = commits();
    const broken: Write = { kind: 'messages', key: 'm', messages: [undefined as never] };
    const refused: Write[] = [];
    const left = [broken];
    const committed = (some: readonly Write[]) => void refused.push(...some);
    await run(source('one', { take: () => left.splice(0), committed }), source('neighbour'));
    expect(refused).toEqual([broken]);
  },
  async 'commit-take'() {
    const { source, run, told } = commits();
    await run(source('one', { take: planted }), source('neighbour'));
    expect(told).not.toContain('one');
  },
  async 'commit-told'() {
    const { source, run } = commits();
    await run(source('one', { committed: planted }), source('neighbour'));
  },
  async connection() {
    const [loose, neighbour] = [await looseConnection(new FakeHost()), await looseConnection(new FakeHost())];
    vi.spyOn(loose.session, 'pump').mockImplementation(planted);
    for (const { sink } of [loose, neighbour]) expect(() => sink.onDrain()).not.toThrow();
    expect([loose.endedBy, neighbour.endedBy]).toEqual(['unspecified-error', undefined]);
  },
  async 'connection-end'() {
    const loose = await looseConnection(new FakeHost(), planted);
    loose.sink.onClosed();
    expect([loose.endedBy, loose.isGone]).toEqual(['connection-lost', true]);
  },
  async control() {
    const obeyed = await controlEntries((entry) => (entry.tenant === acme ? planted() : undefined));
    expect(obeyed).toEqual([other]);
  },
  async 'control-log'() {
    const obeyed = await controlEntries(() => undefined, { sk: undefined });
    expect(obeyed).toEqual([acme, other]);
  },
  deadlines() {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    let atMs = 0;
    const wheel = new DeadlineWheel(() => atMs);
    const seen: string[] = [];
    const guarded = (name: string, checkDeadline: () => number) => ({
      slot: undefined,
      checkDeadline,
      destroy: () => void seen.push(`${name} is destroyed`),
    });
    wheel.watch(guarded('one', planted), atMs, 100);
    wheel.watch(
      guarded('neighbour', () => seen.push('neighbour')),
      atMs,
      100,
    );
    for (let i = 0; i < 4; i++) {
      atMs += wheelTickMs;
      vi.advanceTimersByTime(wheelTickMs);
    }
    wheel.stop();
    expect(seen.slice(0, 2)).toEqual(['one is destroyed', 'neighbour']);
  },
  async drain() {
    const sent: number[] = [];
    await paced([1, 2, 3], 1000, new ManualClock(), (each) => (each === 2 ? planted() : sent.push(each)));
    expect(sent).toEqual([1, 3]);
  },
  async due() {
    const { world, one, two } = await twoTenants(10);
    vi.spyOn(one.in!.session, 'end').mockImplementation(planted);
    for (const connection of [one, two]) connection.end('gone', { publishWill: true });
    await settle();
    world.clock.advance(11_000);
    await settle();
    expect([...world.records.stored.keys()]).not.toContain('two');
  },
  async 'fan-out'() {
    const { one } = await twoTenants();
    const { tenant } = one.in!;
    const deliver = vi.fn();
    const sink = (id: string, take: () => void) => ({ clientId: id, deliver: take }) as unknown as Session;
    const subscription = { ...{ filter: 'a', topicFilter: 'a', qos: 1 as const, id: 0, group: undefined } };
    const all = { ...subscription, noLocal: false, retainAsPublished: false, retainHandling: 0 as const };
    for (let i = 0; i < 600; i++) tenant.subscribe(sink(`${i}`, i === 599 ? planted : deliver), all, true);
    const receipt = tenant.publish(message('a', 'x', 1), nowMs);
    await settle();
    expect([deliver.mock.calls.length, receipt.reasonCode]).toEqual([599, 0x80]);
  },
  async flush() {
    const flusher = new Flusher({ leave: () => 'all', onLapsed() {} }, systemClock);
    const streams = [new LooseStream(), new LooseStream()];
    vi.spyOn(streams[0]!, 'write').mockImplementation(planted);
    for (const stream of streams) new SendQueue(stream, flusher).push(Buffer.from('x'), 0, 1);
    await turn();
    expect(streams.map(({ isEnded }) => isEnded)).toEqual([true, false]);
    expect(String(streams[1]!.take())).toBe('x');
  },
  forward() {
    const channel = new Channel<string>({ handle() {}, heard() {}, answers() {}, proven() {} });
    const told: string[] = [];
    channel.send('data', 'a', planted);
    channel.send('data', 'b', () => told.push('neighbour'));
    channel.end();
    expect(told).toEqual(['neighbour']);
  },
  async health() {
    const health = await serveHealth(
      { host: '127.0.0.1', port: 0 },
      firstTime(() => undefined),
      new Metrics(),
    );
    const url = `http://127.0.0.1:${health.port}/healthz`;
    await expect(fetch(url)).rejects.toThrow();
    expect((await fetch(url)).status).toBe(200);
    health.close();
  },
  async lease() {
    const dynamo = { put: () => Promise.resolve(undefined), get: () => new Promise(() => undefined) };
    const options = { clock: new ManualClock(), log: silentLog, metrics: new Metrics() };
    const gate = new Gate(options);
    const own = { dynamo: dynamo as unknown as Dynamo, brokerId: 'b' as BrokerId, gate };
    const membership = new Membership({ ...own, ...options });
    const told: string[] = [];
    gate.whenAwake(planted);
    gate.whenAwake(() => told.push('neighbour'));
    void membership.start().catch(() => undefined);
    await settle();
    expect([told, gate.state]).toEqual([['neighbour'], 'held']);
  },
  async link() {
    const [a, b, c] = [await broker('a'), await broker('b'), await broker('c')];
    hear(
      [a],
      [a, b, c].map((one) => memberOf(one)),
    );
    await until(() => a.mesh.links.up === 2);
    const told: string[] = [];
    a.mesh.handle(0x20, (from) => (from === 'b' ? planted() : void told.push(from)));
    for (const { mesh } of [b, c]) await until(() => mesh.send('a', 0x20, Buffer.from('x')));
    await until(() => told.length === 1 && metric(a, 'shoal_link_ends_total', 'own-fault') === 1);
    expect([told, a.mesh.links.up]).toEqual([['c'], 1]);
  },
  metrics() {
    const metrics = new Metrics();
    metrics.gauge('one', '', planted);
    metrics.gauge('neighbour', '', () => 7);
    expect([...metrics.samples()].map(({ name, value }) => [name, value])).toEqual([['neighbour', 7]]);
  },
  /** The process is shown in `test/local/fault.test.ts`; here only that it has a place. */
  process() {
    const metrics = new Metrics();
    const stop = reportFaults({ log: silentLog, metrics, clock: systemClock });
    stop();
    const places = [...metrics.samples()].map(({ labels }) => labels['where']);
    expect(places).toContain('process');
    expect(places.sort()).toEqual(Object.keys(cases).sort());
  },
  async pump() {
    const { world, one, two } = await twoTenants();
    const pumped: string[] = [];
    one.in!.tenant.readFailed({ pump: planted }, new Error('away'));
    two.in!.tenant.readFailed({ pump: () => void pumped.push('neighbour') }, new Error('away'));
    world.clock.advance(1000);
    expect(pumped).toEqual(['neighbour']);
  },
  async 'queue-notes'() {
    const { world, one, two } = await twoTenants(1000);
    vi.spyOn(one.in!.session, 'queuedMessages', 'get').mockImplementation(planted);
    vi.spyOn(two.in!.session, 'queuedMessages', 'get').mockReturnValue(3);
    const noted = vi.spyOn(world.records, 'note');
    for (let seconds = 0; seconds < 65; seconds += 5) {
      world.clock.advance(5000);
      await settle();
    }
    expect(noted.mock.calls.map(([{ clientId }]) => clientId)).toEqual(['two']);
  },
  receipt() {
    const receipt = new PendingReceipt();
    const told: string[] = [];
    receipt.whenSettled(planted);
    receipt.whenSettled(() => told.push('neighbour'));
    receipt.settle(0);
    expect(told).toEqual(['neighbour']);
  },
  report() {
    const [clock, written] = [new ManualClock(), [] as string[]];
    const write = firstTime((line: string) => void written.push(line));
    const reporter = new EmfReporter({ metrics: new Metrics(), clock, brokerId: 'b' as BrokerId, stage: 'x', write });
    clock.advance(120_000);
    reporter.stop();
    expect(written).toHaveLength(2);
  },
  async retained() {
    const limits = { retainedMessages: Infinity, retainedBytes: Infinity };
    const dynamo = {
      put: firstTime(() => Promise.resolve(undefined)),
      update: () => Promise.resolve(undefined),
    } as unknown as Dynamo;
    const log = { ...silentLog, error: planted };
    const of = (id: TenantId) =>
      new DynamoRetained(dynamo, scopeOf({ id }), limits, { waitMs: () => 0 }, new ManualClock(), log);
    of(acme).put(message('t', 'x', 1), nowMs);
    const neighbour = of(other).put(message('t', 'x', 1), nowMs);
    await settle();
    expect(neighbour.reasonCode).toBe(0);
  },
  async session() {
    const { world, one, two } = await twoTenants();
    const again = await world.admit({ clientId: 'again' });
    const pumped: string[] = [];
    vi.spyOn(one.in!.session, 'pump').mockImplementation(planted);
    for (const [name, connection] of Object.entries({ two, again }))
      vi.spyOn(connection.in!.session, 'pump').mockImplementation(() => void pumped.push(name));
    for (const connection of [one, again, two]) connection.in!.tenant.pumpLater(connection.in!.session);
    world.clock.advance(60);
    await settle();
    expect(pumped).toEqual(['again', 'two']);
    expect([one, again, two].map(({ closedBy }) => closedBy)).toEqual(['unspecified-error', undefined, undefined]);
  },
  async 'shared-queue'() {
    const limits = { queuedMessagesPerSession: 10 };
    const host = { limits, backlog: { messages: 0, hold() {}, letGo() {} }, readFailed: planted, nowMs: () => nowMs };
    const log = { persistDelayMs: 50, request() {}, requestLater() {}, read: () => Promise.reject(new Error('away')) };
    const members = { isKeeperThere: true, giveToKeeper: () => true, giveToAnyone: () => true, whenKeeperReady() {} };
    const queue = new SharedQueue('p', log, host as unknown as QueueHost, members);
    queue.renew(2);
    queue.restoreInbox(1, []);
    queue.pump(nowMs);
    await settle();
  },
  slice() {
    const account = new Thread(new ManualClock()).account();
    const done: number[] = [];
    account.start({ step: planted });
    account.start({ step: () => done.push(1) < 3 });
    expect(done).toEqual([1, 1, 1]);
  },
  async stop() {
    const { world, one, two } = await twoTenants();
    vi.spyOn(one, 'close').mockImplementation(planted);
    await world.admission.stop();
    expect(two.closedBy).toBe('server-shutting-down');
  },
  async sweep() {
    const clock = new ManualClock();
    const thread = new Thread(clock);
    const world = { clock, log: silentLog, metrics: new Metrics() };
    const units = new UnitLedger({ store: new MemoryUsage(), ...world });
    const options = { makeRetained: () => ({}), thread, units, ...world };
    const record = (id: TenantId): Tenant => ({
      id,
      plan: 'free',
      status: 'active',
      quotaOverrides: {},
      createdAtMs: 0,
    });
    const current = (id: TenantId) => Promise.resolve(record(id));
    const restore = () => Promise.resolve();
    const tenants = new Tenants({ ...options, restore, current, opened() {} } as unknown as TenantsOptions);
    const one = await tenants.open(record(acme));
    await tenants.open(record(other));
    Object.defineProperty(one, 'isEmpty', { get: planted });
    tenants.sweep();
    clock.advance(900_000);
    tenants.sweep();
    expect([...tenants].map(({ id }) => id)).toEqual([acme]);
  },
  async 'system-topics'() {
    const { world, one, two } = await twoTenants();
    vi.spyOn(one.in!.tenant, 'publishSystemTopics').mockImplementation(planted);
    const told = vi.spyOn(two.in!.tenant, 'publishSystemTopics');
    world.clock.advance(10_000);
    expect(told).toHaveBeenCalledTimes(1);
    for (const { in: admitted } of [one, two]) admitted!.tenant.time.charge(() => undefined);
    world.clock.advance(10_000); // It comes again.
    expect(told).toHaveBeenCalledTimes(2);
  },
};

/** Two entries, for one tenant each, behind one with `first` in it; returns whose have been obeyed. */
async function controlEntries(apply: (entry: { tenant: TenantId }) => void, first?: object): Promise<TenantId[]> {
  const clock = new ManualClock();
  const ulid = (n: number): string => `01JGFJJZ000000000000000000${n}`.slice(0, 25) + String(n);
  const entries = [acme, other].map((tenant) => ({ type: 'tenant-changed', tenant, change: 'quotas' }) as const);
  const items = entries.map((entry, n) => controlToItem(entry, ulid(n), clock.nowMs()));
  const dynamo = {
    queryAll: async function* () {
      yield await Promise.resolve([...(first ? [{ ...items[0], ...first }] : []), ...items]);
    },
  } as unknown as Dynamo;
  const obeyed: TenantId[] = [];
  const log = new ControlLog(dynamo, clock, silentLog, {
    hear: () => undefined,
    apply: async (entry) => {
      await Promise.resolve();
      const about = entry as TenantEntry;
      apply(about);
      obeyed.push(about.tenant);
    },
  });
  await log.catchUp(clock.nowMs());
  log.stop();
  return obeyed;
}

let faults: HeardFaults;
beforeEach(() => {
  faults = heardFaults();
});
afterEach(() => {
  faults.stop();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('a fault costs whom it is about, and the neighbour nothing', () => {
  it.each(Object.entries(cases))('%s', async (where, run) => {
    await run();
    if (where === 'process') return;
    expect(Object.keys(faults.counts)).toEqual([where]);
  });
});

describe('the report', () => {
  it('counts each fault, and logs one a minute for each place, with how many were left out', () => {
    const clock = new ManualClock();
    const heard = heardFaults(clock);
    const receipt = (): void => {
      const one = new PendingReceipt();
      one.whenSettled(planted);
      one.settle(0);
    };
    for (let i = 0; i < 100; i++) receipt();
    clock.advance(59_000);
    receipt();
    expect([heard.counts.receipt, heard.lines.length]).toEqual([101, 1]);
    clock.advance(1000);
    receipt();
    expect(heard.lines.map(({ where, untold }) => [where, untold])).toEqual([
      ['receipt', undefined],
      ['receipt', 100],
    ]);
    heard.stop();
  });

  it('is not ended by a log that fails', () => {
    const metrics = new Metrics();
    const stop = reportFaults({ log: { ...silentLog, error: planted }, metrics, clock: systemClock });
    const receipt = new PendingReceipt();
    receipt.whenSettled(planted);
    expect(() => receipt.settle(0)).not.toThrow();
    stop();
  });
});
