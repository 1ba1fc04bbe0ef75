/**
 * Messages that come from one client: aliases, access, exactly-once, and acknowledgements in order.
 *
 * An acknowledgement leaves when its receipt has settled and everything before it has left ([MQTT-4.6.0-2],
 * [MQTT-4.6.0-3]); usually that is at once. The identifiers of QoS 2 messages survive the connection with the
 * session, together with their receipts: a PUBLISH that is repeated after a reconnect waits for the same receipt and
 * is not published twice.
 *
 * How much a client may have under way is counted in two ways. Receive Maximum is of the connection (section 4.9): the
 * count begins anew with each. It is held against QoS 2 only, since clients that send all they have at once (MQTT.js does) would be
 * closed, send the same again, and so for ever; of QoS 1 the next ones wait, as before MQTT 5.0. What it does not release stays with the
 * session, from one connection to the next, and has a bound of its own.
 */
import type { ClientId } from '../../kernel/kernel.js';
import { contentHash, type Received } from '../inbox/inbox.js';
import { handedOn, type Receipt } from '../message/message.js';
import { type AckType, type InboundPublish, packetType, PeerFault, protocolError, reasons } from '../wire/wire.js';
import { type Channel, receiveMaximum, topicAliasMax } from './channel.js';
import type { Access, SessionHost } from './ports.js';

/**
 * QoS 2 messages of a session that may wait for PUBREL. Clients before MQTT 5.0 know no Receive Maximum, and some send all
 * they have before the first PUBREL; back pressure would hold that back, too. All of them
 * make the item that stores them 95 KB at most, of the 400 KB that DynamoDB takes.
 */
export const unreleasedMax = 8192;
/** How many topics a session remembers the access decision for. */
const accessCacheMax = 256;

interface WaitingAck {
  readonly type: AckType;
  readonly packetId: number;
  readonly receipt: Receipt;
}

/** The session, as far as QoS 2 messages of its client are concerned. */
export interface Exchanges {
  /** Stored packet identifiers, of a session that outlives its connections. Mostly there are none; `isNeeded`: from now on. */
  received(isNeeded?: boolean): Received | undefined;
}

export class Inbound {
  readonly #clientId: ClientId;
  readonly #host: SessionHost;
  /** While a client is connected. */
  #access: Access | undefined;
  #lastTopic: string | undefined;
  #lastAllowed = false;
  #allowed: Map<string, boolean> | undefined;
  /** QoS 2 messages received and not yet released. [MQTT-4.3.3-10] */
  #qos2: Map<number, Receipt> | undefined;
  #waiting: WaitingAck[] | undefined;
  /** QoS 2 messages, of this connection's Receive Maximum. */
  #underWay = 0;
  #channel: Channel | undefined;

  readonly #exchanges: Exchanges;

  constructor(clientId: ClientId, host: SessionHost, exchanges: Exchanges) {
    this.#exchanges = exchanges;
    this.#clientId = clientId;
    this.#host = host;
  }

  /** Received by an earlier owner of the session, acknowledged or not, and not released. */
  restore(packetIds: readonly number[]): void {
    this.#qos2 = new Map(packetIds.map((packetId) => [packetId, handedOn]));
  }

  setAccess(access: Access | undefined): void {
    this.#access = access;
    this.#lastTopic = undefined;
    this.#allowed = undefined;
  }

  attach(channel: Channel, access: Access): void {
    this.#begin(channel);
    this.setAccess(access);
  }

  detach(): void {
    this.#begin(undefined);
    this.setAccess(undefined);
  }

