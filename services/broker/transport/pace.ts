/**
 * How fast a client that is in is read. Nothing is lost and nobody is refused for it: what has come is kept, little of it, and
 * the network keeps the rest. Three things slow a connection down, and each ends by itself:
 *
 *      yields       its tenant has no time left, or the slice is over: until it is the tenant's turn, and its own. Nothing of
 *                   it is handed over (`tenant/thread.ts`)
 *      stops for    the rate of packets, the tenant's or half of it for one connection: the same, until the rate allows more
 *      holds for    the rate of messages or of topic filters, or acknowledgements that are owed to the client: PUBLISHes wait,
 *                   and what waits in order behind them; what may overtake them does (`wire/held-bytes.ts`)
 *
 * | what happens                    | reads         | yields           | stops for           | holds for                         |
 * | ------------------------------- | ------------- | ---------------- | ------------------- | --------------------------------- |
 * | bytes come                      | handed over   | kept             | kept                | what overtakes is handed over     |
 * | the slice is over               | yields        | -                | -                   | yields as well                    |
 * | no time is left as bytes come   | yields        | -                | -                   | yields as well                    |
 * | more packets than the rate has  | stops as well | -                | -                   | stops as well                     |
 * | more messages than the rate has | holds         | -                | -                   | -                                 |
 * | its turn comes                  | -             | goes on          | -                   | what overtakes is handed over     |
 * | its rate allows more            | -             | -                | goes on             | goes on                           |
 * | too much is kept                | -             | the network waits | the network waits  | the network waits                 |
 * | the peer has left, DISCONNECT   | `farewell.ts` | after what is kept, as far as there is time for it: `farewell.ts`           |
 * | keep alive is over              | ends          | not while we do not listen                                                  |
 * | it ends otherwise, tenant gone  | -             | it leaves all queues at once; what is kept is counted as lost               |
 *
 * Two or three of them at once: it goes on when the last has ended. Time is looked at every `lookEvery` deliveries or so.
 */
import { type Cancel, type Clock, TokenBucket } from '../../kernel/kernel.js';
import { type Job, type RateQueue, type Slowed, type Tenant, uncounted } from '../tenant/tenant.js';
import type { Session } from '../session/session.js';
import type { InboundPublish, PacketReader } from '../wire/wire.js';

/** Bytes of a packet that take as long as a delivery when they are properties. */
const bytesOfUnit = 128;
/** Packets and deliveries between two looks at the clock, some 50 us; in bytes, since whole numbers are counted without memory. */
const lookEvery = Math.min(uncounted.messages * bytesOfUnit, uncounted.bytes);
/** What a topic filter takes, in deliveries. */
const filterWork = 4;
/** Of what a connection may send in a second: so much is counted together. */
const ownDueShare = 1 / 16;
/** MQTT 3.x knows no Receive Maximum: with more acknowledgements owed to a client its PUBLISHes wait. Ours to give, so they come. */
const owedAcksMax = 1024;
/** Waiting for less is not worth a timer. */
const ownWaitMsMin = 20;

/** The connection. */
export interface Paced {
  readonly closed: boolean;
  /** Runs `step`; what it throws ends the connection. */
  guarded(step: () => void): void;
  /** Bytes that had waited have been handed over, or may be from now on. */
  goesOn(): void;
}

export class Pace implements Job, Slowed {
  readonly #connection: Paced;
  readonly #reader: PacketReader;
  readonly #tenant: Tenant;
  readonly #session: Session;
  readonly #clock: Clock;
  #isYielding = false;
  #stopsFor: RateQueue<Slowed> | Cancel | undefined;
  #holdsFor: RateQueue<Slowed> | 'acknowledgements' | undefined;
  /** The last that is handed over, however long it takes. */
  #isLast = false;
  /** Since the clock was looked at. */
  #work = 0;
  /** With so much of it PUBLISHes are counted, and perhaps the clock is looked at: 0 where each is to be counted. */
  #lookAt = 0;
  /** PUBLISHes of this batch that are not counted yet, and their bytes. */
  #publishes = 0;
  #uncountedBytes = 0;
  /** Of all PUBLISHes of this batch. */
  #publishBytes = 0;
  /** The connection's own part of the packet rate; none before it has sent more than a few packets. */
  #packets: TokenBucket | undefined;
  /** Packets that are not counted there yet. */
  #packetsDue = 0;
  /** Of packets of this batch that are no PUBLISH: how many bytes `#work` knows. */
  #otherBytes = 0;
  /**
   * Not a number from the beginning: V8 would keep it as a bare double, and make a number of it on the heap for each call that
   * it is given to, two for every message.
   */
  #batchMs: number | undefined = undefined;

