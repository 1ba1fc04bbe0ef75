/**
 * Sessions that their tenant has removed while another broker had them. That one obeys, and hears of it within two seconds; but the
 * session may come here before that. So who has read the entry remembers it for longer than brokers hear of it after each other,
 * and takes over no session that was meant.
 */
import { type ClientId, type Clock, SparseMap, type TenantScope } from '../../kernel/kernel.js';

const rememberedMs = 10_000;
/** 2 MB. Of more, the first are forgotten: what a tenant removes while it moves may then be left, and can be removed again. */
const rememberedMax = 10_000;

interface Kick {
  /** Sessions that began after this epoch are not meant; undefined: those whose clients connected after `atMs`. */
  readonly born: number | undefined;
  readonly atMs: number;
  readonly untilMs: number;
}

export class Kicked {
  readonly #clock: Clock;
  readonly #kicks = new SparseMap<string, Kick>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  remember(scope: TenantScope, clientId: ClientId, born: number | undefined, atMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [key, { untilMs }] of this.#kicks) {
      if (untilMs > nowMs && this.#kicks.size < rememberedMax) break;
      this.#kicks.delete(key);
    }
    const key = `${scope}#${clientId}`;
    this.#kicks.delete(key); // To the end.
    this.#kicks.set(key, { born, atMs, untilMs: nowMs + rememberedMs });
  }

  /** Whether there is one to be looked at. */
  has(scope: TenantScope, clientId: ClientId): boolean {
    return this.#kicks.get(`${scope}#${clientId}`) !== undefined;
  }

  /** Whether the session is one that was meant. */
  isMeant(
    scope: TenantScope,
    clientId: ClientId,
    record: { readonly born: number; readonly connectedAtMs: number },
  ): boolean {
    const kick = this.#kicks.get(`${scope}#${clientId}`);
    if (!kick || kick.untilMs <= this.#clock.monotonicMs()) return false;
    return kick.born === undefined ? record.connectedAtMs <= kick.atMs : record.born <= kick.born;
  }
}
