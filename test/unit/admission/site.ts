/** Brokers over one set of tables in memory: commits go as far as a test says, and a broker may die at any moment. */
import type { Packet } from 'mqtt-packet';
import { Admission } from '../../../services/broker/admission/admission.js';
import type { Ending } from '../../../services/broker/residence/residence.js';
import { type Admitted, type Connection, Thread, UnitLedger } from '../../../services/broker/tenant/tenant.js';
import {
  type ConnectPacket,
  type InboundPublish,
  PacketReader,
  type ProtocolVersion,
  type Reason,
  Slab,
  TopicTable,
} from '../../../services/broker/wire/wire.js';
import { type BrokerId, Metrics, silentLog, type TenantId, type TenantScope } from '../../../services/kernel/kernel.js';
import { hashSecret, type Quotas } from '../../../services/tenancy/tenancy.js';
import { decodeAll, encode } from '../../fuzz/packets.js';
import { ManualClock } from '../../support/manual-clock.js';
import type { Write } from '../../../services/broker/inbox/inbox.js';
import { MemoryAccounts } from '../../support/memory/accounts.js';
import { MemoryUsage } from '../../support/memory/usage.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { MemoryRetained } from '../../support/memory/retained.js';
import { MemorySessionStore } from '../../support/memory/session-store.js';
import { MemorySharedStore } from '../../support/memory/shared-store.js';
import { SessionTables } from '../../support/memory/session-tables.js';

export const acme = 'acme' as TenantId;
/** Of a tenant without a creation id. */
export const acmeScope = 'acme' as string as TenantScope;
const secret = 'correct horse';
export const secretHash = await hashSecret(secret, 'generated');
const topics = new TopicTable();
export const settle = async (n = 3): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve));
};

const never = new Promise<never>(() => undefined);

/** One broker, as long as it lives: it passes points, before and after each of its writes, and may die at one of them. */
export class Life {
  isOver = false;
  /** The points it has passed. */
  readonly points: string[] = [];
  /** At which of them it dies. */
  diesAt = Infinity;

  pass(what: string): void {
    if (this.isOver) return;
    this.points.push(what);
    if (this.points.length === this.diesAt) this.isOver = true;
  }

  /** The store as this broker has it: its calls never answer and change nothing when its life is over. */
  mortal<T extends object>(target: T, writes: readonly (keyof T)[] = []): T {
    const call = (object: T, name: keyof T, args: unknown[]): unknown => {
      const isWrite = writes.includes(name);
      if (isWrite) this.pass(`before ${String(name)}`);
      if (this.isOver) return never;
      const result = (object[name] as (...a: unknown[]) => unknown).apply(object, args);
      if (!(result instanceof Promise)) return result;
      return result.then((value: unknown) => {
        if (isWrite) this.pass(`after ${String(name)}`);
        return this.isOver ? never : value;
      });
    };
    return new Proxy(target, {
      get: (object, name) => {
        const value = Reflect.get(object, name) as unknown;
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => call(object, name as keyof T, args);
      },
    });
  }

  /** The tables as its commits write them: one item after the other, and it may die between them. */
  tables(tables: SessionTables): SessionTables {
    return new Proxy(tables, {
      get: (object, name) => {
        const value = Reflect.get(object, name) as unknown;
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          if (name === 'write') this.pass(`before ${inShort(args[1] as Write)}`);
          if (name === 'write' && this.isOver) return undefined;
          return (value as (...a: unknown[]) => unknown).apply(object, args);
        };
      },
    });
  }
}

function inShort(write: Write): string {
  if (write.kind === 'messages') return `messages${write.messages[0]!.released ? ' released' : ''}`;
  return write.kind;
}

