/**
 * One client's connection: bytes in to packets, packets to the session, answers and messages out. It knows the order
 * of things (CONNECT first, nothing after DISCONNECT), keeps the deadlines, and makes sure
 * that whatever goes wrong ends this connection only, with exactly one reason.
 *
 *      awaiting CONNECT -> admitting (reading stops) -> open -> closed
 *
 * How long it may take to come in, and to go, is watched by its place (`doorstep.ts`).
 *
 * Back pressure: while CONNECT is under way nothing is handed over, for all of it depends on the answer. Then `pace.ts` says
 * how fast the client is read.
 *
 * A peer that has ended its side, or has gone, is not the end: what it has sent before is handled (`farewell.ts`),
 * and a DISCONNECT among it counts. Not before CONNECT is complete, and not if nothing has come behind it.
 */
import { type Cancel, caught, type Clock, type Counter, type Log, type Metrics } from '../../kernel/kernel.js';
import type { Admission } from '../admission/admission.js';
import type { Ending } from '../residence/residence.js';
import type { Admitted, Connection as AdmissionConnection } from '../tenant/tenant.js';
import type { Receipt } from '../message/message.js';
import { type Flusher, SendQueue } from '../outbox/outbox.js';
import {
  type AckType,
  type ConnectPacket,
  type ControlPacket,
  type DisconnectPacket,
  type InboundPublish,
  PacketReader,
  type PacketSink,
  PeerFault,
  pingresp,
  protocolError,
  type ProtocolVersion,
  type Reason,
  reasons,
  type TopicTable,
} from '../wire/wire.js';
import { type Departing, Farewell } from './farewell.js';
import { disconnectOf, refusalOf } from './last-packet.js';
import { Pace, type Paced } from './pace.js';
import type { ByteSink, ByteStream, Occupant, Place } from './ports.js';
import type { DeadlineWheel, Guarded } from './wheel.js';

/** What all connections of a broker share. */
export interface ConnectionWorld {
  readonly admission: Admission;
  readonly topics: TopicTable;
  readonly flusher: Flusher;
  readonly wheel: DeadlineWheel;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Called once when the connection has gone. */
  readonly onGone: (connection: Connection) => void;
}

/** A CONNECT with the largest will, password and properties that make sense; nothing larger is read from a stranger. */
const connectBytesMax = 128 * 1024;
/** No packet of MQTT is larger. A whole number, unlike Infinity, takes no memory of its own. */
const wholePacketBytesMax = 268_435_460;
/** After DISCONNECT the end waits for DynamoDB so long at most; then the connection is cut off. */
const goodbyeMsMax = 4000;
/** With more than this held the network is not read: bounds what a slowed client costs, with one read of the socket on top. */
const heldBytesHigh = 1 << 14;
/** When the broker stops, what a client has sent is answered first, if that takes no longer: a store that is slow or away. */
export const answeringMsMax = 2000;
/** For what a peer that has gone has sent: a minute of its tenant's rates. What is held is bounded by what two reads take. */
const handlingMsMax = 60_000;
const peerEnded = { handlingMs: handlingMsMax, answeringMs: answeringMsMax };
const goodbyeSaid = { handlingMs: 0, answeringMs: answeringMsMax };
const sentAway = { handlingMs: answeringMsMax, answeringMs: answeringMsMax };

