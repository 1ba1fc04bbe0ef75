/**
 * How fast what a tenant's clients do may go, and who waits for which rate. Over a rate nothing is refused and nothing lost: a
 * connection is read later, a session is sent its messages later. See `rate-queue.ts` for who goes on when.
 *
 *      publishers    publishPerSecond, bytesPerSecond (in), what is to be stored, and messages that are not safe yet
 *      subscribers   subscribesPerSecond: topic filters
 *      packets       packetsPerSecond, and as many bytes of all that is no PUBLISH as there may be of PUBLISHes
 *      deliveries    deliverPerSecond, bytesPerSecond (out)
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
    const limits = this.limits;
    if (!limits.outLimited) return true;
    if (this.#deliveries.isSpent || limits.bytesOut.waitMs(nowMs) > 0 || !limits.deliver.take(nowMs)) return false;
    limits.bytesOut.spend(bytes, nowMs);
    this.#deliveries.takeOne();
    return true;
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
    this.#deliveries.join(session);
  }

  /** Counts a PUBLISH; whether its connection has to wait in `publishers` before the next one. */
  spendPublish(packetBytes: number, nowMs: number): boolean {
    const limits = this.limits;
    if (!limits.inLimited) return this.#ledger.isBehind || this.#units.waitMs() > 0;
    const { publish, bytesIn } = limits;
    publish.spend(1, nowMs);
    bytesIn.spend(packetBytes, nowMs);
    if (publish.isPaid && bytesIn.isPaid && this.#isAtEase) return false;
    return !this.publishers.takeOne() || this.publishWaitMs(nowMs) > 0;
  }

  /** Nobody waits, and nothing but the rates of messages can be a reason to. */
  get #isAtEase(): boolean {
    const { store, bytesStored } = this.limits;
    return (
      this.publishers.size === 0 && store.isPaid && bytesStored.isPaid && !this.#ledger.isBehind && this.#units.isPaid
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
    const limits = this.limits;
    limits.packets.spend(count, nowMs);
    limits.otherBytesIn.spend(bytes, nowMs);
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
