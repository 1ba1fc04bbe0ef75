/** A session with fake ports: a host that notes what it is asked, and an outbox whose bytes `mqtt-packet` decodes. */
import type { Packet } from 'mqtt-packet';
import type { ClientId } from '../../../services/kernel/kernel.js';
import type { Backlog } from '../../../services/broker/inbox/inbox.js';
import {
  handedOn,
  Message,
  type Meters,
  newMeters,
  type QoS,
  type Receipt,
  type SharedOrigin,
} from '../../../services/broker/message/message.js';
import {
  type Access,
  Channel,
  type Keeping,
  type Outbox,
  type Restored,
  type RetainedRead,
  Session,
  type SessionHost,
  type Subscription,
} from '../../../services/broker/session/session.js';
import {
  type InboundPublish,
  PacketReader,
  type ProtocolVersion,
  type Reason,
  Slab,
  TopicTable,
} from '../../../services/broker/wire/wire.js';
import { tuning } from '../../../services/broker/config.js';
import { decodeAll, encode } from '../../fuzz/packets.js';

export const nowMs = 1_800_000_000_000;
const topics = new TopicTable();

export class FakeHost implements SessionHost {
  limits = { subscriptionsPerSession: 100, subscriptions: Infinity, queuedMessagesPerSession: 1000 };
  subscriptions = 0;
  topicLevelsMax: number = tuning.SHOAL_TOPIC_LEVELS_MAX.fallback;
  readonly meters: Meters = newMeters();
  readonly backlog: Backlog = { messages: 0, hold() {}, letGo() {} };
  memory = { willBytes: 0, isFull: false, refusal: (): string | undefined => undefined };
  readonly published: { topic: string; payload: string; qos: QoS; publisher: string | undefined }[] = [];
  readonly routes: string[] = [];
  readonly retainedFor: string[] = [];
  readonly waiting: { pump(nowMs: number): void }[] = [];
  /** What `publish` answers; one after the other, then `handedOn`. */
  receipts: Receipt[] = [];
  /** Messages the tenant's rate still lets through. */
  deliveries = Infinity;
  held = 0;
  heldMax = Infinity;
  /** Messages that a stored session has yet to make safe. */
  unsafe = 0;
  readFailures = 0;
  readonly groups = new Map<string, SharedOrigin>();

  publish(message: Message): Receipt {
    const { topic, payload, qos, publisher } = message;
    this.published.push({ topic: topic.text, payload: payload.toString(), qos, publisher });
    return this.receipts.shift() ?? handedOn;
  }
  filterError: SessionHost['filterError'] = () => undefined;
  /** Those who wait until all brokers match; undefined: nobody has to. */
  unmatched: (() => void)[] | undefined;
  whenMatched(then: () => void): void {
    if (this.unmatched) this.unmatched.push(then);
    else then();
  }

  subscribe(_session: Session, { filter, qos }: Subscription, isNew: boolean): void {
    if (isNew) this.subscriptions++;
    this.routes.push(`${isNew ? '+' : '='}${filter}:${qos}`);
  }
  unsubscribe(_session: Session, { filter }: Subscription): void {
    this.subscriptions--;
    this.routes.push(`-${filter}`);
  }
  readRetained(filter: string, { take }: RetainedRead): Promise<void> {
    this.retainedFor.push(filter);
    take([], undefined);
    return Promise.resolve();
  }
  whichMayBeRetained(_filters: readonly string[], answer: (matched: ReadonlySet<string>) => void): void {
    answer(new Set());
  }
  hold(): boolean {
    if (this.held >= this.heldMax) return false;
    this.held++;
    return true;
  }
  letGo(): void {
    this.held--;
  }
  owe(message: Message): void {
    this.unsafe++;
    message.owe();
  }
  pay(message: Message, reasonCode: number): void {
    this.unsafe--;
    message.pay(reasonCode);
  }
  timeMs = nowMs;
  nowMs(): number {
    return this.timeMs;
  }
  settlementOf(): Receipt {
    return handedOn;
  }
  sharedGroup(name: string): SharedOrigin | undefined {
    return this.groups.get(name);
  }
  readonly woken: string[] = [];
  wakeShared({ filter }: Subscription): void {
    this.woken.push(filter);
  }
  holdBackMs = 5000;
  /** Sessions that hold back acknowledgements. */
  readonly holding = new Set<Session>();
  holdsBack(session: Session): void {
    this.holding.add(session);
  }
  readFailed(reader: { pump(nowMs: number): void }): void {
    this.readFailures++;
    this.waiting.push(reader);
  }
  takeDelivery(): boolean {
    return this.deliveries-- > 0;
  }
  /** Bytes of messages that were counted as to be stored. */
  readonly stored: number[] = [];
  spendStored(bytes: number): void {
    this.stored.push(bytes);
  }
  pumpLater(session: Session): void {
    this.waiting.push(session);
  }
}

