/**
 * The side of the subscribers: which brokers watch which tenant, what they are told, and when a SUBACK may leave (G2): when
 * each of them has confirmed, or has surely stopped to rely on what it knows.
 *
 *     event                            | watches, answered within endedMs    | watches, silent for longer          | does not watch
 *     ---------------------------------|-------------------------------------|-------------------------------------|---------------
 *     a filter comes, changes, goes    | told                                | told, for when it is heard again    | nothing
 *     SUBACK wants to leave            | waits                               | does not wait                       | does not wait
 *     it confirms                      | SUBACKs up to that leave            | -                                   | -
 *     endedMs after the last answer    | SUBACKs leave of what was told since| -                                   | -
 *     it pings, and is answered        | nobody waits any longer for that    | waited for, as to what is told next | nothing
 *     it has died (its lease is over)  | SUBACKs leave, forgotten            | forgotten                           | forgotten
 *
 * So a SUBACK is late by `endedMs` at most, whatever becomes of the link: an answer that is given after a filter was told
 * counts for the watcher only once it has handled what was told.
 *
 * Interleavings:
 *  - A second subscriber of the same filter, while the first is not confirmed: nothing new is told, but it waits for the
 *    number that was told last to each watcher of the tenant, so for the first one's.
 *  - A watch comes while filters come and go: from its frame on each change is told, behind or between the parts of the
 *    answer. Said twice changes nothing. What is removed before its turn is told as removed, which it was not to know.
 *  - `unwatch` and `watch` again cross with what was told: it says the number of the watch, and is ignored.
 *  - A watch that is not answered yet holds nobody up: the watcher does not rely on it. It is waited for all the same, as that
 *    costs a round trip.
 * Costs: for a filter that comes first or goes last one frame a watcher of the tenant; for one of which there are more, nothing.
 */
import { eachGuarded, type BrokerId, type TenantScope } from '../../kernel/kernel.js';
import type { InterestLane, ToldFilter } from './frames.js';
import { Shape } from './shape.js';
import { endedMs } from './validity.js';

export interface OwnFilters {
  /**
   * Calls `visit` with the filters of a tenant, some at a time and in turns to come if they are many, as long as it returns
   * true; the last time with `isLast`. Those that neither come nor go until the end are said; of the others it does not matter.
   */
  each(tenant: TenantScope, filtersMax: number, visit: (filters: readonly string[], isLast: boolean) => boolean): void;
}

/** In one frame of an answer, and in one step: 0.2 ms of the thread. */
const filtersAtOnce = 200;
/** What the shapes of a frame may come to. Filters of very many levels have shapes of 200 KB. */
const patternsMax = 1 << 16;

class Watcher {
  readonly lane: InterestLane;
  readonly tenants = new Map<TenantScope, Told>();
  /** In ascending order of frames. */
  readonly waiting: Waiting[] = [];
  heard = 0;
  answeredAtMs = -Infinity;

  constructor(lane: InterestLane) {
    this.lane = lane;
  }

  tellAll(tenant: TenantScope, told: Told, filters: readonly string[], isWhole: boolean): void {
    let some: ToldFilter[] = [];
    let patterns = 0;
    for (const filter of filters) {
      const one = printed(filter, true);
      if (patterns + one.pattern.length > patternsMax && some.length > 0) {
        this.tell(tenant, told, some, false);
        some = [];
        patterns = 0;
      }
      some.push(one);
      patterns += one.pattern.length;
    }
    this.tell(tenant, told, some, isWhole);
  }

  tell(tenant: TenantScope, told: Told, filters: readonly ToldFilter[], isWhole: boolean): void {
    told.number = this.lane.send({ type: 'interest', tenant, watch: told.watch, filters, isWhole });
    told.untilMs = this.answeredAtMs + endedMs;
  }
}

/** What a watcher has been told last of a tenant. */
interface Told {
  readonly watch: number;
  /** Of the frame. */
  number: number;
  /** Then it does not match without it any more: answers to later pings count for it only once it has handled the frame. */
  untilMs: number;
}

interface Waiting {
  readonly number: number;
  readonly untilMs: number;
  readonly confirmed: () => void;
}

export class Watchers {
  readonly #filters: OwnFilters;
  readonly #brokers = new Map<BrokerId, Watcher>();
  readonly #byTenant = new Map<TenantScope, Set<Watcher>>();

