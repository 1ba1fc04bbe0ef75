/**
 * The side of the publishers: the tenants that this broker watches, what the others have told of them, and where a message
 * goes (G2). A broker is asked for a tenant's filters when the tenant's first message comes, or the broker does.
 *
 *     what is known of broker B for tenant T                   | a message of T
 *     ---------------------------------------------------------|--------------------------------------------------------
 *     whole, proven, nothing held for B                        | forwarded to B if B has a filter that matches
 *     asked, and not whole yet                                 | held for B: matched and forwarded when it is
 *     not proven: no answer to a ping of the last `validMs`    | "
 *     proven again, and something is held                      | what is held goes first, in order (G3)
 *     B has died                                               | what is held for B is let go; B has no subscribers
 *
 * "Proven" is a lease of its own (`validity.ts`): all that B told before its answer has been handled here. A message that is held
 * is not acknowledged; how much may be held is said by who answers for it (`Forwarding.hold`).
 *
 * Interleavings:
 *  - B tells of a filter while messages are held for B, which are older: they are matched when they leave, so that
 *    they reach it, and before the newer ones.
 *  - This process stands still, and goes on after B has stopped to wait for it: the time is asked for each message, after
 *    its bytes have been read, so that a message that the subscriber's client has caused is never matched by a stale proof.
 *  - A forward throws: its publisher has no acknowledgement, and those that are held behind it go on.
 * Costs: with everything proven one comparison a message beyond the matching; with n tenants and b brokers n × b small records.
 */
import { type BrokerId, eachGuarded, type TenantScope } from '../../kernel/kernel.js';
import { BrokerSets } from './broker-sets.js';
import type { InterestFrame, InterestLane } from './frames.js';
import { RemoteInterest } from './remote-interest.js';
import { Shape } from './shape.js';
import { validMs } from './validity.js';

/** What is known of a message here. */
export interface Forwardable {
  readonly topic: { readonly text: string };
}

/** What becomes of messages, and who answers for them until then. `H`: one that is held for a broker. */
export interface Forwarding<M extends Forwardable, H extends Forwardable> {
  forward(broker: BrokerId, tenant: TenantScope, message: M): void;
  /** Undefined: there is no room, and it may be dropped. */
  hold(broker: BrokerId, tenant: TenantScope, message: M): H | undefined;
  /** It is held no more. `isMatched`: it is to be forwarded; otherwise the broker has no subscribers for it, or has died. */
  letGo(broker: BrokerId, held: H, isMatched: boolean): void;
}

class Other<H> {
  readonly id: BrokerId;
  readonly slot: number;
  readonly lane: InterestLane;
  provenUntilMs = -Infinity;
  readonly held = new Map<TenantScope, H[]>();

  constructor(id: BrokerId, slot: number, lane: InterestLane) {
    this.id = id;
    this.slot = slot;
    this.lane = lane;
  }
}

interface Watch<H> {
  readonly number: number;
  readonly interest: RemoteInterest;
  readonly asked: Set<Other<H>>;
}

export class Watches<M extends Forwardable, H extends Forwardable = M> {
  readonly #forwarding: Forwarding<M, H>;
  readonly #sets = new BrokerSets();
  readonly #brokers = new Map<BrokerId, Other<H>>();
  readonly #bySlot: (Other<H> | undefined)[] = [];
  readonly #tenants = new Map<TenantScope, Watch<H>>();
  #watches = 0;
  #allProvenUntilMs = Infinity;
  /** Brokers for which messages are held. */
  #holding = 0;

  constructor(forwarding: Forwarding<M, H>) {
    this.#forwarding = forwarding;
  }

  /** Tenants that are watched. */
  get size(): number {
    return this.#tenants.size;
  }

  /** Those that may have subscribers. */
  get brokers(): number {
    return this.#brokers.size;
  }

