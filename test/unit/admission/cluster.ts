/**
 * Brokers that serve at the same time, over one set of tables in memory, and what goes between them: questions and answers that take their
 * time and may be lost, and what is published somewhere else. Any of them may die at each of its writes, and at each step of a take-over.
 */
import type { Packet } from 'mqtt-packet';
import { Admission } from '../../../services/broker/admission/admission.js';
import { Message, type Origin, PendingReceipt } from '../../../services/broker/message/message.js';
import type { Interest, Takeover, TakeoverHost } from '../../../services/broker/residence/residence.js';
import { type Tenant, Thread, UnitLedger } from '../../../services/broker/tenant/tenant.js';
import { Slab } from '../../../services/broker/wire/wire.js';
import { type BrokerId, type ClientId, Metrics, silentLog } from '../../../services/kernel/kernel.js';
import { clientPartition } from '../../../services/tenancy/tenancy.js';
import type { Chance } from '../../support/chance.js';
import { ManualClock } from '../../support/manual-clock.js';
import { MemoryAccounts } from '../../support/memory/accounts.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { MemoryRetained } from '../../support/memory/retained.js';
import { MemorySessionStore } from '../../support/memory/session-store.js';
import { MemorySharedStore } from '../../support/memory/shared-store.js';
import { SessionTables } from '../../support/memory/session-tables.js';
import { MemoryUsage } from '../../support/memory/usage.js';
import { acme, acmeScope, connectPacket, Device, Life, secretHash, settle, type Wish } from './site.js';

export class Broker {
  readonly id: BrokerId;
  readonly life = new Life();
  readonly clock: ManualClock;
  readonly log: MemoryCommitLog;
  readonly admission: Admission;
  readonly cluster: Cluster;
  /** As `life`, but its lease is not over yet. */
  isCutOff = false;

  constructor(cluster: Cluster, id: string) {
    this.cluster = cluster;
    this.id = id as BrokerId;
    const { clock, tables } = cluster;
    const { life } = this;
    this.clock = clock;
    const mortalClock = {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (ms: number, run: () => void) =>
        clock.after(ms, () => {
          if (!life.isOver) run();
        }),
    };
    this.log = new MemoryCommitLog({ tables: life.tables(tables), nowMs: () => clock.nowMs(), prompt: false });
    const records = new MemorySessionStore(tables, this.id, mortalClock, (owner) => cluster.isAlive(owner), true);
    this.admission = new Admission({
      memory: { limitBytes: 1, usedBytes: 0, liveBytes: 0, collections: 0 },
      accounts: cluster.accounts,
      records: life.mortal(records, ['claim', 'release', 'purge', 'take', 'sessionOf', 'load']),
      shared: new MemorySharedStore(tables),
      commitLog: life.mortal(this.log),
      brokerId: this.id,
      takeover: cluster.takeoverOf(this),
      interest: cluster.interestOf(this),
      ...{ unsafeBytesMax: 1 << 20, holdBackMs: 5000, inFlightMax: 16_383, topicLevelsMax: 128 },
      units: new UnitLedger({ store: new MemoryUsage(), clock: mortalClock, log: silentLog, metrics: new Metrics() }),
      thread: new Thread(mortalClock),
      lease: { state: 'held', whenAwake: (listener: () => void) => listener() },
      leaseEndedAtMs: (broker) => Promise.resolve(cluster.leaseEnds.get(broker)),
      makeRetained: () => cluster.retained,
      clock: mortalClock,
      slab: new Slab(),
      log: silentLog,
      metrics: new Metrics(),
      keepAliveSecondsMax: 0,
      publishesRevokedWills: false,
    });
  }

  connect(clientId: string, wish: Wish = {}): { device: Device; done: Promise<void>; error: () => unknown } {
    const device = new Device(this, this.admission, 5, clientId);
    const packet = connectPacket(clientId, { clean: false, expiry: 1000, ...wish });
    let failed: unknown;
    const done = this.admission.connect(packet, device);
    done.catch((error: unknown) => (failed = error));
    return { device, done, error: () => failed };
  }

  async admit(clientId: string, wish: Wish = {}): Promise<Device> {
    const { device, error } = this.connect(clientId, wish);
    await this.cluster.until(() => device.in !== undefined || error() !== undefined);
    if (!device.in) throw error() as Error;
    return device;
  }

