/**
 * What is kept for one other broker, in bytes by tenant, so that a broker that is slow, silent or cut off costs bounded memory, and
 * one tenant's messages for it leave room for those of the others:
 *
 *      a tenant may have as much kept as there is room left:    bytes of the tenant <= `keptBytesMax` - bytes of all
 *      QoS 0 above that      dropped, and counted
 *      QoS 1 and 2 above it  kept, for they may have been sent already; the tenant's publishers wait until it is less
 *
 * So one tenant alone gets half of the room, n that have much get an (n + 1)-th part each, and there is always some for the next. Beyond
 * it comes what publishers had under way when they were told to wait: some packets a connection.
 */
import { SparseSet, type TenantScope } from '../../kernel/kernel.js';
import type { Home } from './ports.js';

/** For one broker: a third of a second of a link at 1 Gbit/s, and of ten brokers that are out of reach at once 320 MiB. */
export const keptBytesMax = 1 << 25;

export class Share {
  readonly home: Home;
  bytes = 0;
  isHindering = false;

  constructor(home: Home) {
    this.home = home;
  }
}

export class Shares {
  bytes = 0;
  readonly #byTenant = new Map<TenantScope, Share>();
  readonly #hindering = new SparseSet<Share>();

  of(home: Home): Share {
    let share = this.#byTenant.get(home.scope);
    if (share?.home !== home) this.#byTenant.set(home.scope, (share = new Share(home)));
    return share;
  }

  hasRoom(share: Share): boolean {
    return share.bytes < keptBytesMax - this.bytes;
  }

  take(share: Share, bytes: number): void {
    share.bytes += bytes;
    this.bytes += bytes;
  }

  /** After a message that its publisher waits for. */
  look(share: Share): void {
    if (share.isHindering || this.hasRoom(share)) return;
    share.isHindering = true;
    this.#hindering.add(share);
    share.home.hinder();
  }

  give(share: Share, bytes: number): void {
    share.bytes -= bytes;
    this.bytes -= bytes;
    if (share.bytes === 0 && this.#byTenant.get(share.home.scope) === share) this.#byTenant.delete(share.home.scope);
  }

  /** Some has been given back: those for whom there is room again go on. */
  given(): void {
    for (const share of this.#hindering) if (this.hasRoom(share)) this.#go(share);
  }

  /** The broker has died. */
  end(): void {
    for (const share of this.#hindering) this.#go(share);
  }

  #go(share: Share): void {
    this.#hindering.delete(share);
    share.isHindering = false;
    share.home.unhinder();
  }
}
