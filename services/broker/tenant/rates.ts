/**
 * How fast what a tenant's clients do may go, and who waits for which rate. Over a rate nothing is refused and nothing lost: a
 * connection is read later, a session is sent its messages later. See `rate-queue.ts` for who goes on when.
 *
 *      publishers    publishPerSecond, bytesPerSecond (in), what is to be stored, and messages that are not safe yet
 *      subscribers   subscribesPerSecond: topic filters
 *      packets       packetsPerSecond, and as many bytes of all that is no PUBLISH as there may be of PUBLISHes
 *      deliveries    deliverPerSecond, bytesPerSecond (out)
 *
 * Far from a limit some are counted together ([decision 38](../../../docs/decisions/0038-counted-together.md)).
 */
import type { Clock } from '../../kernel/kernel.js';
import type { Session } from '../session/session.js';
import type { TenantLimits } from './limits.js';
import { type RateKind, RateQueue } from './rate-queue.js';
import type { SafetyLedger } from './safety-ledger.js';
import type { TimeAccount } from './thread.js';
import type { TenantUnits } from './units.js';

/** A connection that waits for a rate. */
export interface Slowed {
  goOn(from: RateQueue<Slowed>): void;
}

/**
 * Of one connection between two counts, when nothing that is limited is nearly used up: PUBLISHes or their deliveries, and bytes but for
 * those of the last. So no more is handed over than if each were counted.
 */
export const uncounted = { messages: 64, bytes: 1 << 13 };

/**
 * Deliveries are taken from their rate so many at once, while twice as many are left: what is not used is saved up on top of
 * a second's worth, and no more than that goes out too early.
 */
const prepaid = { deliveries: 64, bytes: 1 << 14 };

const goOn = (slowed: Slowed, queue: RateQueue<Slowed>): void => slowed.goOn(queue);
const publishes: RateKind<Slowed, TenantRates> = {
  waitMs: (rates, nowMs) => rates.publishWaitMs(nowMs),
  available: ({ limits }, nowMs) => limits.publish.available(nowMs),
  goOn,
};
const subscribes: RateKind<Slowed, TenantLimits> = {
  waitMs: (limits, nowMs) => limits.subscribes.waitMs(nowMs),
  available: () => 1,
  goOn,
};
const packets: RateKind<Slowed, TenantRates> = {
  waitMs: (rates, nowMs) => rates.packetsWaitMs(nowMs),
  available: () => 1,
  goOn,
};
const deliveries: RateKind<Session, TenantLimits> = {
  waitMs: ({ bytesOut, deliver }, nowMs) => Math.max(bytesOut.waitMs(nowMs), deliver.waitForOneMs(nowMs)),
  available: ({ deliver }, nowMs) => deliver.available(nowMs),
  goOn: (session, _queue, nowMs) => pump(session, nowMs),
};

export class TenantRates {
  readonly publishers: RateQueue<Slowed>;
  readonly subscribers: RateQueue<Slowed>;
  readonly packets: RateQueue<Slowed>;
  readonly #deliveries: RateQueue<Session>;
  /** Taken from the delivery rate, as long as nobody waits for it, and not used. */
  #prepaidDeliveries = 0;
  #prepaidBytes = 0;
  /** Packets that were handed over while there was no lack of them, and are counted together with the next ones. */
  #packetsDue = 0;
  #otherBytesDue = 0;
  readonly limits: TenantLimits;
  readonly #ledger: SafetyLedger;
  readonly #units: TenantUnits;

  constructor(limits: TenantLimits, ledger: SafetyLedger, units: TenantUnits, time: TimeAccount, clock: Clock) {
    this.limits = limits;
    this.#ledger = ledger;
    this.#units = units;
    this.publishers = new RateQueue(publishes, this, time, clock);
    this.subscribers = new RateQueue(subscribes, limits, time, clock);
    this.packets = new RateQueue(packets, this, time, clock);
    this.#deliveries = new RateQueue(deliveries, limits, time, clock);
    ledger.whenInTime = () => this.publishers.wake();
  }