  constructor(connection: Paced, reader: PacketReader, tenant: Tenant, session: Session, clock: Clock) {
    this.#connection = connection;
    this.#reader = reader;
    this.#tenant = tenant;
    this.#session = session;
    this.#clock = clock;
  }

  /** Wall clock, of the batch that is being read. */
  get nowMs(): number {
    return this.#batchMs!;
  }

  /** Something is not read, or not handed over, for a reason of ours. */
  get isSlowed(): boolean {
    return this.#isYielding || this.#stopsFor !== undefined || this.#holdsFor !== undefined;
  }

  /** Bytes have come. */
  read(chunk: Buffer, monotonicMs: number): void {
    if (this.#isYielding || this.#stopsFor) return this.#reader.read(chunk, 0); // Kept, all of it.
    if (!this.#tenant.time.begin(monotonicMs)) {
      this.#yield();
      return this.#reader.read(chunk, 0);
    }
    this.#batchMs = this.#clock.nowMs();
    this.#connection.guarded(() => this.#reader.read(chunk, this.nowMs));
    this.#batchRead();
    this.#tenant.time.end();
  }

  /** The client is in: what it has sent meanwhile. */
  start(): void {
    const { time } = this.#tenant;
    if (!time.begin()) return this.#yield();
    this.#readOn();
    time.end();
  }

  /** It is its turn. */
  step(): boolean {
    this.#isYielding = false;
    this.#readOn();
    return false; // If there is more it has queued up again.
  }

  goOn(from: RateQueue<Slowed>): void {
    if (this.#stopsFor === from) this.#stopsFor = undefined;
    else this.#holdsFor = undefined;
    if (this.#owesTooMuch()) this.#holdsFor ??= 'acknowledgements';
    if (this.#isYielding) this.#tenant.time.leave(this);
    this.#isYielding = false;
    this.#readOn();
  }

  /** The connection ends, but what the rates allow now is handed over before. */
  finish(): void {
    this.leave();
    const { rates, time } = this.#tenant;
    const nowMs = this.#clock.nowMs();
    if (rates.publishWaitMs(nowMs) > 0 || rates.packetsWaitMs(nowMs) > 0 || this.#owesTooMuch()) return;
    this.#isLast = true;
    time.charge(() => this.#readOn());
  }

  /** Out of all queues. */
  leave(): void {
    this.#tenant.time.leave(this);
    this.#isYielding = false;
    if (typeof this.#stopsFor === 'function') this.#stopsFor();
    else this.#stopsFor?.leave(this);
    this.#stopsFor = undefined;
    if (typeof this.#holdsFor === 'object') this.#holdsFor.leave(this);
    this.#holdsFor = undefined;
  }

  // During a slice.

  published({ packetBytes, packetId, message }: InboundPublish): void {
    this.#publishes++;
    this.#uncountedBytes += packetBytes;
    this.#work += (1 + message.subscribers) * bytesOfUnit + packetBytes;
    if (this.#work >= this.#lookAt || this.#tenant.rates.isBehind) this.#look();
    if (packetId !== 0 && this.#owesTooMuch()) this.#hold('acknowledgements');
  }

  subscribed(filters: number): void {
    const { rates } = this.#tenant;
    if (rates.spendSubscribe(filters, this.nowMs)) this.#hold(rates.subscribers);
    this.worked(1 + filterWork * filters);
  }

  /** Packets that are no PUBLISH. */
  worked(units: number): void {
    const otherBytes = this.#reader.packetBytes - this.#publishBytes - this.#uncountedBytes;
    this.#work += units * bytesOfUnit + otherBytes - this.#otherBytes;
    this.#otherBytes = otherBytes;
    if (this.#work >= lookEvery) this.#look();
  }

  #look(): void {
    if (this.#publishes > 0) this.#countPublishes();
    if (this.#work < lookEvery) return;
    this.#work = 0;
    if (!this.#isYielding && !this.#isLast && this.#tenant.time.isOver) this.#yield();
  }

  #countPublishes(): void {
    const { rates } = this.#tenant;
    const bytes = this.#uncountedBytes;
    this.#publishBytes += bytes;
    const next = rates.spendPublish(this.#publishes, bytes, this.nowMs);
    this.#publishes = 0;
    this.#uncountedBytes = 0;
    this.#lookAt = next === 'go' ? lookEvery : 0;
    if (next === 'wait') this.#hold(rates.publishers);
  }

  /** An acknowledgement is about to leave. */
  acknowledged(): void {
    if (this.#holdsFor !== 'acknowledgements' || this.#owesTooMuch()) return;
    this.#holdsFor = undefined;
    this.#yield(); // In the middle of the work of others.
  }

  #owesTooMuch(): boolean {
    return this.#session.owedAcks > owedAcksMax;
  }

  #yield(): void {
    this.#reader.stop();
    this.#isYielding = true;
    this.#tenant.time.queue(this);
  }

  #hold(reason: RateQueue<Slowed> | 'acknowledgements'): void {
    if (this.#holdsFor || this.#connection.closed) return;
    this.#reader.hold();
    this.#holdsFor = reason;
    if (reason !== 'acknowledgements') reason.join(this);
  }

  #stop(reason: RateQueue<Slowed> | Cancel): void {
    this.#reader.stop();
    this.#stopsFor = reason;
    if (typeof reason !== 'function') reason.join(this);
  }

  #readOn(): void {
    if (this.#connection.closed || this.#stopsFor) return;
    this.#batchMs = this.#clock.nowMs();
    this.#connection.guarded(() => {
      if (this.#holdsFor) this.#reader.overtake(this.nowMs);
      else this.#reader.resume(this.nowMs);
    });
    this.#batchRead();
    this.#connection.guarded(() => this.#connection.goesOn());
  }

  /** Once for all packets that were handed over together. */
  #batchRead(): void {
    const { packets, packetBytes } = this.#reader;
    if (packets === 0) return;
    if (this.#publishes > 0) this.#countPublishes();
    this.#lookAt = 0; // Others of the tenant are read before the next batch.
    const publishBytes = this.#publishBytes;
    this.#publishBytes = 0;
    this.#otherBytes = 0;
    const { meters, limits, rates } = this.#tenant;
    meters.packetsReceived += packets;
    meters.packetBytesReceived += packetBytes;
    this.#reader.packets = 0;
    this.#reader.packetBytes = 0;
    if (limits.packetsLimited && !this.#connection.closed)
      this.#spendPackets(packets, packetBytes - publishBytes, limits.packetsPerConnection, rates);
  }

  #spendPackets(count: number, otherBytes: number, ownRate: number, rates: Tenant['rates']): void {
    const isOver = rates.spendPackets(count, otherBytes, this.nowMs);
    const ownMs = this.#spendOwnPackets(count, ownRate);
    if (this.#stopsFor) return;
    if (ownMs > 0) this.#stop(this.#clock.after(Math.max(ownMs, ownWaitMsMin), () => this.#ownRateAllows()));
    else if (isOver) this.#stop(rates.packets);
  }

  /** Returns for how many milliseconds the connection has used up its part. */
  #spendOwnPackets(count: number, ownRate: number): number {
    if (ownRate === Infinity) return 0;
    this.#packetsDue += count;
    if (this.#packetsDue < ownRate * ownDueShare) return 0;
    this.#packets ??= new TokenBucket(ownRate, this.nowMs);
    if (this.#packets.perSecond !== ownRate) this.#packets.setRate(ownRate, this.nowMs);
    this.#packets.spend(this.#packetsDue, this.nowMs);
    this.#packetsDue = 0;
    return this.#packets.waitMs(this.nowMs);
  }

  #ownRateAllows(): void {
    this.#stopsFor = undefined;
    if (!this.#isYielding) this.#yield();
  }
}