  /** Once a client has come. */
  tenant: Tenant | undefined;
}

/** A publisher that is elsewhere, and its broker: it knows by and by who has the subscription. */
class Elsewhere {
  readonly sent: { readonly payload: string; readonly qos: 1 | 2; readonly receipt: PendingReceipt }[] = [];
  #number = 0;

  message(topic: string, qos: 1 | 2): Message {
    const payload = `${qos}-${++this.#number}`;
    const message = Message.of({
      ...{ topic: { text: topic, bytes: Buffer.from(topic) }, payload: Buffer.from(payload), qos, retain: false },
      publisher: 'far' as ClientId,
    });
    const receipt = new PendingReceipt();
    if (qos === 2) message.origin = this.#origin(receipt);
    this.sent.push({ payload, qos, receipt });
    return message;
  }

  #origin(settled: PendingReceipt): Origin {
    return { epoch: 7, number: this.#number, packetId: this.#number, hash: 0, again: undefined, settled };
  }
}

export class Cluster {
  readonly clock = new ManualClock();
  readonly tables = new SessionTables();
  readonly accounts = new MemoryAccounts();
  readonly retained = new MemoryRetained({ clock: this.clock });
  readonly leaseEnds = new Map<BrokerId, number>();
  readonly brokers: Broker[] = [];
  readonly far = new Elsewhere();
  /** How long a question, an answer, a message or what is told of a subscription is under way; undefined: it is lost. */
  delayMs: (what: 'link' | 'message' | 'interest') => number | undefined = () => 1;
  /** Steps of take-overs, as they are passed; who is named may die there. */
  readonly steps: string[] = [];
  atStep: (step: string) => void = () => undefined;
  /** Whom the far publisher's broker sends to. */
  readonly #known = new Set<Broker>();
  readonly #underWay = new Map<Broker, number>();
  readonly #whenArrived: { readonly broker: Broker; readonly receipt: PendingReceipt }[] = [];

  constructor(...ids: string[]) {
    this.accounts.tenants.set(acme, { id: acme, plan: 'free', status: 'active', quotaOverrides: {}, createdAtMs: 0 });
    this.accounts.put({ scope: acmeScope, name: 'device', secretHash, createdAtMs: 0, revision: 1 });
    for (const id of ids) this.brokers.push(new Broker(this, id));
  }

  isAlive(owner: BrokerId): boolean {
    return !this.leaseEnds.has(owner);
  }

  /** At once; its lease ends some seconds later. */
  kill(broker: Broker): void {
    broker.life.isOver = true;
    this.clock.after(4000, () => this.leaseEnds.set(broker.id, this.clock.nowMs()));
  }

  record(clientId = 'c') {
    return this.tables.records.get(`${acme}#${clientId}`);
  }

  inbox(clientId = 'c'): string[] {
    return this.tables.payloads(clientPartition(acmeScope, clientId as ClientId));
  }