  constructor(filters: OwnFilters) {
    this.#filters = filters;
  }

  /** A broker that this one has not known. */
  join(broker: BrokerId, lane: InterestLane): void {
    this.#brokers.set(broker, new Watcher(lane));
  }

  /** Its lease is over: it acknowledges nothing any more. */
  died(broker: BrokerId): void {
    const watcher = this.#brokers.get(broker);
    if (!watcher) return;
    this.#brokers.delete(broker);
    for (const tenant of watcher.tenants.keys()) this.#leave(tenant, watcher);
    confirm(watcher, () => true);
  }

  watch(broker: BrokerId, tenant: TenantScope, watch: number): void {
    const watcher = this.#brokers.get(broker);
    if (!watcher) return;
    const told: Told = { watch, number: 0, untilMs: -Infinity };
    watcher.tenants.set(tenant, told);
    const watchers = this.#byTenant.get(tenant);
    if (watchers) watchers.add(watcher);
    else this.#byTenant.set(tenant, new Set([watcher]));
    this.#filters.each(tenant, filtersAtOnce, (filters, isLast) => {
      if (watcher.tenants.get(tenant) !== told) return false; // Another watch has taken its place, or none.
      watcher.tellAll(tenant, told, filters, isLast);
      return true;
    });
  }

  unwatch(broker: BrokerId, tenant: TenantScope, watch: number): void {
    const watcher = this.#brokers.get(broker);
    if (watcher?.tenants.get(tenant)?.watch !== watch) return;
    watcher.tenants.delete(tenant);
    this.#leave(tenant, watcher);
  }

  #leave(tenant: TenantScope, watcher: Watcher): void {
    const watchers = this.#byTenant.get(tenant)!;
    watchers.delete(watcher);
    if (watchers.size === 0) this.#byTenant.delete(tenant);
  }

  /** What this broker has of the filter has changed. */
  changed(tenant: TenantScope, filter: string, isThere: boolean): void {
    const watchers = this.#byTenant.get(tenant);
    if (!watchers) return;
    const filters = [printed(filter, isThere)];
    for (const watcher of watchers) watcher.tell(tenant, watcher.tenants.get(tenant)!, filters, false);
  }

  /** Calls `then` once every broker matches what has been told of the tenant so far: at once, mostly. */
  whenMatched(tenant: TenantScope, nowMs: number, then: () => void): void {
    let open = 1;
    const confirmed = (): void => {
      if (--open === 0) then();
    };
    for (const watcher of this.#byTenant.get(tenant) ?? []) {
      const { number, untilMs } = watcher.tenants.get(tenant)!;
      if (number <= watcher.heard || nowMs >= untilMs) continue;
      open++;
      // Of several tenants the numbers do not come in order.
      let at = watcher.waiting.length;
      while (at > 0 && watcher.waiting[at - 1]!.number > number) at--;
      watcher.waiting.splice(at, 0, { number, untilMs, confirmed });
    }
    confirmed();
  }

  /** The broker has handled the frames up to this number. */
  heard(broker: BrokerId, number: number): void {
    const watcher = this.#brokers.get(broker);
    if (!watcher) return;
    watcher.heard = Math.max(watcher.heard, number);
    confirm(watcher, (waiting) => waiting.number <= number);
  }

  /** To be called before the answer to its ping is sent. */
  answers(broker: BrokerId, nowMs: number): void {
    const watcher = this.#brokers.get(broker);
    if (watcher) watcher.answeredAtMs = nowMs;
  }

  /** Lets go what has waited long enough. Returns when to look again. */
  look(nowMs: number): number {
    let nextMs = Infinity;
    for (const watcher of this.#brokers.values()) {
      confirm(watcher, ({ untilMs }) => untilMs <= nowMs);
      nextMs = Math.min(nextMs, watcher.waiting[0]?.untilMs ?? Infinity);
    }
    return nextMs;
  }
}

const printed = (filter: string, isThere: boolean): ToldFilter => {
  const shape = Shape.of(filter);
  return { pattern: shape.pattern, ...shape.ofFilter(filter), isThere };
};

/** Those at the front: of a later frame neither comes before. */
function confirm({ waiting }: Watcher, isOver: (waiting: Waiting) => boolean): void {
  let count = 0;
  while (count < waiting.length && isOver(waiting[count]!)) count++;
  eachGuarded('receipt', waiting.splice(0, count), ({ confirmed }) => confirmed());
}
