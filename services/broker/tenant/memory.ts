/**
 * What a tenant holds in the memory of this broker, approximately: running counters, added to where things come and go, and
 * a constant for each thing of a kind. Nothing is ever swept over. `test/memory` compares the sum with the heap.
 *
 *      its quota                                                    (`memoryBytes`)
 *      [ sessions, subscriptions, plans, wills | messages, what clients do not read ......|xxxx ]
 *                                                                                  7/8    full
 *
 * Above seven eighths new sessions and new subscriptions are refused: the rest is for the messages of those that are here. When it is full
 * QoS 1 and 2 messages for sessions that are only in memory, and QoS 0 ones for clients that do not keep up, are dropped
 * and counted; those for stored sessions go straight to the store. Nothing that has been acknowledged is dropped.
 */
import type { Clock, Log, TenantId } from '../../kernel/kernel.js';
import type { Meters } from '../message/message.js';
import type { SessionMemory } from '../session/session.js';
import type { TenantLimits } from './limits.js';
import type { SafetyLedger } from './safety-ledger.js';

/** A session and its residence while the client is away: it sleeps (decision 37). */
const sessionBytes = 1000;
/** A socket with TLS or without, its reader, queue and channel, and a session that is awake: between what both take (`docs/memory.md`). */
const connectionBytes = 42_000;
/** A subscription, its route and its part of the tree; the filter is there twice. */
const subscriptionBytes = 700;
/** New sessions and subscriptions are refused above this part of the quota. */
const tightAt = 7 / 8;
const tellEveryMs = 60_000;

/** What clients are told. */
export const memoryWords = {
  memory: 'the tenant has used up its quota of memory on this broker: end sessions or remove subscriptions',
  shed: 'the broker is short of memory, and the tenant has most of it: disconnect clients or end sessions',
} as const;

/** What there is of the things that are counted by number. */
export interface Population {
  readonly residences: { readonly size: number };
  readonly connections: number;
  readonly routing: { readonly planBytes: number };
}

export class TenantMemory implements SessionMemory {
  /** The broker is short of memory, and this tenant has most of it: it gets no more for now. */
  isShed = false;
  #willBytes = 0;
  #outboxBytes = 0;
  #subscriptionBytes = 0;
  /** For messages, when it was last looked at; 0 when that may be wrong. */
  #roomBytes = 0;
  /** Of this limit. */
  #roomOf = Infinity;
  #toldAtMs = -Infinity;
  readonly #tenant: TenantId;
  readonly #population: Population;
  readonly #limits: TenantLimits;
  readonly #ledger: SafetyLedger;
  readonly #meters: Meters;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #changed: () => void;

  constructor(
    tenant: TenantId,
    population: Population,
    limits: TenantLimits,
    ledger: SafetyLedger,
    meters: Meters,
    clock: Clock,
    log: Log,
    changed: () => void = () => undefined,
  ) {
    this.#tenant = tenant;
    this.#population = population;
    this.#limits = limits;
    this.#ledger = ledger;
    this.#meters = meters;
    this.#clock = clock;
    this.#log = log;
    this.#changed = changed;
  }

  /** Of wills that are not due yet. */
  get willBytes(): number {
    return this.#willBytes;
  }

  set willBytes(bytes: number) {
    this.#willBytes = bytes;
    this.#roomBytes = 0;
    this.#changed();
  }

  /** Bytes on their way to clients that the network has not taken. */
  get outboxBytes(): number {
    return this.#outboxBytes;
  }

  set outboxBytes(bytes: number) {
    this.#outboxBytes = bytes;
    this.#roomBytes = 0;
    this.#changed();
  }

  countSubscription(filter: string, change: 1 | -1): void {
    this.#subscriptionBytes += change * (subscriptionBytes + 2 * filter.length);
    this.#roomBytes = 0;
    this.#changed();
  }

  get bytes(): number {
    const { residences, connections, routing } = this.#population;
    const { heldBytes, unsafeBytes, lineBytes } = this.#ledger;
    const things = residences.size * sessionBytes + connections * connectionBytes + this.#subscriptionBytes;
    const messages = heldBytes + unsafeBytes + lineBytes + this.willBytes + this.outboxBytes;
    return things + messages + routing.planBytes;
  }

  /** Asked for each message. What else counts is only looked at again when it has changed, at the latest with the next write. */
  get isFull(): boolean {
    const { heldBytes, unsafeBytes, lineBytes } = this.#ledger;
    const messages = heldBytes + unsafeBytes + lineBytes;
    const { memoryBytes } = this.#limits;
    if (messages < this.#roomBytes && memoryBytes === this.#roomOf) return false;
    this.#roomOf = memoryBytes;
    this.#roomBytes = memoryBytes - (this.bytes - messages);
    return messages >= this.#roomBytes;
  }

  refusal(): string | undefined {
    const short = this.refused();
    return short && memoryWords[short];
  }

  /** Why a session or a subscription has just been refused; undefined when it has not, and may come. */
  refused(): keyof typeof memoryWords | undefined {
    const { bytes, isShed } = this;
    if (!isShed && bytes < this.#limits.memoryBytes * tightAt) return undefined;
    this.#meters.refusedOverMemory++;
    this.#changed();
    this.#tell(bytes);
    return isShed ? 'shed' : 'memory';
  }

  #tell(bytes: number): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#toldAtMs < tellEveryMs) return;
    this.#toldAtMs = nowMs;
    const { memoryBytes } = this.#limits;
    const fields = { tenant: this.#tenant, bytes, memoryBytes, isShed: this.isShed };
    this.#log.warn(fields, 'a tenant uses too much memory: it gets no new sessions and subscriptions');
  }
}