  #step(step: string): void {
    this.steps.push(step);
    this.atStep(step);
  }

  #later(what: 'link' | 'message' | 'interest', run: () => void): boolean {
    const delayMs = this.delayMs(what);
    if (delayMs === undefined) return false;
    this.clock.after(delayMs, run);
    return true;
  }

  takeoverOf(from: Broker): Takeover {
    const ask = <T>(to: BrokerId, what: string, call: (host: TakeoverHost) => Promise<T>): Promise<T | undefined> =>
      new Promise((resolve) => {
        const broker = this.brokers.find(({ id }) => id === to);
        this.#step(`${from.id} asks ${what}`);
        this.clock.after(1000, () => resolve(undefined));
        this.#later('link', () => {
          if (!broker || broker.life.isOver) return;
          this.#step(`${to} hears ${what}`);
          void call(broker.admission.handingOver).then((answer) => {
            this.#step(`${to} answers ${what}`);
            if (!broker.life.isOver) this.#later('link', () => resolve(answer));
          });
        });
      });
    return {
      from: (owner, wish) => ask(owner, 'give', (host) => host.give(wish)),
      finish: async (owner, given) => (await ask(owner, 'finish', (host) => host.finish(given))) ?? false,
    };
  }

  interestOf(broker: Broker): Interest {
    return {
      matched: () => {
        const receipt = new PendingReceipt();
        const tell = (): void => {
          this.#known.add(broker);
          receipt.settle(0);
        };
        if (!this.#later('interest', tell)) this.clock.after(2000, tell);
        return receipt;
      },
      arrived: () => {
        const receipt = new PendingReceipt();
        this.#known.delete(broker);
        this.#whenArrived.push({ broker, receipt });
        this.#look();
        return receipt;
      },
    };
  }

  /** The far publisher's broker has a subscriber there. */
  knows(broker: Broker): void {
    this.#known.add(broker);
  }

  #look(): void {
    for (const { broker, receipt } of [...this.#whenArrived]) if (!this.#underWay.get(broker)) receipt.settle(0);
  }

  /** Somewhere else, for all brokers that are known to have subscribers: acknowledged when all of them have it safe. */
  publish(topic: string, qos: 1 | 2): void {
    const message = this.far.message(topic, qos);
    const { receipt } = this.far.sent.at(-1)!;
    let left = 0;
    for (const broker of this.#known) {
      left++;
      this.#underWay.set(broker, (this.#underWay.get(broker) ?? 0) + 1);
      const { topic: name, payload, publisher, origin } = message;
      const copy = Message.of({ topic: name, payload, qos, retain: false, publisher });
      copy.origin = origin;
      const arrive = (): void => {
        this.#underWay.set(broker, this.#underWay.get(broker)! - 1);
        if (!broker.life.isOver && broker.tenant)
          broker.tenant.publish(copy, this.clock.nowMs()).whenSettled(() => --left === 0 && receipt.settle(0));
        this.#look();
      };
      this.clock.after(this.delayMs('message') ?? 50, arrive);
    }
  }

  /** Some milliseconds go by, and what is due is written. */
  async tick(ms = 4): Promise<void> {
    this.clock.advance(ms);
    for (const { life, log } of this.brokers) {
      if (life.isOver) continue;
      log.delayOver();
      log.take();
      log.write();
      if (!life.isOver) log.confirm();
    }
    await settle(1);
  }

  async until(isSo: () => boolean, ms = 4): Promise<void> {
    for (let i = 0; !isSo(); i++) {
      if (i > 3000) throw new Error(`never so; passed: ${this.steps.slice(-20).join(', ')}`);
      await this.tick(ms);
    }
  }

  async calm(ms = 400): Promise<void> {
    for (let i = 0; i < ms / 20; i++) await this.tick(20);
  }
}

/** A client that acknowledges as the specification says, and knows what it has had with QoS 2. */
export class Taker {
  readonly got: string[] = [];
  /** Two messages under one packet identifier, and what else should not be. */
  readonly faults: string[] = [];
  readonly #known = new Map<number, string>();

  hear(device: Device, answers = true): void {
    const open = new Map<number, string>();
    for (const packet of device.take()) {
      const id = packet.cmd === 'publish' || packet.cmd === 'pubrel' ? packet.messageId! : 0;
      if (packet.cmd === 'publish') {
        const payload = packet.payload.toString();
        if (open.has(id) && open.get(id) !== payload)
          this.faults.push(`${payload} under the identifier of ${open.get(id)!}`);
        open.set(id, payload);
        if (packet.qos === 2 && this.#known.has(id)) {
          if (this.#known.get(id) !== payload) this.faults.push(`${payload} in place of ${this.#known.get(id)!}`);
        } else this.got.push(payload);
        if (packet.qos === 2) this.#known.set(id, payload);
        if (answers && !device.closed) device.send(answer(packet.qos === 2 ? 'pubrec' : 'puback', id));
      } else if (packet.cmd === 'pubrel') {
        this.#known.delete(id);
        if (!device.closed) device.send(answer('pubcomp', id));
      }
    }
  }
}

const answer = (cmd: 'puback' | 'pubrec' | 'pubcomp', messageId: number): Packet => ({ cmd, messageId });

/** Delays by chance. */
export function byChance(chance: Chance, lossy = 0): Cluster['delayMs'] {
  return (what) => (what === 'link' && chance.happens(lossy) ? undefined : chance.between(1, 40));
}
