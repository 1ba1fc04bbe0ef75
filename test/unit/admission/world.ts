/** Admission with its ports in memory: records that a test may hold up, connections that note what becomes of them. */
import type { Packet } from 'mqtt-packet';
import { Admission } from '../../../services/broker/admission/admission.js';
import type { Claim, Claimed, Elsewhere, Ending } from '../../../services/broker/residence/residence.js';
import {
  type Admitted,
  type Connection,
  type LeaseGate,
  type OwnRecord,
  Thread,
  UnitLedger,
} from '../../../services/broker/tenant/tenant.js';
import {
  type ConnectPacket,
  PacketReader,
  type ProtocolVersion,
  type Reason,
  reasons,
  Slab,
  TopicTable,
} from '../../../services/broker/wire/wire.js';
import {
  type BrokerId,
  type ClientId,
  Metrics,
  silentLog,
  type TenantId,
  type TenantScope,
} from '../../../services/kernel/kernel.js';
import {
  type Credential,
  hashSecret,
  type Quotas,
  type SessionRecord,
  type Tenant,
} from '../../../services/tenancy/tenancy.js';
import { decodeAll, encode } from '../../fuzz/packets.js';
import { ManualClock } from '../../support/manual-clock.js';
import { MemoryAccounts } from '../../support/memory/accounts.js';
import { MemoryUsage } from '../../support/memory/usage.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { MemorySharedStore } from '../../support/memory/shared-store.js';
import { MemoryRetained } from '../../support/memory/retained.js';
import { MemorySessionStore } from '../../support/memory/session-store.js';
import { SessionTables } from '../../support/memory/session-tables.js';

export const acme = 'acme' as TenantId;
/** Of a tenant without a creation id. */
export const acmeScope = 'acme' as string as TenantScope;
/** A broker that had sessions before the one of a test. */
export const gone = 'broker-0' as BrokerId;
const password = 'correct horse';
const secretHash = await hashSecret(password, 'generated');

/** Claims may be held up; `log` says who came and who left, with the epochs counted from the first. */
export class HeldRecords extends MemorySessionStore {
  readonly log: string[] = [];
  readonly tables: SessionTables;
  readonly #base: number;
  #gates: (() => void)[] = [];
  /** Claims wait until `open`. */
  holding = false;

  constructor(tables: SessionTables, clock: ManualClock) {
    super(tables, 'broker-1' as BrokerId, clock);
    this.tables = tables;
    this.#base = Math.floor(clock.nowMs() / 10);
  }

