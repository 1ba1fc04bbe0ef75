/**
 * What happens to a client id happens one after the other: a CONNECT, an end, a record that is written. Two of them never
 * interleave; those of different client ids do not wait for each other.
 *
 * An end and a record are always written, however long that takes (the client's last will has to be safe first). Of CONNECTs
 * one is at work and one waits, the latest: whoever connects again has given the earlier one up.
 */
import { type ClientId, type Clock, SparseMap } from '../../kernel/kernel.js';
import { TurnedAway } from './turned-away.js';

/** A client that waits for CONNACK gives up soon after. */
export const turnWithinMs = 4000;

interface Waiting {
  begin(): Promise<void>;
  giveUp(error: TurnedAway): void;
}

/** Where a CONNECT waits among the other steps. Without one nothing happens when its turn comes. */
interface Slot {
  tail: Promise<void> | undefined;
  waiting: Waiting | undefined;
}

export class Turns {
  readonly #clock: Clock;
  /** The tail of what is going on for a client id. */
  readonly #tails = new SparseMap<ClientId, Promise<void>>();
  readonly #slots = new SparseMap<ClientId, Slot>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Client ids for which something is going on. */
  get size(): number {
    return this.#tails.size;
  }

  /** Runs `step` when all earlier steps for the client id are over, whatever has become of them. */
  take<T>(clientId: ClientId, step: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(clientId) ?? Promise.resolve();
    const result = before.then(step, step);
    const over = (): void => {
      if (this.#tails.get(clientId) === tail) this.#tails.delete(clientId);
    };
    const tail: Promise<void> = result.then(over, over);
    this.#tails.set(clientId, tail);
    return result;
  }

  /** The same for a CONNECT. Rejects with `TurnedAway` when a later one has come, or its turn does not come in time. */
  enter<T>(clientId: ClientId, step: () => Promise<T>): Promise<T> {
    this.displace(clientId);
    if (!this.#tails.has(clientId)) return this.take(clientId, step);
    return new Promise<T>((resolve, reject) => {
      const slot = this.#slotAtEnd(clientId);
      const giveUp = (error: TurnedAway): void => {
        cancel();
        slot.waiting = undefined;
        reject(error);
      };
      const cancel = this.#clock.after(turnWithinMs, () => giveUp(new TurnedAway('turn')));
      const begin = (): Promise<void> => {
        cancel();
        return step().then(resolve, reject);
      };
      slot.waiting = { begin, giveUp };
    });
  }

  /** Whether a CONNECT waits for its turn. */
  isAwaited(clientId: ClientId): boolean {
    return this.#slots.get(clientId)?.waiting !== undefined;
  }

  /** A later CONNECT of the client id has come: the one that waits is not wanted any more. */
  displace(clientId: ClientId): void {
    this.#slots.get(clientId)?.waiting?.giveUp(new TurnedAway('displaced'));
  }

  /** One that is empty serves again while nothing stands behind it: so they cannot pile up before a step that takes long. */
  #slotAtEnd(clientId: ClientId): Slot {
    const last = this.#slots.get(clientId);
    if (last && last.tail === this.#tails.get(clientId)) return last;
    const slot: Slot = { tail: undefined, waiting: undefined };
    this.#slots.set(clientId, slot);
    void this.take(clientId, async () => {
      if (this.#slots.get(clientId) === slot) this.#slots.delete(clientId);
      await slot.waiting?.begin();
    });
    slot.tail = this.#tails.get(clientId);
    return slot;
  }

  /** Resolves when all steps that have been asked for are over. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
