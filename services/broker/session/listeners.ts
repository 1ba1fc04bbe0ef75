import { caught } from '../../kernel/kernel.js';

/** Who wants to be called once; the same listener twice is one. Nothing is allocated while nobody does. */
export class Listeners {
  #waiting: Set<() => void> | undefined;

  get any(): boolean {
    return this.#waiting !== undefined;
  }

  add(listener: () => void): void {
    (this.#waiting ??= new Set()).add(listener);
  }

  forget(): void {
    this.#waiting = undefined;
  }

  call(): void {
    const listeners = this.#waiting;
    this.#waiting = undefined;
    if (listeners === undefined) return;
    for (const listener of listeners)
      try {
        listener();
      } catch (error) {
        caught('session', error);
      }
  }
}