export class Device implements Connection {
  readonly remoteAddress = '192.0.2.1:5000';
  waitingBytes = 0;
  closed = false;
  in: Admitted | undefined;
  readonly clientId: string;
  readonly #site: Pick<Site, 'clock' | 'life'>;
  readonly #admission: Admission;
  readonly #version: ProtocolVersion;
  #bytes: Buffer[] = [];
  readonly life: Life;
  constructor(site: Pick<Site, 'clock' | 'life'>, admission: Admission, version: ProtocolVersion, clientId: string) {
    this.#site = site;
    this.#admission = admission;
    this.#version = version;
    this.clientId = clientId;
    this.life = site.life;
  }
  push(source: Buffer, start: number, end: number): void {
    if (this.life.isOver) return;
    this.#bytes.push(Buffer.from(source.subarray(start, end)));
  }
  admitted(admitted: Admitted): void {
    this.in = admitted;
  }
  giveUp(reason: Reason): void {
    queueMicrotask(() => this.close(reason));
  }
  close(_reason: Reason): void {
    this.end({ publishWill: true });
  }
  end(ending: Ending = { publishWill: false }): void {
    if (this.closed) return;
    this.closed = true;
    if (this.in) this.#admission.disconnected(this.in, ending);
  }
  take(): Packet[] {
    return decodeAll(Buffer.concat(this.#bytes.splice(0)), this.#version);
  }
  said(): string[] {
    return this.take().map((p) =>
      p.cmd === 'publish'
        ? `publish ${p.payload.toString()}`
        : `${p.cmd}${p.messageId === undefined ? '' : ` ${p.messageId}`}`,
    );
  }
  send(...packets: Packet[]): void {
    const { session, channel, tenant } = this.in!;
    const nowMs = (): number => this.#site.clock.nowMs();
    const reader = new PacketReader(
      topics,
      {
        onPublish: (publish: InboundPublish) => session.receivePublish(publish, channel, nowMs()),
        onAck: (type, packetId, code) => session.receiveAck(type, packetId, code, nowMs()),
        onPacket: (packet) => {
          if (packet.type === 'subscribe') session.receiveSubscribe(packet, channel);
          else if (packet.type === 'unsubscribe') session.receiveUnsubscribe(packet, channel);
        },
      },
      1 << 20,
    );
    reader.version = channel.version;
    for (const packet of packets) {
      if (this.closed) return;
      tenant.time.charge(() => reader.read(encode(packet, channel.version), nowMs()));
    }
  }
}

export interface Wish {
  clean?: boolean;
  expiry?: number;
  will?: { topic: string; payload: string; delay?: number; qos?: 1 | 2 };
  user?: string;
  more?: object;
}

export class Site {
  clock = new ManualClock();
  readonly tables = new SessionTables();
  readonly accounts = new MemoryAccounts();
  readonly retained = new MemoryRetained({ clock: this.clock });
  admission!: Admission;
  log!: MemoryCommitLog;
  records!: MemorySessionStore;
  shared!: MemorySharedStore;
  /** Of the broker that runs now. */
  metrics!: Metrics;
  #brokers = 0;
  /** Of brokers that have died. */
  readonly leaseEnds = new Map<BrokerId, number>();
  /** Of the broker that runs now. */
  life = new Life();

  constructor(quotas: Partial<Quotas> = {}) {
    this.accounts.tenants.set(acme, {
      id: acme,
      plan: 'free',
      status: 'active',
      quotaOverrides: quotas,
      createdAtMs: 0,
    });
    this.accounts.put({ scope: acmeScope, name: 'device', secretHash, createdAtMs: 0, revision: 1 });
    this.accounts.put({ scope: acmeScope, name: 'other', secretHash, createdAtMs: 0, revision: 1 });
    this.boot();
  }
  /** A broker begins; the one before has died. */
  boot(): void {
    this.life.isOver = true;
    const life = (this.life = new Life());
    this.leaseEnds.set(`broker-${this.#brokers}` as BrokerId, this.clock.nowMs());
    const owner = `broker-${++this.#brokers}` as BrokerId;
    const clock = this.clock;
    const mortalClock = {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (ms: number, run: () => void) =>
        clock.after(ms, () => {
          if (!life.isOver) run();
        }),
    };
    const { tables } = this;
    this.log = new MemoryCommitLog({ tables: life.tables(tables), nowMs: () => clock.nowMs(), prompt: false });
    this.records = new MemorySessionStore(tables, owner, mortalClock);
    this.shared = new MemorySharedStore(tables);
    this.metrics = new Metrics();
    this.admission = new Admission({
      memory: { limitBytes: 1, usedBytes: 0, liveBytes: 0, collections: 0 },
      accounts: this.accounts,
      records: life.mortal(this.records, ['claim', 'release', 'purge', 'dropWill']),
      shared: life.mortal(this.shared, ['removeShared', 'purgeShared']),
      commitLog: life.mortal(this.log),
      unsafeBytesMax: 1 << 20,
      holdBackMs: 5000,
      inFlightMax: 16_383,
      units: new UnitLedger({ store: new MemoryUsage(), clock: mortalClock, log: silentLog, metrics: new Metrics() }),
      thread: new Thread(mortalClock),
      topicLevelsMax: 128,
      brokerId: owner,
      lease: { state: 'held', whenAwake: (listener: () => void) => listener() },
      leaseEndedAtMs: (broker) => Promise.resolve(this.leaseEnds.get(broker)),
      makeRetained: () => this.retained,
      clock: mortalClock,
      slab: new Slab(),
      log: silentLog,
      metrics: this.metrics,
      keepAliveSecondsMax: 0,
      publishesRevokedWills: false,
    });
  }
  dump(text: string): string {
    const out: string[] = [];
    for (const pk of this.tables.allPartitions())
      for (const { key, messages } of this.tables.items(pk))
        for (const m of messages)
          if (m.message.payload.toString() === text)
            out.push(`${pk}/${key.slice(5)}${m.released ? 'R' : ''}${m.packetId || ''}`);
    return out.join(' ');
  }
  connect(clientId: string, wish: Wish = {}): { device: Device; done: Promise<void> } {
    const device = new Device(this, this.admission, 5, clientId);
    const done = this.admission.connect(connectPacket(clientId, wish), device);
    done.catch(() => undefined);
    return { device, done };
  }
  async admit(clientId: string, wish: Wish = {}): Promise<Device> {
    const { device, done } = this.connect(clientId, { clean: false, expiry: 1000, ...wish });
    await done;
    return device;
  }
  async subscribe(device: Device, filter: string, qos: 0 | 1 | 2 = 2, takes = true): Promise<void> {
    device.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos }] });
    await settle(1); // Whether anything retained matches is asked first.
    this.log.commit();
    await settle();
    if (takes) device.take();
  }
  /** What is due is written and, if the broker lives on, known to be. */
  commitOnce(): void {
    const { length } = this.log.taken;
    this.log.take();
    this.log.write();
    if (this.log.taken.length > length) this.life.pass('told');
    if (!this.life.isOver) this.log.confirm();
  }
  /** Everything that is due. */
  async calm(): Promise<void> {
    for (let i = 0; i < 6; i++) {
      this.clock.advance(60);
      this.log.delayOver();
      this.log.commit();
      await settle(2);
    }
  }
}

export function connectPacket(
  clientId: string,
  { clean = true, expiry = 0, will, user = 'device', more }: Wish,
): ConnectPacket {
  const bytes = encode(
    {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 5,
      clean,
      clientId,
      keepalive: 0,
      username: `${user}@acme`,
      password: Buffer.from(secret),
      ...(will && {
        will: {
          topic: will.topic,
          payload: Buffer.from(will.payload),
          qos: will.qos ?? 1,
          retain: false,
          properties: { willDelayInterval: will.delay ?? 0 },
        },
      }),
      properties: { sessionExpiryInterval: expiry, ...more },
    },
    5,
  );
  let found: ConnectPacket | undefined;
  const sink = { onPublish() {}, onAck() {}, onPacket: (packet: unknown) => (found = packet as ConnectPacket) };
  new PacketReader(topics, sink, 1 << 20).read(bytes, 0);
  return found!;
}
export const pub = (topic: string, payload: string, qos: 0 | 1 | 2, messageId: number, dup = false): Packet => ({
  cmd: 'publish',
  topic,
  payload,
  qos,
  dup,
  retain: false,
  messageId,
});
export const ack = (cmd: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', messageId: number): Packet => ({ cmd, messageId });
