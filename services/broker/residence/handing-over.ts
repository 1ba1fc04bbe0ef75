/**
 * Sessions of this broker that others want, because their clients have connected there. Decision 46 has the steps, and what becomes of them
 * when somebody dies; the other side is `incoming.ts`.
 *
 *      own -> give -> given, and stored under its epoch as before -> finish -> (no more messages, all is stored) -> gone
 *       ^               |  the record says still that it is here:
 *       \_______________|  taken back, with a new epoch
 *
 * Whoever has asked may be dead, or its write may be under way: the record decides, and it is asked until it says that the session is here, or
 * is another's that will ask to finish (`takenFrom`), or nobody's that needs this broker. As long as it is given:
 *  - it matches and stores; nothing else of it is done: no will, no end, no record is written (`Departure.give`);
 *  - a CONNECT here, and an entry of the control log, wait for what becomes of it;
 *  - it is given to all who ask for the same epoch: one of them will have the record;
 *  - who adopts the broker that took it, and is this one, takes it back as it is.
 * Nothing is bounded here but by what others ask: one session of a client, one question of a broker for it, in turn.
 */
import { type BrokerId, type Cancel, type Clock, SparseMap, unattended } from '../../kernel/kernel.js';
import type { SessionRecord } from '../../tenancy/tenancy.js';
import { PendingReceipt, settled } from '../message/message.js';
import type { Residence, Tenant } from '../tenant/tenant.js';
import { reasons } from '../wire/wire.js';
import type { Departure } from './departure.js';
import type { GivenSession, Interest, SessionStore, TakeoverAnswer, TakeoverHost, TakeoverWish } from './ports.js';

/** Longer than who asks waits for its own write; a later one is refused by then. */
const lookAfterMs = 5000;
/** Who asked has given up. */
const turnWithinMs = 4000;

export interface HandingOverOptions {
  readonly brokerId: BrokerId;
  /** A tenant that is being opened is waited for. */
  readonly known: (scope: TakeoverWish['tenant']) => Promise<Tenant | undefined>;
  readonly records: SessionStore;
  readonly interest: Interest;
  readonly departure: Departure;
  /** Whether it has not come here to the end yet. */
  readonly isUnfinished: (residence: Residence) => boolean;
  readonly clock: Clock;
}

interface Given {
  readonly residence: Residence;
  /** Settled when it is this broker's again, or gone. */
  readonly over: PendingReceipt;
  /** The record says that its client is away, and who asks may read it. */
  isWritten: boolean;
  finishing: Promise<void> | undefined;
  cancelLook: Cancel;
}

export class HandingOver implements TakeoverHost {
  readonly #options: HandingOverOptions;
  readonly #given = new SparseMap<Residence, Given>();

  constructor(options: HandingOverOptions) {
    this.#options = options;
  }

  /** Resolves when it is this broker's again, or gone; undefined: it is not given. */
  over(residence: Residence): Promise<void> | undefined {
    const given = this.#given.get(residence);
    return given && settled(given.over);
  }

  async give(wish: TakeoverWish): Promise<TakeoverAnswer> {
    const { clock, known } = this.#options;
    const askedAtMs = clock.monotonicMs();
    const tenant = await known(wish.tenant);
    if (!tenant || tenant.isGone) return { kind: 'none' };
    const { clientId } = wish;
    const outcome = await tenant.turns.take(clientId, () => {
      const isLate = clock.monotonicMs() - askedAtMs > turnWithinMs;
      return isLate ? Promise.resolve('busy' as const) : this.#give(tenant, wish);
    });
    if (outcome === 'ending') {
      await tenant.turns.take(clientId, () => Promise.resolve()); // Behind its removal.
      return { kind: 'over' };
    }
    return typeof outcome === 'string' ? { kind: outcome } : outcome;
  }

