/**
 * What happens to a client id happens one after the other: a CONNECT, an end, a record that is written. Two of them never
 * interleave; those of different client ids do not wait for each other.
 */
import type { ClientId } from '../../kernel/kernel.js';

const ignore = (): void => {};

export class Turns {
  /** The tail of what is going on for a client id. */
  readonly #tails = new Map<ClientId, Promise<unknown>>();

  /** Client ids for which something is going on. */
  get size(): number {
    return this.#tails.size;
  }

  /** Runs `step` when all earlier steps for the client id are over, whatever has become of them. */
  take<T>(clientId: ClientId, step: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(clientId) ?? Promise.resolve();
    const result = before.then(step, step);
    const tail: Promise<void> = result.then(ignore, ignore).then(() => {
      if (this.#tails.get(clientId) === tail) this.#tails.delete(clientId);
    });
    this.#tails.set(clientId, tail);
    return result;
  }

  /** Resolves when all steps that have been asked for are over. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