/** As the real connection does it: given up it is mute at once, and its session hears of it when the turn is over. */
export class FakeOutbox implements Outbox {
  waitingBytes = 0;
  closedBy: Reason | undefined;
  /** The end of the connection, as the session hears of it. */
  onEnd: () => void = () => undefined;
  readonly #version: ProtocolVersion;
  #bytes: Buffer[] = [];

  constructor(version: ProtocolVersion) {
    this.#version = version;
  }
  push(source: Buffer, start: number, end: number): void {
    if (!this.closedBy) this.#bytes.push(Buffer.from(source.subarray(start, end)));
  }
  giveUp(reason: Reason): void {
    if (this.closedBy) return;
    this.closedBy = reason;
    queueMicrotask(() => this.onEnd());
  }
  /** What has been sent since the last call. */
  take(): Packet[] {
    const bytes = Buffer.concat(this.#bytes);
    this.#bytes = [];
    return decodeAll(bytes, this.#version);
  }
  /** The same in short: `publish 1 a/b hello`, `puback 3 135` … */
  said(): string[] {
    return this.take().map((packet) => {
      const { cmd, messageId } = packet;
      if (packet.cmd === 'publish') {
        const flags = `${packet.qos}${packet.dup ? 'd' : ''}${packet.retain ? 'r' : ''}`;
        return `publish${messageId === undefined ? '' : ` ${messageId}`} q${flags} ${packet.topic} ${packet.payload.toString()}`;
      }
      const code = (packet as { reasonCode?: number }).reasonCode ?? 0;
      return `${cmd} ${messageId}${code === 0 ? '' : ` 0x${code.toString(16)}`}`;
    });
  }
}

export const everything: Access = { mayPublish: () => true, maySubscribe: () => true };

export interface Client {
  readonly session: Session;
  readonly host: FakeHost;
  readonly access: Access;
  channel: Channel;
  outbox: FakeOutbox;
  reconnect(options?: Partial<ChannelWish>): void;
  /** Bytes of these packets, through a real reader, as the connection would hand them over. */
  send(...packets: Packet[]): void;
}

interface ChannelWish {
  version: ProtocolVersion;
  receiveMaximum: number;
  inFlightMax: number;
  packetBytesMax: number;
  topicAliasMax: number;
  problemInformation: boolean;
}

export function connect(
  options: Partial<ChannelWish> & {
    host?: FakeHost;
    access?: Access;
    clientId?: string;
    keeping?: Keeping;
    restored?: Restored;
  } = {},
): Client {
  const { host = new FakeHost(), access = everything, clientId = 'c', keeping, restored, ...wish } = options;
  const session = new Session(clientId as ClientId, host, access, keeping);
  if (restored) session.restore(restored);
  else session.renew(1);
  const slab = new Slab();
  const client: Client = {
    session,
    host,
    access,
    channel: undefined as never,
    outbox: undefined as never,
    reconnect(again = {}) {
      if (session.channel) session.detach(host.timeMs);
      const version = again.version ?? wish.version ?? 5;
      client.outbox = new FakeOutbox(version);
      client.channel = new Channel(client.outbox, slab, {
        receiveMaximum: 65_535,
        inFlightMax: tuning.SHOAL_IN_FLIGHT_MAX.fallback,
        packetBytesMax: Infinity,
        topicAliasMax: 0,
        problemInformation: false,
        isBridge: false,
        ...wish,
        ...again,
        version,
      });
      const { channel } = client;
      client.outbox.onEnd = () => {
        if (session.channel === channel) session.detach(host.timeMs);
      };
      session.attach(channel, host.timeMs);
    },
    send(...packets) {
      const { channel } = client;
      const reader = new PacketReader(
        topics,
        {
          onPublish: (publish: InboundPublish) => session.receivePublish(publish, channel, host.timeMs),
          onAck: (type, packetId, code) => session.receiveAck(type, packetId, code, host.timeMs),
          onPacket: (packet) => {
            if (packet.type === 'subscribe') session.receiveSubscribe(packet, channel);
            else if (packet.type === 'unsubscribe') session.receiveUnsubscribe(packet, channel);
            else throw new Error(`no ${packet.type} here`);
          },
        },
        1 << 20,
      );
      reader.version = channel.version;
      for (const packet of packets) reader.read(encode(packet, channel.version), host.timeMs);
    },
  };
  client.reconnect();
  return client;
}

export function publish(topic: string, payload: string, qos: QoS, messageId?: number, more: object = {}): Packet {
  return { cmd: 'publish', topic, payload, qos, dup: false, retain: false, ...(messageId && { messageId }), ...more };
}

export const ack = (cmd: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', messageId: number, reasonCode = 0): Packet => ({
  cmd,
  messageId,
  ...(reasonCode && { reasonCode }),
});

export function message(
  topic: string,
  payload: string,
  qos: QoS,
  more: { retain?: boolean; expiresAtMs?: number } = {},
): Message {
  const name = { text: topic, bytes: Buffer.from(topic) };
  return Message.of({ topic: name, payload: Buffer.from(payload), qos, retain: false, ...more });
}

export const terms = (qos: QoS, more: object = {}) => ({ qos, retainAsPublished: false, subscriptionIds: [], ...more });