  /** Takes one message of `bytes` from the delivery rate; false when that is used up. */
  takeDelivery(bytes: number, nowMs: number): boolean {
    if (this.#prepaidDeliveries === 0 || bytes > this.#prepaidBytes) return this.#takeCounted(bytes, nowMs);
    this.#prepaidDeliveries--;
    this.#prepaidBytes -= bytes;
    return true;
  }

  #takeCounted(bytes: number, nowMs: number): boolean {
    const { deliver, bytesOut, outLimited } = this.limits;
    if (!outLimited) return true;
    this.#giveBack();
    if (this.#deliveries.isSpent || bytesOut.waitMs(nowMs) > 0 || !deliver.take(nowMs)) return false;
    bytesOut.spend(bytes, nowMs);
    if (this.#deliveries.isServing) this.#deliveries.took();
    else if (this.#deliveries.size === 0) this.#prepay(nowMs);
    return true;
  }

  #prepay(nowMs: number): void {
    const { deliver, bytesOut } = this.limits;
    const { deliveries, bytes } = prepaid;
    if (!deliver.has(2 * deliveries) || !bytesOut.has(2 * bytes)) return;
    deliver.spend(deliveries, nowMs);
    bytesOut.spend(bytes, nowMs);
    this.#prepaidDeliveries = deliveries;
    this.#prepaidBytes = bytes;
  }

  #giveBack(): void {
    this.limits.deliver.giveBack(this.#prepaidDeliveries);
    this.limits.bytesOut.giveBack(this.#prepaidBytes);
    this.#prepaidDeliveries = 0;
    this.#prepaidBytes = 0;
  }

  /**
   * Counts one message of `bytes` that is to be stored. It is acknowledged, so it is never refused: what is above the rate
   * is a debt that the tenant's publishers wait for.
   */
  spendStored(bytes: number, nowMs: number): void {
    this.limits.store.spend(1, nowMs);
    this.limits.bytesStored.spend(bytes, nowMs);
  }

  /** Calls `session.pump` when the delivery rate allows more. */
  pumpLater(session: Session): void {
    this.#giveBack(); // For whoever waits, in turn.
    this.#deliveries.join(session);
  }

  /** Publishers have to wait until what they have sent is safer. */
  get isBehind(): boolean {
    return this.#ledger.isBehind;
  }

  /**
   * Counts PUBLISHes. Whether their connection has to wait in `publishers` before the next one, whether that one is to be
   * counted before another is handed over, or whether nothing can be used up by the next `uncounted.messages`,
   * with `uncounted.bytes` and `uncounted.deliveries`, together.
   */
  spendPublish(count: number, packetBytes: number, nowMs: number): 'wait' | 'count' | 'go' {
    const { limits, publishers } = this;
    if (!limits.inLimited) return this.#ledger.isBehind || this.#units.waitMs() > 0 ? 'wait' : 'go';
    const { publish, bytesIn } = limits;
    publish.spend(count, nowMs);
    bytesIn.spend(packetBytes, nowMs);
    if (publish.has(uncounted.messages) && bytesIn.has(uncounted.bytes) && this.#isAtEase) return 'go';
    return !publishers.took(count) || this.publishWaitMs(nowMs) > 0 ? 'wait' : 'count';
  }

  /** Nobody waits, and nothing but the rates of messages can be a reason to. */
  get #isAtEase(): boolean {
    const { store, bytesStored } = this.limits;
    const { messages, bytes } = uncounted;
    return (
      this.publishers.size === 0 &&
      store.has(messages) &&
      bytesStored.has(messages * bytes) &&
      !this.#ledger.isBehind &&
      this.#units.isPaid
    );
  }

  publishWaitMs(nowMs: number): number {
    if (this.#ledger.isBehind) return Infinity; // It says when it is not.
    const { publish, bytesIn, store, bytesStored } = this.limits;
    return Math.max(
      publish.waitMs(nowMs),
      bytesIn.waitMs(nowMs),
      store.waitMs(nowMs),
      bytesStored.waitMs(nowMs),
      this.#units.waitMs(),
    );
  }

  /** Counts the filters of a SUBSCRIBE or UNSUBSCRIBE; whether its connection has to wait in `subscribers`. */
  spendSubscribe(filters: number, nowMs: number): boolean {
    const { subscribes } = this.limits;
    subscribes.spend(filters, nowMs);
    return subscribes.waitMs(nowMs) > 0;
  }

  /** Counts packets, and `bytes` of those that are no PUBLISH; whether their connection has to wait in `packets`. */
  spendPackets(count: number, bytes: number, nowMs: number): boolean {
    const { packets, otherBytesIn } = this.limits;
    this.#packetsDue += count;
    this.#otherBytesDue += bytes;
    const isLittle = this.#packetsDue < uncounted.messages && this.#otherBytesDue < uncounted.bytes;
    if (isLittle && packets.has(uncounted.messages) && otherBytesIn.has(uncounted.bytes)) return false;
    packets.spend(this.#packetsDue, nowMs);
    otherBytesIn.spend(this.#otherBytesDue, nowMs);
    this.#packetsDue = 0;
    this.#otherBytesDue = 0;
    return this.packetsWaitMs(nowMs) > 0;
  }

  packetsWaitMs(nowMs: number): number {
    return Math.max(this.limits.packets.waitMs(nowMs), this.limits.otherBytesIn.waitMs(nowMs));
  }
}

function pump(session: Session, nowMs: number): void {
  try {
    session.pump(nowMs);
  } catch (error) {
    session.failed(error);
  }
}
