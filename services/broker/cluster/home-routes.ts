/** What a tenant on this broker has of the cluster: its `RemoteRoutes`. */
import type { Message } from '../message/message.js';
import type { Home } from './ports.js';

/** The cluster, as its tenants see it. */
export interface World {
  publish(routes: HomeRoutes, message: Message): boolean;
  changed(routes: HomeRoutes, filter: string, isThere: boolean): void;
  whenMatched(routes: HomeRoutes, then: () => void): void;
  left(routes: HomeRoutes): void;
}

export class HomeRoutes {
  readonly home: Home;
  /** It has published since the last look at who is idle; of the cluster. */
  isRecent = false;
  readonly #world: World;

  constructor(home: Home, world: World) {
    this.home = home;
    this.#world = world;
  }

  /** To the brokers with subscribers, each of which owes it with QoS 1 and 2. Whether there are, or may be, any. */
  publish(message: Message): boolean {
    return this.#world.publish(this, message);
  }

  /** The first subscriber of the filter has come, or the last one has gone. */
  changed(filter: string, isThere: boolean): void {
    this.#world.changed(this, filter, isThere);
  }

  /** Calls `then` once every other broker matches what this one has subscribers for: at once, mostly. */
  whenMatched(then: () => void): void {
    this.#world.whenMatched(this, then);
  }

  /** The tenant is not on this broker any more. */
  leave(): void {
    this.#world.left(this);
  }
}
