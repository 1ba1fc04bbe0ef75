/**
 * Passwords that were found right or wrong, by a keyed hash that dies with the process: to check a chosen password takes 27 ms
 * of a thread, and a fleet that reconnects would pay it for every device, as would we for each who tries the same wrong one
 * again. What was not used for longest goes first. A wrong one takes no place from a right one.
 */
import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import type { Clock } from '../../kernel/kernel.js';
import type { SecretHash } from '../../tenancy/tenancy.js';

/** More than a broker has connections, so that a fleet that comes back pays for its passwords once. 7 MB. */
const rightMax = 1 << 16;
const rightKeptMs = 86_400_000;
/** 2 MB. */
const wrongMax = 1 << 14;
const wrongKeptMs = 600_000;

export class RememberedPasswords {
  readonly #key = createSecretKey(randomBytes(32));
  readonly #right: Memory;
  readonly #wrong: Memory;

  constructor(clock: Clock, max = { right: rightMax, wrong: wrongMax }) {
    this.#right = new Memory(clock, max.right, rightKeptMs);
    this.#wrong = new Memory(clock, max.wrong, wrongKeptMs);
  }

  /** Under which it is remembered. Another hash, of a rotated or new credential, makes it another one. */
  markOf(password: Buffer, hash: SecretHash): string {
    return createHmac('sha256', this.#key).update(`${hash}\0`).update(password).digest('base64');
  }

  /** Undefined when it is not remembered. */
  recall(mark: string): boolean | undefined {
    if (this.#right.use(mark)) return true;
    return this.#wrong.use(mark) ? false : undefined;
  }

  remember(mark: string, isRight: boolean): void {
    (isRight ? this.#right : this.#wrong).add(mark);
  }

  get size(): number {
    return this.#right.size + this.#wrong.size;
  }

  sweep(): void {
    this.#right.sweep();
    this.#wrong.sweep();
  }
}

class Memory {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #keptMs: number;
  /** When each was used last; the one that was used last stands last. */
  readonly #usedAtMs = new Map<string, number>();

  constructor(clock: Clock, max: number, keptMs: number) {
    this.#clock = clock;
    this.#max = max;
    this.#keptMs = keptMs;
  }

  get size(): number {
    return this.#usedAtMs.size;
  }

  use(mark: string): boolean {
    if (!this.#usedAtMs.has(mark)) return false;
    this.add(mark);
    return true;
  }

  add(mark: string): void {
    this.#usedAtMs.delete(mark);
    this.#usedAtMs.set(mark, this.#clock.monotonicMs());
    if (this.#usedAtMs.size > this.#max) this.#usedAtMs.delete(this.#usedAtMs.keys().next().value!);
  }

  sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [mark, usedAtMs] of this.#usedAtMs) {
      if (usedAtMs + this.#keptMs > nowMs) return;
      this.#usedAtMs.delete(mark);
    }
  }
}
