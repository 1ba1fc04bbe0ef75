/** How fast a tenant's messages may come and go: its rates, and who waits for them. */
import type { Clock } from '../../kernel/kernel.js';
import type { Session } from '../session/session.js';
import type { TenantLimits } from './limits.js';
import type { SafetyLedger } from './safety-ledger.js';
import type { TenantUnits } from './units.js';

/** How soon a session that the tenant's delivery rate holds back is looked at again. */
const pumpLaterMs = 50;
/** How soon a publisher is looked at again while too much is not safe yet. */
const unsafeWaitMs = 20;

export class TenantRates {
  readonly #limits: TenantLimits;
  readonly #ledger: SafetyLedger;
  readonly #units: TenantUnits;
  readonly #clock: Clock;
  #waitingToPump = new Set<Session>();

  constructor(limits: TenantLimits, ledger: SafetyLedger, units: TenantUnits, clock: Clock) {
    this.#limits = limits;
    this.#ledger = ledger;
    this.#units = units;
    this.#clock = clock;
  }

  /** Takes one message of `bytes` from the delivery rate; false when that is used up. */
  takeDelivery(bytes: number, nowMs: number): boolean {
    const limits = this.#limits;
    if (!limits.outLimited) return true;
    if (limits.bytesOut.waitMs(nowMs) > 0 || !limits.deliver.take(nowMs)) return false;
    limits.bytesOut.spend(bytes, nowMs);
    return true;
  }

  /**
   * Counts one message of `bytes` that is to be stored. It is acknowledged, so it is never refused: what is above the rate
   * is a debt that the tenant's publishers wait for.
   */
  spendStored(bytes: number, nowMs: number): void {
    this.#limits.store.spend(1, nowMs);
    this.#limits.bytesStored.spend(bytes, nowMs);
  }

  /** Counts what a client has sent; returns for how many milliseconds nothing more is to be read from it. */
  spendPublish(packetBytes: number, nowMs: number): number {
    const limits = this.#limits;
    if (!limits.inLimited) return this.#ledger.isBehind ? unsafeWaitMs : this.#units.waitMs();
    limits.publish.spend(1, nowMs);
    limits.bytesIn.spend(packetBytes, nowMs);
    return this.publishWaitMs(nowMs);
  }

  publishWaitMs(nowMs: number): number {
    if (this.#ledger.isBehind) return unsafeWaitMs;
    const { publish, bytesIn, store, bytesStored } = this.#limits;
    return Math.max(
      publish.waitMs(nowMs),
      bytesIn.waitMs(nowMs),
      store.waitMs(nowMs),
      bytesStored.waitMs(nowMs),
      this.#units.waitMs(),
    );
  }

  /** Calls `session.pump` when the delivery rate allows more. */
  pumpLater(session: Session): void {
    this.#waitingToPump.add(session);
    if (this.#waitingToPump.size > 1) return;
    this.#clock.after(pumpLaterMs, () => {
      const sessions = this.#waitingToPump;
      this.#waitingToPump = new Set();
      for (const waiting of sessions)
        try {
          waiting.pump(this.#clock.nowMs());
        } catch (error) {
          waiting.failed(error);
        }
    });
  }
}
