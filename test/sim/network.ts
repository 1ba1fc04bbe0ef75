/**
 * Connections between simulated brokers, as TCP has them: in order, with a delay, and when the way is cut what is on it is lost.
 * Each side notices by itself, or not before the next connection comes.
 */
import type { Chance } from '../support/chance.js';
import type { Events } from './events.js';

export interface End {
  /** A new connection; an older one to the same broker has ended by that. */
  opened(to: End, send: (message: unknown) => void): void;
  received(from: End, message: unknown): void;
  cut(to: End): void;
  readonly isAlive: boolean;
}

class Way {
  connection = 0;
  isCut = false;
  /** For each direction when the last message arrives: order is kept. */
  readonly lastMs = new Map<End, number>();
}

export class Network {
  readonly #events: Events;
  readonly #chance: Chance;
  readonly #ways = new Map<End, Map<End, Way>>();
  messages = 0;
  /** Injected, for each message. */
  delayMs = 0;

  constructor(events: Events, chance: Chance) {
    this.#events = events;
    this.#chance = chance;
  }

  connect(a: End, b: End): void {
    const way = this.#way(a, b);
    if (way.isCut || !a.isAlive || !b.isAlive) return;
    const connection = ++way.connection;
    way.lastMs.clear();
    this.#events.in(this.#chance.next() * 3, () => {
      if (way.connection !== connection || !a.isAlive || !b.isAlive) return;
      a.opened(b, (message) => this.#send(way, connection, a, b, message));
      b.opened(a, (message) => this.#send(way, connection, b, a, message));
    });
  }

  #send(way: Way, connection: number, from: End, to: End, message: unknown): void {
    if (way.isCut || way.connection !== connection) return;
    this.messages++;
    const delayMs = 0.1 + this.delayMs + (this.#chance.happens(0.02) ? this.#chance.next() * 40 : this.#chance.next());
    const atMs = Math.max(this.#events.nowMs + delayMs, way.lastMs.get(to) ?? 0);
    way.lastMs.set(to, atMs);
    this.#events.at(atMs, () => {
      if (way.connection === connection && to.isAlive) to.received(from, message);
    });
  }

  /** Between the two nothing arrives any more, until it is healed. */
  cut(a: End, b: End): void {
    const way = this.#way(a, b);
    if (way.isCut) return;
    way.isCut = true;
    const connection = ++way.connection;
    for (const [end, other] of [
      [a, b],
      [b, a],
    ] as const)
      if (this.#chance.happens(0.7))
        this.#events.in(this.#chance.next() * 3000, () => {
          if (way.connection === connection && end.isAlive) end.cut(other);
        });
  }

  heal(a: End, b: End): void {
    const way = this.#way(a, b);
    if (!way.isCut) return;
    way.isCut = false;
    this.connect(a, b);
  }

  #way(a: End, b: End): Way {
    const ways = this.#ways.get(a) ?? new Map<End, Way>();
    this.#ways.set(a, ways);
    let way = ways.get(b);
    if (!way) {
      way = new Way();
      ways.set(b, way);
      const back = this.#ways.get(b) ?? new Map<End, Way>();
      this.#ways.set(b, back.set(a, way));
    }
    return way;
  }
}
