/**
 * The two kinds of `Outbound` for tests that hold for both: a session with one of them, a host that counts what is held and owed, and a
 * client that knows the protocol.
 */
import type { IPublishPacket, Packet } from 'mqtt-packet';
import type { DeliveryTerms, Message, QoS, Receipt } from '../../../services/broker/message/message.js';
import type { Chance } from '../../support/chance.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { ack, type Client, connect, FakeHost, message, terms } from './world.js';

export type Wish = NonNullable<Parameters<Client['reconnect']>[0]>;

export interface OutboundKind {
  readonly name: string;
  open(wish?: Wish): OutboundWorld;
}

/** Notes whatever is let go or paid more often than it was held or owed. */
export class CountingHost extends FakeHost {
  readonly faults: string[] = [];
  readonly #holds = new Map<Message, number>();
  override readonly backlog = {
    messages: 0,
    hold: (one: Message) => this.#count(one, 1),
    letGo: (one: Message) => this.#count(one, -1),
  };

  override hold(one?: Message): boolean {
    return super.hold() && (this.#count(one!, 1), true);
  }
  override letGo(one?: Message): void {
    super.letGo();
    this.#count(one!, -1);
  }
  #count(one: Message, change: 1 | -1): void {
    const holds = (this.#holds.get(one) ?? 0) + change;
    if (holds < 0) this.faults.push(`${String(one.payload)} was let go twice`);
    if (holds === 0) this.#holds.delete(one);
    else this.#holds.set(one, holds);
  }
  override pay(one: Message, reasonCode: number): void {
    if (one.owed === 0) this.faults.push(`${String(one.payload)} was paid twice`);
    else super.pay(one, reasonCode);
  }
  /** Messages in memory, whoever counts them. */
  get heldMessages(): number {
    return this.#holds.size;
  }
}

interface Open {
  readonly name: string;
  readonly qos: 1 | 2;
  /** The connection on which PUBLISH came last. */
  connection: number;
  /** On which anything of it came last: a client answers what it gets, and after a reconnect waits for it to come again. */
  heardOn: number;
  /** It was too large for a later connection, and may count as delivered since; or another client has got it. */
  mayBeOver: boolean;
  /** PUBREC has been sent, PUBREL has come. */
  stage: 'published' | 'received' | 'released';
}

/** The client's side: says what came by the payloads of the messages, and fails when it is sent what it may not be. */
export class Reader {
  /** Messages in the order in which they came first, as `topic qos payload`. */
  readonly got: string[] = [];
  readonly #client: Client;
  readonly #open = new Map<number, Open>();
  readonly #finished = new Set<string>();
  #connection = 0;
  #receiveMaximum = Infinity;
  readonly #aliases = new Map<number, string>();
  /** What has come and was not taken. */
  #said: string[] = [];

  constructor(client: Client, wish: Wish) {
    this.#client = client;
    this.connected(wish);
  }

  connected({ receiveMaximum = Infinity, packetBytesMax = Infinity }: Wish): void {
    for (const open of this.#open.values())
      if (open.stage === 'published' && open.name.length >= packetBytesMax) open.mayBeOver = true;
    this.#said = [];
    this.#aliases.clear();
    this.#connection++;
    this.#receiveMaximum = receiveMaximum;
  }

  /** What has come since the last call: `publish q1d x`, `pubrel x`, or `pubrel #9 0x92` for an identifier that is not in use. */
  take(): string[] {
    this.#receive();
    return this.#said.splice(0);
  }

  #receive(): void {
    for (const packet of this.#client.outbox.take()) this.#said.push(this.#inShort(packet));
  }

  #inShort(packet: Packet): string {
    const { cmd, messageId = 0 } = packet;
    if (packet.cmd === 'publish') {
      const payload = String(packet.payload);
      const topic = this.#topicOf(packet);
      if (packet.qos === 0) this.got.push(`${topic} 0 ${payload}`);
      else this.#published(messageId, payload, topic, packet.qos, packet.dup);
      return `publish q${packet.qos}${packet.dup ? 'd' : ''} ${payload}`;
    }
    const { reasonCode = 0 } = packet as { reasonCode?: number };
    const open = this.#open.get(messageId);
    if (cmd === 'pubrel' && open && reasonCode === 0) {
      open.stage = 'released';
      open.heardOn = this.#connection;
    }
    return `${cmd} ${open?.name ?? `#${messageId}`}${reasonCode === 0 ? '' : ` 0x${reasonCode.toString(16)}`}`;
  }

