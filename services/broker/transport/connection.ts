/**
 * One client's connection: bytes in to packets, packets to the session, answers and messages out. It knows the order
 * of things (CONNECT first, nothing after DISCONNECT), keeps the deadlines and the publisher's pace, and makes sure
 * that whatever goes wrong ends this connection only, with exactly one reason.
 *
 *      awaiting CONNECT -> admitting (reading stops) -> open -> closed
 *
 * How long it may take to come in, and to go, is watched by its place (`doorstep.ts`).
 */
import { caught, type Cancel, type Clock, type Counter, type Log, type Metrics } from '../../kernel/kernel.js';
import type { Admission, Admitted, Connection as AdmissionConnection, Ending } from '../admission/admission.js';
import type { Receipt } from '../message/message.js';
import { receiveMaximum } from '../session/session.js';
import {
  type AckType,
  type ConnectPacket,
  type ControlPacket,
  type DisconnectPacket,
  encodeConnack,
  encodeDisconnect,
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
import type { Flusher } from './flusher.js';
import type { ByteSink, ByteStream, Occupant, Place } from './ports.js';
import { SendQueue } from './send-queue.js';
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

interface ConnectTraits {
  readonly version: ProtocolVersion;
  /** As the client asked. */
  readonly sessionExpirySeconds: number;
  /** The largest packet the client takes. */
  readonly packetBytesMax: number;
}

/** A CONNECT with the largest will, password and properties that make sense; nothing larger is read from a stranger. */
const connectBytesMax = 128 * 1024;
/** After DISCONNECT the end waits for DynamoDB so long at most; then the connection is cut off. */
const goodbyeMsMax = 4000;
/** MQTT 3.x knows no Receive Maximum: with more than this unacknowledged, reading stops until some are. */
const unacknowledgedMax = 4 * receiveMaximum;
const unacknowledgedWaitMs = 20;
/** When the broker stops, what a client has sent is answered first, if that takes no longer: a store that is slow or away. */
export const answeringMsMax = 2000;
const answeringLookMs = 10;
/** Longest sleep of a publisher over its tenant's rate before it is looked at again. */
const pauseMsMax = 1000;

export class Connection implements PacketSink, ByteSink, AdmissionConnection, Guarded, Occupant {
  closed = false;
  slot: Guarded['slot'];
  readonly #world: ConnectionWorld;
  readonly #place: Place;
  readonly #stream: ByteStream;
  readonly #queue: SendQueue;
  readonly #reader: PacketReader;
  #admitted: Admitted | undefined;
  /** What of CONNECT counts later. Not the packet: its password and will would be held as long as the connection. */
  #connect: ConnectTraits | undefined;
  /** Until the client is in; for the log. */
  #userName: string | undefined;
  #heardAtMs: number;
  #keepAliveMs = 0;
  #nowMs = 0;
  /** Nothing more is sent, and it ends with this turn of the event loop. */
  #isGivenUp = false;
  #cancelPause: Cancel | undefined;
  #cancelGoodbye: Cancel | undefined;

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

  get waitingBytes(): number {
    return this.#queue.waitingBytes;
  }

  push(source: Buffer, start: number, end: number, isAck = false): void {
    if (!this.closed && !this.#isGivenUp) this.#queue.push(source, start, end, isAck);
  }

  // From the stream.

  onBytes(chunk: Buffer): void {
    if (this.closed) return;
    const { clock } = this.#world;
    if (this.#admitted) this.#heardAtMs = clock.monotonicMs();
    this.#nowMs = clock.nowMs();
    this.#guarded(() => this.#reader.read(chunk, this.#nowMs));
  }

  onDrain(): void {
    this.#queue.recount();
    if (this.#admitted) this.#guarded(() => this.#admitted!.session.pump(this.#world.clock.nowMs()));
  }

  onClosed(): void {
    this.#cancelGoodbye?.();
    this.#end(reasons.connectionLost, { publishWill: true });
    this.#world.onGone(this);
  }

  /** A peer's fault ends its connection; a fault of ours ends this connection, too, and nothing else. */
  #guarded(step: () => void): void {
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
    if (this.#admitted) this.close(fault.reason, fault.message);
    else this.#refuse(fault);
  }

  // From the reader.

  onPublish(publish: InboundPublish): void {
    const { tenant, session, channel } = this.#admitted!;
    session.receivePublish(publish, channel, this.#nowMs);
    const waitMs = tenant.spendPublish(publish.packetBytes, this.#nowMs);
    if (waitMs > 0) this.#pause(waitMs);
    else if (publish.packetId !== 0 && session.unacknowledgedPublishes > unacknowledgedMax)
      this.#pause(unacknowledgedWaitMs);
  }

  onAck(type: AckType, packetId: number, reasonCode: number): void {
    this.#admitted!.session.receiveAck(type, packetId, reasonCode, this.#nowMs);
  }

  onPacket(packet: ControlPacket): void {
    switch (packet.type) {
      case 'connect':
        return this.#admit(packet);
      case 'subscribe':
        return this.#admitted!.session.receiveSubscribe(packet, this.#admitted!.channel);
      case 'unsubscribe':
        return this.#admitted!.session.receiveUnsubscribe(packet, this.#admitted!.channel);
      case 'pingreq':
        return this.#admitted!.channel.send(pingresp, false); // [MQTT-3.12.4-1]
      case 'disconnect':
        return this.#onDisconnect(packet);
      case 'auth':
        throw protocolError('AUTH without an authentication method'); // [MQTT-4.12.0-6]
    }
  }

  #admit(packet: ConnectPacket): void {
    const { sessionExpiryInterval = 0, maximumPacketSize = Infinity } = packet.properties;
    this.#userName = packet.userName;
    this.#connect = {
      version: packet.version,
      sessionExpirySeconds: sessionExpiryInterval,
      packetBytesMax: maximumPacketSize,
    };
    this.#place.become('admission');
    this.#stopReading(); // What the client sends before CONNACK waits. [MQTT-3.1.4-5] is kept by the session.
    this.#world.admission.connect(packet, this).then(
      () => {
        if (!this.closed) this.#guarded(() => this.#resumeReading());
      },
      (error: unknown) => this.#guarded(() => throwIt(error)),
    );
  }

  admitted(admitted: Admitted): void {
    this.#admitted = admitted;
    if (!this.closed) this.#place.become('open');
    this.#userName = undefined;
    this.#reader.packetBytesMax = admitted.tenant.limits.packetBytesMax;
    this.#keepAliveMs = admitted.keepAliveSeconds * 1500; // [MQTT-3.1.2-22] One and a half times.
    this.#heardAtMs = this.#world.clock.monotonicMs();
    if (this.#keepAliveMs > 0) this.#world.wheel.watch(this, this.#heardAtMs, this.#keepAliveMs);
  }

  #onDisconnect(packet: DisconnectPacket): void {
    const wanted = packet.properties.sessionExpiryInterval;
    // Section 3.14.2.2.2: a session that was to end with the connection cannot be kept by its last word.
    if (wanted !== undefined && wanted > 0 && this.#connect!.sessionExpirySeconds === 0)
      throw protocolError('the session expiry interval was zero in CONNECT');
    const isNormal = packet.reasonCode === 0;
    this.#reader.stop();
    const known = this.#end(isNormal ? reasons.normalDisconnection : reasons.disconnectWithWill, {
      publishWill: !isNormal,
      ...(wanted !== undefined && { expirySeconds: wanted }),
    });
    this.#leaveWhenKnown(known);
  }

  /**
   * DISCONNECT has no answer but the end of the connection, which comes when the record says that the client has left: a
   * client that sees it in order knows that no crash of the broker publishes its will.
   */
  #leaveWhenKnown(known: Receipt | undefined): void {
    if (!known) return this.#leave();
    this.#queue.flush(this.#world.flusher.leave());
    this.#stream.resume(); // So that the client's own end is seen.
    this.#cancelGoodbye = this.#world.clock.after(goodbyeMsMax, () => this.#stream.destroy());
    known.whenSettled(() => {
      if (known.reasonCode! >= 0x80) return; // Cut off when its time is over.
      this.#cancelGoodbye!();
      this.#cancelGoodbye = undefined;
      this.#leave();
    });
  }

  // Pace.

  #stopReading(): void {
    this.#reader.stop();
    this.#stream.pause();
  }

  #resumeReading(): void {
    this.#stream.resume();
    this.#nowMs = this.#world.clock.nowMs();
    this.#reader.resume(this.#nowMs);
  }

  /** Nothing is lost and nobody is refused: the publisher feels back pressure until its tenant's rate allows more. */
  #pause(waitMs: number): void {
    this.#stopReading();
    this.#cancelPause ??= this.#world.clock.after(Math.min(waitMs, pauseMsMax), () => {
      this.#cancelPause = undefined;
      this.#heardAtMs = this.#world.clock.monotonicMs(); // We did not listen.
      if (this.closed) return;
      this.#guarded(() => {
        const againMs = this.#mustWaitMs();
        if (againMs > 0) this.#pause(againMs);
        else this.#resumeReading();
      });
    });
  }

  #mustWaitMs(): number {
    const { tenant, session } = this.#admitted!;
    const rateMs = tenant.publishWaitMs(this.#world.clock.nowMs());
    return session.unacknowledgedPublishes > unacknowledgedMax ? Math.max(rateMs, unacknowledgedWaitMs) : rateMs;
  }

  checkDeadline(nowMs: number): number {
    if (this.closed) return 0;
    const silentMs = nowMs - this.#heardAtMs;
    if (this.#keepAliveMs === 0) return 0;
    if (silentMs < this.#keepAliveMs || this.#cancelPause) return Math.max(this.#keepAliveMs - silentMs, 1);
    this.close(reasons.keepAliveTimeout);
    return 0;
  }

  // The end.

  /** Before CONNECT bytes do not buy time: a trickle is as late as silence. After it the delay is the broker's. */
  late(): void {
    if (this.#connect) this.#refuse(new PeerFault(reasons.serverUnavailable, 'admission takes too long, try again'));
    else {
      this.#end(reasons.connectTimeout, { publishWill: false });
      this.#stream.destroy();
    }
  }

  #refuse(fault: PeerFault): void {
    if (this.closed) return;
    const dialect: ProtocolVersion | undefined = fault.dialect ?? this.#connect?.version;
    const { reason } = fault;
    if (dialect === 5 && reason.code !== undefined) {
      const withWords = encodeConnack(5, false, reason.code, { reasonString: fault.message });
      // [MQTT-3.2.2-19] Not larger than the client takes.
      const fits = withWords.length <= (this.#connect?.packetBytesMax ?? Infinity);
      this.push(...whole(fits ? withWords : encodeConnack(5, false, reason.code)));
    } else if (dialect !== undefined && dialect !== 5 && reason.connack3 !== undefined)
      this.push(...whole(encodeConnack(dialect, false, reason.connack3)));
    this.#end(reason, { publishWill: false }, fault.message);
    this.#leave();
  }

  /** The broker stops. Nothing more is read; what has been read is answered, and then the client is told. */
  sendAway(): void {
    if (this.closed) return;
    this.#cancelPause?.();
    this.#stopReading();
    const { clock } = this.#world;
    const lateAtMs = clock.monotonicMs() + answeringMsMax;
    const look = (): void => {
      const isOwed = (this.#admitted?.session.owedAnswers ?? 0) > 0;
      if (isOwed && clock.monotonicMs() < lateAtMs)
        this.#cancelPause = clock.after(answeringLookMs, () => this.#guarded(look));
      else this.close(reasons.serverShuttingDown);
    };
    look();
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
    if (this.#admitted?.channel.version === 5 && reason.code !== undefined) {
      const withWords = encodeDisconnect(reason.code, { reasonString: detail });
      // [MQTT-3.14.2-3] Not larger than the client takes. [MQTT-3.1.2-29] allows the words in DISCONNECT.
      const fits = withWords.length <= this.#connect!.packetBytesMax;
      this.push(...whole(fits ? withWords : encodeDisconnect(reason.code)));
    }
    this.#end(reason, { publishWill: true, isSentAway: reason === reasons.serverShuttingDown }, detail);
    this.#leave();
  }

  /** The connection is over for everybody but the network. Runs once. */
  #end(reason: Reason, ending: Ending, detail: string = reason.words): Receipt | undefined {
    if (this.closed) return undefined;
    this.closed = true;
    this.#cancelPause?.();
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
    this.#end(reasons.connectionLost, { publishWill: false });
    this.#stream.destroy();
  }

  #leave(): void {
    this.#reader.stop();
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

function closedBy(metrics: Metrics, reason: Reason): Counter {
  return metrics.counter('shoal_connections_closed_total', 'Connections closed', {
    reason: reason.name,
    fault: reason.fault,
  });
}