export class Connection implements PacketSink, ByteSink, AdmissionConnection, Guarded, Occupant, Departing, Paced {
  closed = false;
  slot: Guarded['slot'];
  readonly #world: ConnectionWorld;
  readonly #place: Place;
  readonly #stream: ByteStream;
  readonly #queue: SendQueue;
  readonly #reader: PacketReader;
  #admitted: Admitted | undefined;
  /**
   * The dialect, once CONNECT has come. Of the packet only this and what follows count later: with it its password and will
   * would be held as long as the connection.
   */
  #version: ProtocolVersion | undefined;
  /** The session expiry interval of CONNECT was zero, or was not there. */
  #isForOnce = true;
  /** The largest packet the client takes, as far as there are such. */
  #packetBytesMax = wholePacketBytesMax;
  /** Until the client is in; for the log. */
  #userName: string | undefined;
  #heardAtMs: number;
  #keepAliveMs = 0;
  /** Nothing more is sent, and it ends with this turn of the event loop. */
  #isGivenUp = false;
  /** From the moment in which the client is in. */
  #pace: Pace | undefined;
  #cancelGoodbye: Cancel | undefined;
  /** Nothing more will come. */
  #farewell: Farewell | undefined;
  /** The client's DISCONNECT, which is how the connection ends whatever comes after it. */
  #goodbye: (() => void) | undefined;
  #isSentAway = false;
  /** The stream has closed. */
  #isGone = false;

  constructor(world: ConnectionWorld, place: Place, makeStream: (sink: ByteSink) => ByteStream) {
    this.#world = world;
    this.#place = place;
    place.occupant = this;
    this.#stream = makeStream(this);
    this.#queue = new SendQueue(this.#stream, world.flusher);
    this.#reader = new PacketReader(world.topics, this, connectBytesMax);
    this.#heardAtMs = world.clock.monotonicMs();
  }

  get remoteAddress(): string {
    return this.#stream.remoteAddress;
  }

  get isTurnedAway(): boolean {
    return this.#place.isTurnedAway ?? false;
  }

  get waitingBytes(): number {
    return this.#queue.waitingBytes;
  }