  #topicOf({ topic, properties }: IPublishPacket): string {
    const alias = properties?.topicAlias;
    if (alias === undefined) return topic;
    if (topic !== '') this.#aliases.set(alias, topic);
    return this.#aliases.get(alias)!;
  }

  #published(id: number, name: string, topic: string, qos: 1 | 2, dup: boolean): void {
    const before = this.#open.get(id);
    const known = before?.mayBeOver && before.name !== name ? undefined : before;
    if (this.#finished.has(name)) throw new Error(`${name} came again though it was finished`);
    if (known && known.name !== name) throw new Error(`${id} is in use for ${known.name}, and was used for ${name}`);
    if (known && !dup) throw new Error(`${name} came again without DUP`); // [MQTT-3.3.1-1]
    if (known?.connection === this.#connection) throw new Error(`${name} came twice on one connection`);
    if (known && known.stage !== 'published') throw new Error(`${name} came again after PUBREC`); // [MQTT-4.3.3-6]
    if (!known && [...this.#open.values()].some((open) => open.name === name))
      throw new Error(`${name} came again under another identifier`); // [MQTT-4.4.0-1]
    if (!known) this.got.push(`${topic} ${qos} ${name}`);
    this.#open.set(id, {
      name,
      qos,
      connection: this.#connection,
      heardOn: this.#connection,
      mayBeOver: false,
      stage: 'published',
    });
    const underWay = [...this.#open.values()].filter(({ connection }) => connection === this.#connection).length;
    if (underWay > this.#receiveMaximum) throw new Error(`${underWay} under way`); // [MQTT-3.3.4-9]
  }

  /** Those that wait for an answer of the client. */
  get waiting(): readonly string[] {
    const isDue = ({ stage, heardOn }: Open): boolean => stage !== 'received' && heardOn === this.#connection;
    return [...this.#open.values()].filter(isDue).map(({ name }) => name);
  }

  /** Another client has it: its identifier is free. */
  passedOn(name: string): void {
    for (const open of this.#open.values()) if (open.name === name) open.mayBeOver = true;
  }

  /** Whether PUBREC has been sent for it. */
  isReceived(name: string): boolean {
    return this.#open.get(this.idOf(name))!.stage !== 'published';
  }

  idOf(name: string): number {
    for (const [id, open] of this.#open) if (open.name === name) return id;
    throw new Error(`${name} is not under way`);
  }

  /** The next answer for each of these: PUBACK, PUBREC or PUBCOMP. */
  answer(...names: readonly string[]): void {
    for (const name of names) {
      this.#receive();
      const id = this.idOf(name);
      const open = this.#open.get(id)!;
      if (open.qos === 2 && open.stage === 'published') {
        open.stage = 'received';
        this.#client.send(ack('pubrec', id));
      } else this.#finish(id, ack(open.qos === 1 ? 'puback' : 'pubcomp', id));
    }
  }

  /** PUBACK or PUBREC that refuses it. */
  refuse(name: string, reasonCode: number): void {
    this.#receive();
    const id = this.idOf(name);
    this.#finish(id, ack(this.#open.get(id)!.qos === 1 ? 'puback' : 'pubrec', id, reasonCode));
  }

  #finish(id: number, packet: ReturnType<typeof ack>): void {
    this.#finished.add(this.#open.get(id)!.name);
    this.#open.delete(id);
    this.#client.send(packet);
  }
}

export class OutboundWorld {
  readonly host: CountingHost;
  readonly client: Client;
  readonly reader: Reader;
  /** Does all that the store is asked for, and lets the event loop turn until nothing comes of it any more. */
  readonly settle: () => Promise<void>;
  /** One step of the store, or none. */
  readonly storeSome: (chance: Chance) => void;
  /** Its reads succeed again. */
  readonly storeIsBack: () => void;
  readonly receipts: { readonly name: string; readonly receipt: Receipt }[] = [];
  /** Connections that are over: nothing may be sent on them. */
  readonly #over: Client['outbox'][] = [];

  constructor(host: CountingHost, client: Client, wish: Wish, log?: MemoryCommitLog) {
    this.host = host;
    this.client = client;
    this.reader = new Reader(client, wish);
    this.settle = log ? () => settle(log) : turn;
    this.storeSome = (chance) => {
      if (log) storeSome(log, chance);
    };
    this.storeIsBack = () => {
      if (log) log.readError = undefined;
    };
  }

  get session(): Client['session'] {
    return this.client.session;
  }

  deliver(
    name: string,
    qos: QoS,
    more: { topic?: string; expiresAtMs?: number; terms?: Partial<DeliveryTerms> } = {},
  ): void {
    const one = message(more.topic ?? 'a', name, qos, { expiresAtMs: more.expiresAtMs ?? Infinity });
    this.session.deliver(one, terms(more.terms?.qos ?? 2, more.terms), this.host.timeMs);
    if (one.pending) this.receipts.push({ name, receipt: one.pending });
  }

  /** Messages whose publishers wait for their acknowledgements. */
  get pending(): readonly string[] {
    return this.receipts.filter(({ receipt }) => receipt.reasonCode === undefined).map(({ name }) => name);
  }

  leave(): void {
    const { outbox } = this.client;
    this.session.detach(this.host.timeMs);
    outbox.take();
    this.#over.push(outbox);
  }

  comeBack(wish: Wish = {}): void {
    this.reader.connected(wish);
    this.client.reconnect(wish);
  }

  /** Reads and answers all until nothing comes any more. */
  async readAll(): Promise<void> {
    for (let idle = 0; idle < 2; idle++) {
      await this.settle();
      if (this.reader.take().length > 0) idle = 0;
      this.reader.answer(...this.reader.waiting);
    }
  }

  /** What must never be, at any time. */
  get faults(): readonly string[] {
    const late = this.#over.flatMap((outbox) => outbox.said()).map((line) => `${line} after the connection was over`);
    return [...this.host.faults, ...late];
  }
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

async function settle(log: MemoryCommitLog): Promise<void> {
  for (let before = -1; before !== log.taken.length;) {
    before = log.taken.length;
    log.delayOver();
    log.commit();
    await turn();
  }
}

function storeSome(log: MemoryCommitLog, chance: Chance): void {
  const steps = [
    () => log.delayOver(),
    () => log.take(),
    () => log.write(),
    () => (log.write(), log.confirm()),
    () => log.commit(),
    () => (log.readError = new Error('away')),
    () => (log.readError = undefined),
  ];
  steps[chance.between(0, steps.length - 1)]!();
}

const clean: OutboundKind = {
  name: 'clean',
  open(wish = {}) {
    const host = new CountingHost();
    return new OutboundWorld(host, connect({ host, ...wish }), wish);
  },
};

const durable: OutboundKind = {
  name: 'durable',
  open(wish = {}) {
    const host = new CountingHost();
    // The delay is over whenever it is asked for.
    const log = new MemoryCommitLog({ nowMs: () => host.timeMs + 1000 });
    return new OutboundWorld(
      host,
      connect({ host, keeping: { partitionOf: () => 'acme#c', log }, ...wish }),
      wish,
      log,
    );
  },
};

export const outboundKinds: readonly OutboundKind[] = [clean, durable];