  #begin(channel: Channel | undefined): void {
    this.#channel = channel;
    this.#underWay = 0;
    this.#waiting = undefined; // A client that comes back sends again what was not acknowledged.
  }

  /** No QoS 2 message waits for its PUBREL. */
  get isIdle(): boolean {
    return !this.#qos2?.size;
  }

  /** Acknowledgements that the client waits for. */
  get owedAcks(): number {
    return this.#waiting?.length ?? 0;
  }

  onPublish(publish: InboundPublish, channel: Channel, nowMs: number): void {
    const { message } = publish;
    if (publish.topicAlias !== 0) this.#resolveAlias(publish, channel);
    else if (message.topic.bytes.length === 0) throw protocolError('empty topic without a topic alias');
    message.publisher = this.#clientId;
    const { meters } = this.#host;
    meters.messagesReceived++;
    meters.bytesReceived += message.payloadEnd - message.payloadStart;
    if (message.qos === 0) {
      if (this.#mayPublish(message.topic.text)) this.#host.publish(message, nowMs);
      else meters.refusedPublishes++;
    } else this.#acknowledged(publish, channel, nowMs);
  }

  #acknowledged(publish: InboundPublish, channel: Channel, nowMs: number): void {
    const { message, packetId } = publish;
    const type = message.qos === 1 ? packetType.puback : packetType.pubrec;
    const repeated = message.qos === 2 ? this.#qos2?.get(packetId) : undefined;
    if (repeated !== undefined) {
      // [MQTT-4.3.3-10] Known: not published again; and owed one PUBREC however often it comes before that can leave (G7).
      if (!this.#waiting?.some((ack) => ack.type === type && ack.packetId === packetId))
        this.#acknowledge(type, packetId, repeated);
      return;
    }
    if (message.qos === 2) this.#countExchange(channel);
    if (message.qos === 2 && (this.#qos2?.size ?? 0) >= unreleasedMax) return this.#refuseUnreleased(packetId, channel);
    if (!this.#mayPublish(message.topic.text)) {
      this.#host.meters.refusedPublishes++;
      // [MQTT-3.3.5-2] Before MQTT 5.0 the only other answer would be to close; the client would send it for ever.
      this.#acknowledge(type, packetId, refused);
      if (channel.version !== 5 && message.qos === 2) (this.#qos2 ??= new Map()).set(packetId, refused);
      return;
    }
    const received = message.qos === 2 ? this.#exchanges.received(true) : undefined;
    const origin = received?.begin(packetId, publish.dup, contentHash(message));
    message.origin = origin;
    const published = this.#host.publish(message, nowMs);
    const receipt = origin ? received!.settle(origin, published) : published;
    if (message.qos === 2) (this.#qos2 ??= new Map()).set(packetId, receipt);
    this.#acknowledge(type, packetId, receipt);
  }

  /** [MQTT-3.3.4-7] Only the client can end these, so to let it wait would end nothing. Before MQTT 5.0 it knows no limit. */
  #countExchange(channel: Channel): void {
    if (channel.version === 5 && this.#underWay >= receiveMaximum)
      throw new PeerFault(reasons.receiveMaximumExceeded, `Receive Maximum is ${receiveMaximum}`);
    this.#underWay++;
  }

  #refuseUnreleased(packetId: number, channel: Channel): void {
    if (channel.version !== 5)
      throw new PeerFault(reasons.quotaExceeded, `${unreleasedMax} QoS 2 messages are not yet released`);
    this.#host.meters.refusedPublishes++;
    this.#acknowledge(packetType.pubrec, packetId, tooManyUnreleased);
  }

  #acknowledge(type: AckType, packetId: number, receipt: Receipt): void {
    if (!this.#waiting?.length && receipt.reasonCode !== undefined) {
      this.#send(type, packetId, receipt.reasonCode);
      return;
    }
    (this.#waiting ??= []).push({ type, packetId, receipt });
    if (receipt.reasonCode === undefined) {
      const channel = this.#channel;
      receipt.whenSettled(() => {
        if (channel && this.#channel === channel) this.#sendSettled(channel);
      });
    }
  }

  /** Called by whoever settles a receipt, for others as well: nothing is thrown back at it. */
  #sendSettled(channel: Channel): void {
    const waiting = this.#waiting;
    let settled = 0;
    while (waiting?.[settled]?.receipt.reasonCode !== undefined) settled++;
    if (settled === 0) return;
    // Taken out before the first is sent: what sending leads to finds no acknowledgement that is on its way already.
    const answers = waiting!.splice(0, settled);
    try {
      for (const { type, packetId, receipt } of answers) this.#send(type, packetId, receipt.reasonCode!);
    } catch (error) {
      channel.failed(error);
    }
  }

  #send(type: AckType, packetId: number, reasonCode: number): void {
    const channel = this.#channel;
    if (channel === undefined) return;
    if (reasonCode === givenUp) return this.#notDone(packetId, channel);
    if (type === packetType.pubrec && reasonCode >= 0x80) this.#ended();
    // [MQTT-4.3.3-9] PUBREC with an error ends the exchange; before MQTT 5.0 there is no such PUBREC.
    if (type === packetType.pubrec && reasonCode >= 0x80 && channel.version === 5) {
      this.#qos2?.delete(packetId);
      this.#exchanges.received()?.remove(packetId);
    }
    channel.ack(type, packetId, reasonCode);
  }

  /**
   * Nobody knows whether the message is with all its subscribers: a broker that had some has died. It is not acknowledged, and the client
   * has to send it again; of itself it does so in its next connection.
   */
  #notDone(packetId: number, channel: Channel): void {
    this.#qos2?.delete(packetId);
    this.#exchanges.received()?.remove(packetId);
    channel.outbox.giveUp(reasons.serverUnavailable, 'another broker that a message has been sent to is gone');
  }

  onPubrel(packetId: number): void {
    const known = this.#qos2?.delete(packetId) === true;
    const channel = this.#channel;
    // Forgotten for good before the client may use the identifier again.
    const removed = this.#exchanges.received()?.remove(packetId) ?? handedOn;
    if (channel) channel.owedAnswers++;
    removed.whenSettled(() => {
      if (channel === undefined) return;
      channel.owedAnswers--;
      if (this.#channel !== channel) return;
      this.#ended();
      try {
        channel.ack(packetType.pubcomp, packetId, known ? 0x00 : 0x92); // [MQTT-4.3.3-11]
      } catch (error) {
        channel.failed(error);
      }
    });
  }

  /** One exchange less is under way; as with the client's own count, one of an earlier connection does not make it negative. */
  #ended(): void {
    this.#underWay = Math.max(0, this.#underWay - 1);
  }

  #resolveAlias(publish: InboundPublish, channel: Channel): void {
    const { message, topicAlias } = publish;
    // [MQTT-3.3.2-8] [MQTT-3.3.2-9]
    if (topicAlias < 1 || topicAlias > topicAliasMax)
      throw new PeerFault(reasons.topicAliasInvalid, `a topic alias must be from 1 to ${topicAliasMax}`);
    if (message.topic.bytes.length > 0) channel.setAlias(topicAlias, message.topic);
    else {
      const topic = channel.alias(topicAlias);
      if (topic === undefined) throw protocolError(`topic alias ${topicAlias} is not set on this connection`);
      message.topic = topic;
    }
  }

  #mayPublish(topic: string): boolean {
    if (topic === this.#lastTopic) return this.#lastAllowed;
    this.#allowed ??= new Map();
    let allowed = this.#allowed.get(topic);
    if (allowed === undefined) {
      allowed = this.#access!.mayPublish(topic);
      if (this.#allowed.size >= accessCacheMax) this.#allowed.clear();
      this.#allowed.set(topic, allowed);
    }
    this.#lastTopic = topic;
    this.#lastAllowed = allowed;
    return allowed;
  }
}

/** Of a receipt: 0x88 Server unavailable. */
const givenUp = 0x88;
/** 0x97 Quota exceeded. */
const tooManyUnreleased: Receipt = { reasonCode: 0x97, whenSettled: (listener) => listener() };
/** 0x87 Not authorized. */
const refused: Receipt = { reasonCode: 0x87, whenSettled: (listener) => listener() };
