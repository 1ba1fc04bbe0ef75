/**
 * Brokers that have died, until their sessions are adopted: told by the membership, worked off one after the other. What fails
 * holds nothing else up and is tried again, ever less often, as long as this broker runs; the item of a dead broker stays for
 * the next one until all is done. Adopting twice does no harm.
 */
import type { BrokerId, Clock, Log } from '../kernel/kernel.js';

const againMs = 1000;
const againMsMax = 60_000;

export interface AdoptionsOptions {
  /** What no client has asked for yet of the sessions that a broker has left: their wills, above all. */
  readonly adopt: (owner: BrokerId) => Promise<void>;
  /** All of that is here. */
  readonly adopted: (owner: BrokerId) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

export class Adoptions {
  readonly #options: AdoptionsOptions;
  /** Of the leases of brokers that died, when the first ended, in milliseconds since the epoch. */
  earliestEndMs: number | undefined;
  /** With how often each was added. */
  readonly #left = new Map<BrokerId, number>();
  #isServing = false;
  #isRunning = false;
  #wake = (): void => {};

  constructor(options: AdoptionsOptions) {
    this.#options = options;
  }

  /** Once more when more of that broker has come to this one. */
  add(owner: BrokerId, leaseEndedAtMs: number): void {
    this.earliestEndMs = Math.min(this.earliestEndMs ?? Infinity, leaseEndedAtMs);
    this.#left.set(owner, (this.#left.get(owner) ?? 0) + 1);
    this.#wake();
    void this.#run();
  }

  /** This broker lets clients in: they come first, and what they have not asked for can be adopted now. */
  begin(): void {
    this.#isServing = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    if (!this.#isServing || this.#isRunning) return;
    this.#isRunning = true;
    const { adopt, adopted, log } = this.#options;
    const failedBefore = new Set<BrokerId>();
    for (let waitMs = againMs; this.#left.size > 0; waitMs = Math.min(2 * waitMs, againMsMax)) {
      let hasFailed = false;
      for (const [owner, added] of [...this.#left])
        try {
          await adopt(owner);
          await adopted(owner);
          if (this.#left.get(owner) === added) this.#left.delete(owner);
        } catch (error) {
          hasFailed = true;
          if (!failedBefore.has(owner)) log.warn({ owner, error }, 'sessions could not be taken over, trying again');
          failedBefore.add(owner);
        }
      if (hasFailed) await this.#pause(waitMs);
    }
    this.#isRunning = false;
  }

  /** Or until another one has died, who is not to wait for those that fail. */
  #pause(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(waitMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}
