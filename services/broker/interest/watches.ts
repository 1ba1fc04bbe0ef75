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
 *     B has died                                               | what is held for B is settled; B has no subscribers
 *
 * "Proven" is a lease of its own (`validity.ts`): all that B told before its answer has been handled here. A message that is held
 * is not acknowledged. One of QoS 0 is dropped if too many are held, as on a connection that is too slow.
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
import { bothReceipts, handedOn, PendingReceipt, type Receipt } from '../message/message.js';
import { BrokerSets, durable } from './broker-sets.js';
import type { InterestFrame, InterestLane } from './frames.js';
import { RemoteInterest } from './remote-interest.js';
import { Shape } from './shape.js';
import { validMs } from './validity.js';

/** What is known of a message here. */
export interface Forwardable {
  readonly qos: 0 | 1 | 2;
  readonly topic: string;
}

export interface Forwarding<M extends Forwardable> {
  /** `needsReceipt`: stored sessions may be behind it. Without a receipt it counts as handed on. */
  forward(broker: BrokerId, tenant: TenantScope, message: M, needsReceipt: boolean): Receipt | undefined;
  /** The same message, for as long as it is held. */
  keep(message: M): M;
  dropped(message: M): void;
}

/** Of QoS 0, for one broker and tenant: a second of a busy tenant. */
export const heldVolatileMax = 1000;

interface Held<M> {
  readonly message: M;
  readonly receipt: PendingReceipt;
}

class Other<M> {
  readonly id: BrokerId;
  readonly slot: number;
  readonly lane: InterestLane;
  provenUntilMs = -Infinity;
  readonly held = new Map<TenantScope, { readonly messages: Held<M>[]; volatile: number }>();

  constructor(id: BrokerId, slot: number, lane: InterestLane) {
    this.id = id;
    this.slot = slot;
    this.lane = lane;
  }
}

interface Watch<M> {
  readonly number: number;
  readonly interest: RemoteInterest;
  readonly asked: Set<Other<M>>;
}

export class Watches<M extends Forwardable> {
  readonly #forwarding: Forwarding<M>;
  readonly #sets = new BrokerSets();
  readonly #brokers = new Map<BrokerId, Other<M>>();
  readonly #bySlot: (Other<M> | undefined)[] = [];
  readonly #tenants = new Map<TenantScope, Watch<M>>();
  #watches = 0;
  #allProvenUntilMs = Infinity;
  /** Brokers for which messages are held. */
  #holding = 0;

  constructor(forwarding: Forwarding<M>) {
    this.#forwarding = forwarding;
  }

  get size(): number {
    return this.#tenants.size;
  }

  join(broker: BrokerId, lane: InterestLane): void {
    let slot = this.#bySlot.indexOf(undefined);
    if (slot < 0) slot = this.#bySlot.length;
    const other = new Other<M>(broker, slot, lane);
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
    for (const { messages } of other.held.values()) for (const { receipt } of messages) receipt.settle(0);
    this.#proofs();
  }

  /** The tenant has no publishers here any more, and nothing is held. */
  unwatch(tenant: TenantScope): void {
    const watch = this.#tenants.get(tenant);
    if (!watch) return;
    for (const { held } of this.#brokers.values()) if (held.has(tenant)) return;
    this.#tenants.delete(tenant);
    watch.interest.end();
    for (const { lane } of this.#brokers.values()) lane.send({ type: 'unwatch', tenant, watch: watch.number });
  }

  /** The frame has come from that broker. */
  heard(broker: BrokerId, frame: InterestFrame & { type: 'interest' }, nowMs: number): void {
    const other = this.#brokers.get(broker);
    const watch = this.#tenants.get(frame.tenant);
    if (!other || watch?.number !== frame.watch) return;
    for (const { pattern, high, low, kind } of frame.filters) {
      const shape = Shape.parse(pattern);
      if (shape) watch.interest.set(other.slot, shape, { high, low }, kind);
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
   * To the brokers with subscribers. Returns what its acknowledgement has to wait for. `nowMs`: asked after the message has
   * been read from its socket.
   */
  publish(tenant: TenantScope, message: M, nowMs: number): Receipt | undefined {
    if (this.#brokers.size === 0) return undefined;
    const watch = this.#tenants.get(tenant) ?? this.#watch(tenant);
    const isKnown = nowMs < this.#allProvenUntilMs && watch.asked.size === 0 && this.#holding === 0;
    let receipt: Receipt | undefined;
    for (const { slot, kind } of watch.interest.match(message.topic)) {
      const other = this.#bySlot[slot]!;
      if (!isKnown && this.#mustHold(other, tenant, watch, nowMs)) continue;
      receipt = joined(receipt, this.#forward(other, tenant, message, kind === durable));
    }
    if (isKnown) return receipt;
    for (const other of this.#brokers.values())
      if (this.#mustHold(other, tenant, watch, nowMs)) receipt = joined(receipt, this.#hold(other, tenant, message));
    return receipt;
  }

  #watch(tenant: TenantScope): Watch<M> {
    const watch = { number: ++this.#watches, interest: new RemoteInterest(this.#sets), asked: new Set<Other<M>>() };
    this.#tenants.set(tenant, watch);
    for (const other of this.#brokers.values()) ask(other, tenant, watch);
    return watch;
  }

  #mustHold(other: Other<M>, tenant: TenantScope, watch: Watch<M>, nowMs: number): boolean {
    return nowMs >= other.provenUntilMs || watch.asked.has(other) || other.held.has(tenant);
  }

  #hold(other: Other<M>, tenant: TenantScope, message: M): Receipt | undefined {
    let held = other.held.get(tenant);
    if (!held) {
      if (other.held.size === 0) this.#holding++;
      other.held.set(tenant, (held = { messages: [], volatile: 0 }));
    }
    if (message.qos === 0 && ++held.volatile > heldVolatileMax) {
      held.volatile--;
      this.#forwarding.dropped(message);
      return undefined;
    }
    const receipt = new PendingReceipt();
    held.messages.push({ message: this.#forwarding.keep(message), receipt });
    return message.qos === 0 ? undefined : receipt;
  }

  /** What is held for it, as far as more is known of it now. */
  #release(other: Other<M>, nowMs: number): void {
    if (nowMs >= other.provenUntilMs) return;
    for (const [tenant, { messages }] of other.held) {
      const watch = this.#tenants.get(tenant)!;
      if (watch.asked.has(other)) continue;
      other.held.delete(tenant);
      if (other.held.size === 0) this.#holding--;
      eachGuarded('forward', messages, ({ message, receipt }) => {
        const member = watch.interest.match(message.topic).find(({ slot }) => slot === other.slot);
        const forwarded = member ? this.#forward(other, tenant, message, member.kind === durable) : handedOn;
        forwarded.whenSettled(() => receipt.settle(forwarded.reasonCode!));
      });
    }
  }

  #forward(other: Other<M>, tenant: TenantScope, message: M, needsReceipt: boolean): Receipt {
    return this.#forwarding.forward(other.id, tenant, message, needsReceipt && message.qos > 0) ?? handedOn;
  }
}

function ask<M>(other: Other<M>, tenant: TenantScope, watch: Watch<M>): void {
  watch.asked.add(other);
  other.lane.send({ type: 'watch', tenant, watch: watch.number });
}

const joined = (one: Receipt | undefined, other: Receipt | undefined): Receipt | undefined =>
  one && other ? bothReceipts(one, other) : (one ?? other);