  /** What is stored, by client id, with the epoch counted in the same way. */
  get stored(): Map<string, SessionRecord> {
    return new Map(
      [...this.tables.records.values()].map((record) => [
        record.clientId,
        { ...record, epoch: record.epoch - this.#base },
      ]),
    );
  }

  override async claim(claim: Claim, born: number | undefined, known?: OwnRecord): Promise<Claimed | Elsewhere> {
    if (this.holding) await new Promise<void>((resolve) => this.#gates.push(resolve));
    const claimed = await super.claim(claim, born, known);
    this.log.push(`claim ${claim.clientId} ${claimed.epoch - this.#base}`);
    return claimed;
  }
  override async release(record: OwnRecord): Promise<void> {
    await super.release(record);
    this.log.push(`release ${record.clientId} ${record.epoch - this.#base}`);
  }
  get waiting(): number {
    return this.#gates.length;
  }
  open(): void {
    for (const gate of this.#gates.splice(0)) gate();
  }
}

export class FakeConnection implements Connection {
  readonly remoteAddress: string;
  waitingBytes = 0;
  closed = false;
  closedBy: string | undefined;
  admission: Admission;
  in: Admitted | undefined;
  readonly #version: ProtocolVersion;
  #isMute = false;
  #bytes: Buffer[] = [];

  constructor(admission: Admission, version: ProtocolVersion, address = '192.0.2.1') {
    this.admission = admission;
    this.remoteAddress = `${address}:5000`;
    this.#version = version;
  }
  push(source: Buffer, start: number, end: number): void {
    if (!this.#isMute) this.#bytes.push(Buffer.from(source.subarray(start, end)));
  }
  admitted(admitted: Admitted): void {
    this.in = admitted;
  }
  /** As the transport does it: mute at once, and over with the turn; before the client is in, over at once. */
  giveUp(reason: Reason): void {
    if (!this.in) return this.close(reason);
    this.#isMute = true;
    queueMicrotask(() => this.close(reason));
  }
  /** As the transport does it: once, and the session hears of it at once. */
  close(reason: Reason): void {
    this.end(reason.name, { publishWill: true, isSentAway: reason === reasons.serverShuttingDown });
  }
  end(why: string, ending: Ending): void {
    if (this.closed) return;
    this.closed = true;
    this.closedBy = why;
    if (this.in) this.admission.disconnected(this.in, ending);
  }
  take(): Packet[] {
    return decodeAll(Buffer.concat(this.#bytes.splice(0)), this.#version);
  }
  said(): string[] {
    return this.take().map((packet) =>
      packet.cmd === 'publish' ? `${packet.topic} ${packet.payload.toString()}` : packet.cmd,
    );
  }
}

/** As a broker's lease: what was withheld while it had lapsed is let go when it is held again or DynamoDB is away. */
class FakeLease implements LeaseGate {
  state: LeaseGate['state'] = 'held';
  #waiting: (() => void)[] = [];

  whenAwake(listener: () => void): void {
    if (this.state === 'lapsed') this.#waiting.push(listener);
    else listener();
  }
  become(state: 'held' | 'outage'): void {
    this.state = state;
    for (const listener of this.#waiting.splice(0)) listener();
  }
}

export interface ConnectWish {
  clientId: string;
  version?: ProtocolVersion;
  clean?: boolean;
  expiry?: number;
  will?: { topic: string; payload: string; delay?: number };
  user?: string;
  secret?: string;
  address?: string | undefined;
  more?: object;
}

export class World {
  readonly clock = new ManualClock();
  readonly tables = new SessionTables();
  readonly shared = new MemorySharedStore(this.tables);
  readonly records = new HeldRecords(this.tables, this.clock);
  readonly metrics = new Metrics();
  /** Of the process: there is plenty. */
  readonly memory = { limitBytes: 1e9, usedBytes: 0, liveBytes: 0, collections: 0 };
  readonly lease = new FakeLease();
  /** Of brokers that have died. */
  readonly leaseEnds = new Map<BrokerId, number>();
  readonly accounts = new MemoryAccounts();
  readonly retained = new MemoryRetained({ clock: this.clock });
  readonly usage = new MemoryUsage();
  isControlLogHeard = false;
  readonly units: UnitLedger;
  readonly admission: Admission;

  constructor(quotas: Partial<Quotas> = {}, publishesRevokedWills = false) {
    this.tenant = { id: acme, plan: 'free', status: 'active', quotaOverrides: quotas, createdAtMs: 0 };
    this.credential = { scope: acmeScope, name: 'device', secretHash, createdAtMs: 0, revision: 1 };
    this.units = new UnitLedger({ store: this.usage, clock: this.clock, log: silentLog, metrics: this.metrics });
    this.admission = new Admission({
      memory: this.memory,
      accounts: this.accounts,
      records: this.records,
      shared: this.shared,
      commitLog: new MemoryCommitLog({ tables: this.tables, nowMs: () => this.clock.nowMs(), prompt: true }),
      unsafeBytesMax: 1 << 20,
      holdBackMs: 5000,
      inFlightMax: 16_383,
      topicLevelsMax: 128,
      lease: this.lease,
      brokerId: 'broker-1' as BrokerId,
      units: this.units,
      isControlLogHeard: () => this.isControlLogHeard,
      thread: new Thread(this.clock),
      leaseEndedAtMs: (broker) => Promise.resolve(this.leaseEnds.get(broker)),
      makeRetained: () => this.retained,
      clock: this.clock,
      slab: new Slab(),
      log: silentLog,
      metrics: this.metrics,
      keepAliveSecondsMax: 0,
      publishesRevokedWills,
    });
  }

  get tenant(): Tenant | undefined {
    return this.accounts.tenants.get(acme);
  }
  set tenant(tenant: Tenant | undefined) {
    if (tenant) this.accounts.tenants.set(acme, tenant);
    else this.accounts.tenants.delete(acme);
  }

  get credential(): Credential | undefined {
    return this.accounts.credentials.get(acmeScope)?.get('device');
  }
  set credential(credential: Credential | undefined) {
    if (credential) this.accounts.put(credential);
    else this.accounts.credentials.delete(acmeScope);
  }

  /** `gone` has stored a session whose client was connected to it. */
  async leftBehind(claim: Partial<Claim> = {}): Promise<void> {
    await new MemorySessionStore(this.tables, gone, this.clock).claim(
      {
        tenant: acmeScope,
        clientId: 'c' as ClientId,
        userName: 'device@acme',
        protocolVersion: '5',
        address: '192.0.2.1:5000',
        connected: true,
        connectedAtMs: this.clock.nowMs(),
        keepAliveSeconds: 60,
        expirySeconds: 1000,
        queuedMessages: 0,
        droppedMessages: 0,
        ...claim,
      },
      undefined,
    );
  }

  /** Starts a CONNECT; `done` settles as admission says. */
  connect(wish: ConnectWish): { connection: FakeConnection; done: Promise<void> } {
    const version = wish.version ?? 5;
    const connection = new FakeConnection(this.admission, version, wish.address);
    const done = this.admission.connect(connectPacket(wish, version), connection);
    done.catch(() => undefined);
    return { connection, done };
  }

  async admit(wish: ConnectWish): Promise<FakeConnection> {
    const { connection, done } = this.connect(wish);
    await done;
    return connection;
  }

  gauge(name: string): number {
    return [...this.metrics.samples()]
      .filter((sample) => sample.name === name)
      .reduce((sum, { value }) => sum + value, 0);
  }
}

function connectPacket(wish: ConnectWish, version: ProtocolVersion): ConnectPacket {
  const { clientId, clean = true, expiry, will, user = 'device@acme', secret = password, more } = wish;
  const bytes = encode(
    {
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      clean,
      clientId,
      keepalive: 0,
      username: user,
      password: Buffer.from(secret),
      ...(will && {
        will: {
          topic: will.topic,
          payload: Buffer.from(will.payload),
          qos: 1,
          retain: true,
          ...(version === 5 && { properties: { willDelayInterval: will.delay ?? 0 } }),
        },
      }),
      ...(version === 5 && { properties: { ...(expiry !== undefined && { sessionExpiryInterval: expiry }), ...more } }),
    },
    version,
  );
  let found: ConnectPacket | undefined;
  const sink = { onPublish() {}, onAck() {}, onPacket: (packet: unknown) => (found = packet as ConnectPacket) };
  new PacketReader(topics, sink, 1 << 20).read(bytes, 0);
  return found!;
}
const topics = new TopicTable();

export const id = (text: string): ClientId => text as ClientId;
