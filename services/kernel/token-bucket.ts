/**
 * A rate limit: `perSecond` tokens come in a second, at most one second's worth is saved up. Infinity is no limit.
 * `take` may leave a debt, so that something larger than the bucket can pass once and is paid for afterwards.
 */
export class TokenBucket {
  #perSecond: number;
  #tokens: number;
  #filledAtMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
    this.#filledAtMs = nowMs;
  }

  get perSecond(): number {
    return this.#perSecond;
  }

  setRate(perSecond: number, nowMs: number): void {
    this.#refill(nowMs);
    // A debt of the old rate is forgiven: it may be one that the new rate would never have made.
    this.#tokens = Math.max(0, Math.min(this.#tokens, perSecond));
    if (perSecond === Infinity) this.#tokens = Infinity;
    this.#perSecond = perSecond;
  }

  /** Nothing is owed, as far as that is known without looking at the time. */
  get isPaid(): boolean {
    return this.#tokens >= 0;
  }

  /** Takes `count`, even when that leaves a debt. */
  spend(count: number, nowMs: number): void {
    if (nowMs !== this.#filledAtMs) this.#refill(nowMs);
    this.#tokens -= count;
  }

  /** There are as many, as far as that is known without looking at the time. */
  has(count: number): boolean {
    return this.#tokens >= count;
  }

  /** Of what has been taken; says nothing of the time, so that it may be called in the middle of a batch of an earlier moment. */
  giveBack(count: number): void {
    this.#tokens += count;
  }

  /** Takes one if there is one. */
  take(nowMs: number): boolean {
    if (nowMs !== this.#filledAtMs) this.#refill(nowMs);
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Milliseconds until the debt is paid; 0 without debt. */
  waitMs(nowMs: number): number {
    if (this.#tokens >= 0) return 0;
    this.#refill(nowMs);
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / this.#perSecond) * 1000);
  }

  /** Milliseconds until `take` finds one. */
  waitForOneMs(nowMs: number): number {
    const missing = 1 - this.available(nowMs);
    return missing <= 0 ? 0 : Math.ceil((missing / this.#perSecond) * 1000);
  }

  /** Below 0 it is a debt. */
  available(nowMs: number): number {
    if (nowMs !== this.#filledAtMs) this.#refill(nowMs);
    return this.#tokens;
  }

  /**
   * Time that went backwards adds nothing. By a little: who asks has looked at the clock before another who has asked already, and
   * what lies between must not be counted twice. By more: the wall clock has been corrected, and counts from there.
   */
  #refill(nowMs: number): void {
    const elapsedMs = nowMs - this.#filledAtMs;
    if (elapsedMs < 0 && elapsedMs > -correctedMs) return;
    this.#filledAtMs = nowMs;
    if (this.#perSecond === Infinity) this.#tokens = Infinity;
    else this.#tokens = Math.min(this.#perSecond, this.#tokens + (Math.max(0, elapsedMs) / 1000) * this.#perSecond);
  }
}

/** Longer than any step of the event loop is to take. */
const correctedMs = 1000;