  /** In the client's turn. */
  async #give(
    tenant: Tenant,
    { clientId, says, beginsAnew }: TakeoverWish,
  ): Promise<TakeoverAnswer | 'ending' | 'none' | 'changed' | 'busy'> {
    const { brokerId, departure, isUnfinished, clock } = this.#options;
    const residence = tenant.residences.get(clientId);
    if (!residence) return 'none';
    const { inheritedFrom, epoch } = residence.record;
    const { owner, epoch: written } = inheritedFrom ?? { owner: brokerId, epoch };
    if (owner !== says.owner || written !== says.epoch) return 'changed';
    const given = this.#given.get(residence);
    if (given) return beginsAnew || given.finishing ? 'busy' : await this.#written(given);
    if (isUnfinished(residence)) return 'busy';
    tenant.entrance.spend(clientId);
    residence.connection?.close(reasons.sessionTakenOver); // [MQTT-3.1.4-3]
    if (tenant.residences.get(clientId) !== residence) return 'ending'; // With its connection.
    if (beginsAnew) departure.endSession(tenant, residence, clock.nowMs()); // [MQTT-3.1.2-4]
    return beginsAnew ? 'ending' : await this.#written(this.#begin(residence));
  }

  #begin(residence: Residence): Given {
    const state = { isWritten: false, finishing: undefined, cancelLook: () => undefined };
    const given: Given = { residence, over: new PendingReceipt(), ...state };
    this.#options.departure.give(residence);
    this.#given.set(residence, given);
    this.#lookLater(given);
    return given;
  }

  async #written(given: Given): Promise<TakeoverAnswer> {
    const { tenant, session, record } = given.residence;
    try {
      if (!given.isWritten) await this.#options.departure.release(tenant, given.residence); // Once its will is safe.
    } catch {
      return { kind: 'busy' }; // If nobody asks again it is taken back.
    }
    given.isWritten = true;
    await session.subscriptionsStored();
    return { kind: 'given', epoch: record.epoch };
  }

  #lookLater(given: Given): void {
    given.cancelLook();
    given.cancelLook = this.#options.clock.after(lookAfterMs, () => {
      const { tenant, session } = given.residence;
      unattended(
        'session',
        tenant.turns.take(session.clientId, () => this.#look(given)),
      );
    });
  }

  /** For who has the client's turn, and wants the session here: it is taken back, if nobody else has it yet. */
  async takeBack(residence: Residence): Promise<void> {
    const given = this.#given.get(residence);
    if (given) await this.#look(given);
  }

  async #look(given: Given): Promise<void> {
    if (this.#given.get(given.residence) !== given || given.finishing) return;
    try {
      if (!(await this.#isDecided(given))) this.#lookLater(given);
    } catch {
      this.#lookLater(given); // Out of reach.
    }
  }

  async #isDecided(given: Given): Promise<boolean> {
    const { brokerId, records } = this.#options;
    const { residence } = given;
    const { record, tenant, session } = residence;
    const own = { owner: brokerId, epoch: record.epoch };
    const epoch = await records.take(record, own);
    if (epoch !== undefined) {
      this.#back(given, { ...record, epoch });
      return true;
    }
    const takenFrom = (await records.sessionOf(tenant.scope, session.clientId))?.record.takenFrom;
    if (takenFrom?.owner === own.owner && takenFrom.epoch === own.epoch) return false; // Who has it will ask.
    await this.#finish(given);
    return true;
  }

  #back(given: Given, record: Residence['record']): void {
    const { residence } = given;
    residence.record = record;
    residence.session.renew(record.epoch);
    given.cancelLook();
    this.#options.departure.takeBack(residence);
    this.#isOver(given);
  }

  /** Who has taken it is dead, and this broker is the one to have what that one has left. */
  inherits(residence: Residence, found: SessionRecord): void {
    const given = this.#given.get(residence);
    if (!given || given.finishing) return;
    this.#back(given, { ...residence.record, ...this.#options.records.inherit(found) });
  }

  async finish({ tenant: scope, clientId, epoch }: GivenSession): Promise<boolean> {
    const tenant = await this.#options.known(scope);
    const residence = tenant?.residences.get(clientId);
    const given = residence && this.#given.get(residence);
    if (given && residence.record.epoch === epoch) await this.#finish(given);
    return true;
  }

  /** However often it is asked for. */
  #finish(given: Given): Promise<void> {
    return (given.finishing ??= this.#finished(given));
  }

  async #finished(given: Given): Promise<void> {
    const { residence, cancelLook } = given;
    const { interest, departure } = this.#options;
    const { tenant, session } = residence;
    const isHere = (): boolean => tenant.residences.get(session.clientId) === residence;
    cancelLook();
    if (!isHere()) return this.#isOver(given); // Its tenant has gone.
    await settled(interest.arrived(tenant));
    await tenant.routing.passed();
    departure.silence(residence);
    await session.stored();
    if (isHere()) departure.letGo(residence);
    this.#isOver(given);
  }

  #isOver({ residence, over }: Given): void {
    this.#given.delete(residence);
    over.settle(0);
  }
}