  join(broker: BrokerId, lane: InterestLane): void {
    let slot = this.#bySlot.indexOf(undefined);
    if (slot < 0) slot = this.#bySlot.length;
    const other = new Other<H>(broker, slot, lane);
    this.#bySlot[slot] = other;
    this.#brokers.set(broker, other);
    this.#proofs();
    for (const [tenant, watch] of this.#tenants) ask(other, tenant, watch);
  }

  /** Its lease is over: it has no subscribers any more. */
  died(broker: BrokerId): void {
    const other = this.#brokers.get(broker);
    if (!other) return;
    this.#brokers.delete(broker);
    this.#bySlot[other.slot] = undefined;
    this.#sets.drop(other.slot);
    for (const watch of this.#tenants.values()) {
      watch.asked.delete(other);
      watch.interest.dropped(other.slot);
    }
    if (other.held.size > 0) this.#holding--;
    this.#proofs();
    for (const messages of other.held.values())
      eachGuarded('forward', messages, (message) => this.#forwarding.letGo(broker, message, false));
  }

  /** The tenant has no publishers here any more. False: something is held, so it goes on. */
  unwatch(tenant: TenantScope): boolean {
    const watch = this.#tenants.get(tenant);
    if (!watch) return true;
    for (const { held } of this.#brokers.values()) if (held.has(tenant)) return false;
    this.#tenants.delete(tenant);
    watch.interest.end();
    for (const { lane } of this.#brokers.values()) lane.send({ type: 'unwatch', tenant, watch: watch.number });
    return true;
  }

  /** The frame has come from that broker. */
  heard(broker: BrokerId, frame: InterestFrame & { type: 'interest' }, nowMs: number): void {
    const other = this.#brokers.get(broker);
    const watch = this.#tenants.get(frame.tenant);
    if (!other || watch?.number !== frame.watch) return;
    for (const { pattern, high, low, isThere } of frame.filters) {
      const shape = Shape.parse(pattern);
      if (shape) watch.interest.set(other.slot, shape, { high, low }, isThere);
    }
    if (!frame.isWhole) return;
    watch.asked.delete(other);
    this.#release(other, nowMs);
  }

  /** It has answered the ping that left at `pingedAtMs`, and all that it told before that has been handled. */
  proven(broker: BrokerId, pingedAtMs: number, nowMs: number): void {
    const other = this.#brokers.get(broker);
    if (!other) return;
    other.provenUntilMs = Math.max(other.provenUntilMs, pingedAtMs + validMs);
    this.#proofs();
    this.#release(other, nowMs);
  }

  #proofs(): void {
    this.#allProvenUntilMs = Infinity;
    for (const { provenUntilMs } of this.#brokers.values())
      this.#allProvenUntilMs = Math.min(this.#allProvenUntilMs, provenUntilMs);
  }

  /**
   * To the brokers with subscribers. Returns whether there are, or may be, any. `nowMs`: asked after the message has been
   * read from its socket.
   */
  publish(tenant: TenantScope, message: M, nowMs: number): boolean {
    if (this.#brokers.size === 0) return false;
    const watch = this.#tenants.get(tenant) ?? this.#watch(tenant);
    const isKnown = nowMs < this.#allProvenUntilMs && watch.asked.size === 0 && this.#holding === 0;
    const slots = watch.interest.slotsOf(message.topic.text);
    let isForSomebody = false;
    for (let i = 0; i < slots.length; i++) {
      const other = this.#bySlot[slots[i]!]!;
      if (!isKnown && this.#mustHold(other, tenant, watch, nowMs)) continue;
      this.#forwarding.forward(other.id, tenant, message);
      isForSomebody = true;
    }
    if (isKnown) return isForSomebody;
    for (const other of this.#brokers.values())
      if (this.#mustHold(other, tenant, watch, nowMs) && this.#hold(other, tenant, message)) isForSomebody = true;
    return isForSomebody;
  }

  #watch(tenant: TenantScope): Watch<H> {
    const watch = { number: ++this.#watches, interest: new RemoteInterest(this.#sets), asked: new Set<Other<H>>() };
    this.#tenants.set(tenant, watch);
    for (const other of this.#brokers.values()) ask(other, tenant, watch);
    return watch;
  }

  #mustHold(other: Other<H>, tenant: TenantScope, watch: Watch<H>, nowMs: number): boolean {
    return nowMs >= other.provenUntilMs || watch.asked.has(other) || other.held.has(tenant);
  }

  #hold(other: Other<H>, tenant: TenantScope, message: M): boolean {
    const kept = this.#forwarding.hold(other.id, tenant, message);
    if (kept === undefined) return false;
    const held = other.held.get(tenant);
    if (held) held.push(kept);
    else {
      if (other.held.size === 0) this.#holding++;
      other.held.set(tenant, [kept]);
    }
    return true;
  }

  /** What is held for it, as far as more is known of it now. */
  #release(other: Other<H>, nowMs: number): void {
    if (nowMs >= other.provenUntilMs) return;
    for (const [tenant, messages] of other.held) {
      const watch = this.#tenants.get(tenant)!;
      if (watch.asked.has(other)) continue;
      other.held.delete(tenant);
      if (other.held.size === 0) this.#holding--;
      eachGuarded('forward', messages, (message) => {
        const isMatched = watch.interest.slotsOf(message.topic.text).includes(other.slot);
        this.#forwarding.letGo(other.id, message, isMatched);
      });
    }
  }
}

function ask<H>(other: Other<H>, tenant: TenantScope, watch: Watch<H>): void {
  watch.asked.add(other);
  other.lane.send({ type: 'watch', tenant, watch: watch.number });
}