  push(source: Buffer, start: number, end: number, isAck = false): void {
    if (this.closed || this.#isGivenUp) return;
    this.#queue.push(source, start, end, isAck);
    if (isAck) this.#pace?.acknowledged();
  }

  // From the stream.

  onBytes(chunk: Buffer): void {
    if (this.closed) return;
    const { clock } = this.#world;
    if (this.#pace) {
      this.#heardAtMs = clock.monotonicMs();
      this.#pace.read(chunk, this.#heardAtMs);
    } else this.guarded(() => this.#reader.read(chunk, clock.nowMs()));
    this.#brake();
  }

  onDrain(): void {
    this.#queue.recount();
    if (this.#admitted) this.guarded(() => this.#admitted!.session.pump(this.#world.clock.nowMs()));
  }

  /** The peer says nothing more; it may still listen. */
  onEnd(): void {
    if (this.closed) return;
    const lost = (): void => {
      this.#end(reasons.connectionLost, { publishWill: true });
      this.#leave();
    };
    this.guarded(() => {
      if (this.#goodbye) this.#farewell!.look();
      // A client that gave up while it waited for CONNACK is not let in for nothing.
      else if (!this.#admitted && !this.isHolding) lost();
      else this.#sayFarewell().begin(peerEnded, lost);
    });
  }

  onFault(detail: string): void {
    this.guarded(() => {
      throw new PeerFault(reasons.webSocketFault, detail);
    });
  }

  onClosed(): void {
    this.#isGone = true;
    this.#queue.end();
    this.#cancelGoodbye?.();
    if (this.closed) this.#world.onGone(this);
    else this.onEnd();
  }

  #sayFarewell(): Farewell {
    return (this.#farewell ??= new Farewell(this, this.#world.clock, (step) => this.guarded(step)));
  }

  get isHolding(): boolean {
    return this.#reader.isHolding && this.#version !== undefined;
  }

  get owesAnswers(): boolean {
    return !this.#isGone && this.#admitted !== undefined && this.#admitted.session.owedAnswers > 0;
  }

  handlesNoMore(): void {
    this.#forgetHeld('too-late');
  }

  /** What has come and waits is lost, and counted, but for a DISCONNECT. */
  #forgetHeld(reason: string): void {
    if (!this.#admitted) return this.#reader.end(); // [MQTT-3.1.4-6] Nothing behind a CONNECT that is refused is looked at.
    let lost = 0;
    this.guarded(() => (lost = this.#reader.giveUp()));
    if (lost > 0) lostBy(this.#world.metrics, reason).add(lost);
  }

  /** A peer's fault ends its connection; a fault of ours ends this connection, too, and nothing else. */
  guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (error instanceof PeerFault) this.#fail(error);
      else {
        caught('connection', error, { address: this.remoteAddress });
        this.close(reasons.unspecifiedError);
      }
    }
  }

  #fail(fault: PeerFault): void {
    if (this.closed) return;
    this.#reader.end(); // What is behind it is not taken for packets any more.
    if (this.#admitted) this.close(fault.reason, fault.message);
    else this.#refuse(fault);
  }

  // From the reader.

  onPublish(publish: InboundPublish): void {
    const { session, channel } = this.#admitted!;
    session.receivePublish(publish, channel, this.#pace!.nowMs);
    this.#pace!.published(publish);
  }

  onAck(type: AckType, packetId: number, reasonCode: number): void {
    this.#admitted!.session.receiveAck(type, packetId, reasonCode, this.#pace!.nowMs);
    this.#pace!.worked(1);
  }

  onPacket(packet: ControlPacket): void {
    switch (packet.type) {
      case 'connect':
        return this.#admit(packet);
      case 'subscribe':
        this.#admitted!.session.receiveSubscribe(packet, this.#admitted!.channel);
        return this.#pace!.subscribed(packet.subscriptions.length);
      case 'unsubscribe':
        this.#admitted!.session.receiveUnsubscribe(packet, this.#admitted!.channel);
        return this.#pace!.subscribed(packet.filters.length);
      case 'pingreq':
        this.#admitted!.channel.send(pingresp, false); // [MQTT-3.12.4-1]
        return this.#pace!.worked(1);
      case 'disconnect':
        return this.#onDisconnect(packet);
      case 'auth':
        throw protocolError('AUTH without an authentication method'); // [MQTT-4.12.0-6]
    }
  }

  #admit(packet: ConnectPacket): void {
    const { sessionExpiryInterval = 0, maximumPacketSize = Infinity } = packet.properties;
    this.#userName = packet.userName?.split('?', 1)[0]; // Behind it there may be secrets of an authorizer.
    this.#version = packet.version;
    this.#isForOnce = sessionExpiryInterval === 0;
    this.#packetBytesMax = Math.min(maximumPacketSize, wholePacketBytesMax);
    this.#place.become('admission');
    // What the client sends before CONNACK waits. [MQTT-3.1.4-5] is kept by the session.
    this.#reader.stop();
    this.#stream.pause();
    this.#world.admission.connect(packet, this).then(
      () => {
        if (!this.closed) this.#pace!.start();
      },
      (error: unknown) => this.guarded(() => throwIt(error)),
    );
  }

  admitted(admitted: Admitted): void {
    this.#admitted = admitted;
    this.#queue.meters = admitted.tenant.meters;
    this.#queue.memory = admitted.tenant.memory;
    this.#queue.payer = admitted.tenant.time;
    this.#pace = new Pace(this, this.#reader, admitted.tenant, admitted.session, this.#world.clock);
    if (!this.closed) {
      this.#place.become('open');
      this.#place.mayBeSilentFor(admitted.keepAliveSeconds * 1000);
    }
    this.#userName = undefined;
    this.#reader.packetBytesMax = admitted.tenant.limits.packetBytesMax;
    this.#keepAliveMs = admitted.keepAliveSeconds * 1500; // [MQTT-3.1.2-22] One and a half times.
    this.#heardAtMs = this.#world.clock.monotonicMs();
    if (this.#keepAliveMs > 0) this.#world.wheel.watch(this, this.#heardAtMs, this.#keepAliveMs);
  }

  #onDisconnect(packet: DisconnectPacket): void {
    const wanted = packet.properties.sessionExpiryInterval;
    // Section 3.14.2.2.2: a session that was to end with the connection cannot be kept by its last word.
    if (wanted !== undefined && wanted > 0 && this.#isForOnce)
      throw protocolError('the session expiry interval was zero in CONNECT');
    const isNormal = packet.reasonCode === 0;
    this.#reader.end(); // [MQTT-3.14.4-1] Nothing comes after it.
    this.#goodbye = (): void => {
      const known = this.#end(isNormal ? reasons.normalDisconnection : reasons.disconnectWithWill, {
        publishWill: !isNormal,
        ...(wanted !== undefined && { expirySeconds: wanted }),
      });
      this.#leaveWhenKnown(known);
    };
    this.#sayFarewell().begin(goodbyeSaid, this.#goodbye);
  }

  /**
   * DISCONNECT has no answer but the end of the connection, which comes when the record says that the client has left: a
   * client that sees it in order knows that no crash of the broker publishes its will.
   */
  #leaveWhenKnown(known: Receipt | undefined): void {
    if (!known || this.#isGone) return this.#leave();
    this.#queue.flush(this.#world.flusher.leave());
    this.#stream.resume(); // So that the client's own end is seen.
    this.#cancelGoodbye = this.#world.clock.after(goodbyeMsMax, () => this.#stream.destroy());
    known.whenSettled(() => {
      if (this.#isGone || known.reasonCode! >= 0x80) return; // Cut off when its time is over.
      this.#cancelGoodbye!();
      this.#cancelGoodbye = undefined;
      this.#leave();
    });
  }

  // Pace.

  goesOn(): void {
    if (!this.#pace!.isSlowed) {
      this.#heardAtMs = this.#world.clock.monotonicMs(); // We did not listen.
      if (!this.#isSentAway) this.#stream.resume();
    }
    this.#brake();
    this.#farewell?.look();
  }

  #brake(): void {
    if (this.#reader.isHolding && this.#reader.heldBytes > heldBytesHigh) this.#stream.pause();
  }

  checkDeadline(nowMs: number): number {
    if (this.closed) return 0;
    const silentMs = nowMs - this.#heardAtMs;
    if (this.#keepAliveMs === 0) return 0;
    // Nor can it be while it is not read, or has said that it sends no more.
    if (silentMs < this.#keepAliveMs || this.#pace?.isSlowed || this.#farewell)
      return Math.max(this.#keepAliveMs - silentMs, 1);
    this.close(reasons.keepAliveTimeout);
    return 0;
  }

  // The end.

  /** Before CONNECT bytes do not buy time: a trickle is as late as silence. After it the delay is the broker's. */
  late(): void {
    if (this.#version !== undefined)
      this.#refuse(new PeerFault(reasons.serverUnavailable, 'admission took too long; try again later'));
    else {
      this.#end(reasons.connectTimeout, { publishWill: false });
      this.#stream.destroy();
    }
  }

  #refuse(fault: PeerFault): void {
    if (this.closed) return;
    const refusal = refusalOf(fault, fault.dialect ?? this.#version, this.#packetBytesMax);
    if (refusal) this.push(...whole(refusal));
    this.#end(fault.reason, { publishWill: false }, fault.message);
    this.#leave();
  }

  /** The broker stops. The network is read no more; what has come is handled and answered, and then the client is told. */
  sendAway(): void {
    if (this.closed) return;
    if (!this.#admitted) return this.close(reasons.serverShuttingDown);
    this.#isSentAway = true;
    this.#stream.pause();
    if (this.#farewell) this.#farewell.hurry(sentAway);
    else this.#sayFarewell().begin(sentAway, () => this.close(reasons.serverShuttingDown));
  }

  giveUp(reason: Reason, detail?: string): void {
    if (this.closed || this.#isGivenUp) return;
    if (!this.#admitted) return this.close(reason, detail); // Its session does not know it yet.
    this.#isGivenUp = true;
    this.#reader.stop();
    queueMicrotask(() => this.close(reason, detail));
  }

  /** At once: the session has heard of it when this returns. For those who are not in the middle of its work. */
  close(reason: Reason, detail: string = reason.words): void {
    if (this.closed) return;
    this.#isGivenUp = false; // The last word may leave.
    // The new connection of the client comes after what this one has sent, as far as that may be handled now.
    if (reason === reasons.sessionTakenOver && this.isHolding) this.#pace?.finish();
    this.#forgetHeld(reason.name);
    if (this.#goodbye) return this.#goodbye(); // [MQTT-3.14.4-3]
    if (this.closed) return;
    if (this.#admitted?.channel.version === 5 && reason.code !== undefined)
      this.push(...whole(disconnectOf(reason.code, detail, this.#packetBytesMax)));
    this.#end(reason, { publishWill: true, isSentAway: reason === reasons.serverShuttingDown }, detail);
    this.#leave();
  }

  /** The connection is over for everybody but the network. Runs once. */
  #end(reason: Reason, ending: Ending, detail: string = reason.words): Receipt | undefined {
    if (this.closed) return undefined;
    this.closed = true;
    this.#pace?.leave();
    this.#farewell?.stop();
    this.#world.wheel.forget(this);
    closedBy(this.#world.metrics, reason).add();
    this.#tell(reason, detail);
    if (!this.#admitted) return undefined;
    try {
      return this.#world.admission.disconnected(this.#admitted, ending);
    } catch (error) {
      caught('connection-end', error, { address: this.remoteAddress });
      return undefined;
    }
  }

  /** What an operator asks first when a client complains; a goodbye, ours or the client's, is told at level debug only. */
  #tell(reason: Reason, detail: string): void {
    const { log } = this.#world;
    const fields = {
      reason: reason.name,
      detail,
      address: this.remoteAddress,
      ...(this.#stream.endpointId !== undefined && { endpoint: this.#stream.endpointId }),
      ...(this.#userName !== undefined && { userName: this.#userName }),
      ...(this.#admitted && { tenant: this.#admitted.tenant.id, clientId: this.#admitted.session.clientId }),
    };
    if (reason.fault === 'nobody' || reason === reasons.serverShuttingDown) log.debug(fields, 'connection closed');
    else log.info(fields, this.#admitted ? 'connection closed' : 'connection refused');
  }

  /** Without a word and at once. */
  destroy(): void {
    if (!this.closed) this.#forgetHeld(reasons.serverShuttingDown.name);
    this.#end(reasons.connectionLost, { publishWill: false });
    if (this.#isGone) this.#world.onGone(this);
    else this.#stream.destroy();
  }

  #leave(): void {
    this.#reader.end();
    if (this.#isGone) return this.#world.onGone(this);
    this.#queue.flush(this.#world.flusher.leave());
    this.#stream.end();
    this.#stream.resume(); // So that the client's own end is seen.
    this.#place.become('closing'); // For a moment, whatever the client does.
  }
}

function throwIt(error: unknown): never {
  throw error;
}

const whole = (packet: Buffer): [Buffer, number, number] => [packet, 0, packet.length];

/** With each end: to look one up in `Metrics` makes text of its labels. */
const closedCounters = new WeakMap<Metrics, Map<Reason, Counter>>();

function closedBy(metrics: Metrics, reason: Reason): Counter {
  let counters = closedCounters.get(metrics);
  if (!counters) closedCounters.set(metrics, (counters = new Map()));
  let counter = counters.get(reason);
  if (!counter) {
    const labels = { reason: reason.name, fault: reason.fault };
    counter = metrics.counter('shoal_connections_closed_total', 'Connections closed', labels);
    counters.set(reason, counter);
  }
  return counter;
}

function lostBy(metrics: Metrics, reason: string): Counter {
  const help = 'PUBLISH packets that had come and were not handled, because their connection ended otherwise';
  return metrics.counter('shoal_publishes_lost_total', help, { reason });
}
