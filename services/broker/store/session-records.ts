/**
 * The record of one session: claimed, released, noted, removed, each by one write with a condition. Owner and epoch decide who
 * may write: a claim raises the epoch, and every later write of an older one finds its condition unmet.
 *
 * What a broker *inherits* from one that died (`SessionStore.inherit`) is not written. Its record says what its last owner has
 * written, and the broker's own writes of it, of messages and of subscriptions carry the epoch of its note for the tenant
 * (`tenant-notes.ts`), which is greater. So each write of a record names what the table is believed to say:
 *
 *      the record is      | condition                        | then it says
 *      -------------------|----------------------------------|------------------------------------------
 *      inherited          | owner and epoch as it was read   | this broker, and the epoch of the note (claim: one more)
 *      this broker's      | this broker, and its epoch       | the same (claim: one more)
 *
 * The last owner may be frozen and not dead, and writes of it may come late; until this broker has written the record once, their
 * conditions hold. Then the condition of this broker fails, and it reads and writes again, unless a broker that followed has
 * the record (its epoch is greater). Whose a record is that names another owner: with a broker that serves alone, that of a dead one is
 * its own; together with others, the marks on leases say it (`succession.ts`). Decision 36 lists what can come late, and why each of it could have come before.
 */
import type { BrokerId, ClientId, Clock, TenantScope } from '../../kernel/kernel.js';
import { ConditionFailed, type Dynamo, type Item, mayPass, Statement, type TableKey } from '../../dynamo/dynamo.js';
import {
  brokerLeaseFromItem,
  brokerLeaseKey,
  epochAt,
  NotHereYet,
  sessionKey,
  sessionToItem,
} from '../../tenancy/tenancy.js';
import type { Claim, Claimed, Elsewhere, Owner } from '../residence/residence.js';
import type { OwnRecord } from '../tenant/tenant.js';
import type { Succession } from './succession.js';
import { willPlace, willToItem } from './will-item.js';

/** What only some records have, and a claim that does not set it takes away. */
const optionalAttributes = ['disconnectedAtMs', 'sdk', 'takenFrom', 'ttl', 'will', 'willAtMs', 'willEpoch', 'willItem'];
/** Of the attributes of a record. */
const notSetAsTheyAre = ['pk', 'sk', 'epoch', 'born'];
/** A release that DynamoDB does not take is tried again for about half a minute; the lease tells the rest. */
const releaseTriesMax = 6;
/** A client that waits for CONNACK gives up soon after. */
const claimDeadlineMs = 4000;
/** Of what is written before the claim. */
const willDeadlineMs = 2000;

/** As it is to be in the table. */
type Placed = Claim & Pick<Claimed, 'willItem'>;

/** Of a record as it was read: undefined where it has no such attribute, or is not there. */
interface Found {
  readonly owner: BrokerId | undefined;
  readonly epoch: unknown;
  readonly item: Item | undefined;
  readonly pk: string;
}

interface Condition {
  readonly condition: string;
  readonly names: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, unknown>>;
}

/** How a claim that sets certain attributes is said. */
interface ClaimWords {
  readonly statement: Statement;
  /** The attributes, in the order of their values; before them come those of its condition, and `born`. */
  readonly attributes: readonly string[];
}

/** Where brokers serve together. */
interface Together {
  readonly succession: Succession;
  /** Of a record that names this broker, and has not been read by it. */
  isTakenOver(key: TableKey): boolean;
}

interface RecordsWorld {
  /** Of this broker's note for the tenant. */
  epochOf(scope: TenantScope): number;
  readonly together?: Together;
}

export class SessionRecords {
  readonly #dynamo: Dynamo;
  readonly #owner: BrokerId;
  readonly #clock: Clock;
  readonly #epochOf: (scope: TenantScope) => number;
  readonly #together: Together | undefined;
  readonly #claims = new Map<string, ClaimWords>();

  constructor(dynamo: Dynamo, owner: BrokerId, clock: Clock, { epochOf, together }: RecordsWorld) {
    this.#dynamo = dynamo;
    this.#owner = owner;
    this.#clock = clock;
    this.#epochOf = epochOf;
    this.#together = together;
  }

  /** `hasLooked`: what of the client has come to this broker is here. */
  async claim(
    claim: Claim,
    born: number | undefined,
    known: OwnRecord | undefined,
    hasLooked: boolean,
  ): Promise<Claimed | Elsewhere> {
    const floor = Math.max(this.#epochOf(claim.tenant), known?.epoch ?? 0);
    const willItem = claim.will && (await this.#placeWill(claim, born === undefined ? undefined : known, floor));
    if (willItem === undefined) return await this.#claimRecord(claim, born, known, floor, hasLooked);
    const claimed = await this.#claimRecord({ ...claim, willItem }, born, known, floor, hasLooked);
    return 'isAlive' in claimed ? claimed : { ...claimed, willItem };
  }

  /** Before the record names it: whoever reads that finds it. What is put for a claim that fails goes with the session, or in time. */
  async #placeWill(claim: Claim, goesOn: OwnRecord | undefined, floor: number): Promise<string | undefined> {
    const nowMs = this.#clock.nowMs();
    const epochs = { epoch: this.#newEpoch(floor) + 1, since: this.#epochOf(claim.tenant) };
    const place = willPlace(claim, goesOn, epochs, nowMs);
    if (place && !place.isThere)
      await this.#dynamo.put('inbox', willToItem(claim, place.key, nowMs), { deadlineMs: willDeadlineMs });
    return place?.key;
  }

  async #claimRecord(
    claim: Placed,
    born: number | undefined,
    known: OwnRecord | undefined,
    floor: number,
    hasLooked: boolean,
  ): Promise<Claimed | Elsewhere> {
    try {
      if (known?.inheritedFrom) return await this.#claimFound(claim, born, floor, known.inheritedFrom);
      const isMine = '#owner = :me AND #epoch >= :floor';
      return await this.#claim(claim, born, 'if_not_exists(#epoch, :base) + :one', {
        condition: `attribute_not_exists(#owner) OR ${isMine}`,
        names: {},
        values: { ':me': this.#owner, ':floor': floor, ':one': 1, ':base': this.#newEpoch(floor) },
      });
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      const found = await this.find(claim.tenant, claim.clientId);
      const { owner, epoch, pk } = found;
      if (owner !== undefined && typeof epoch === 'number' && (await this.isOthers(owner, pk)))
        return { owner, epoch, isAlive: true };
      if (!known && !hasLooked && this.#hasCome(found)) throw new NotHereYet();
      return await this.#claimFound(claim, born, floor, found);
    }
  }

  /** To this broker, from one that has died: the session goes on, and nobody has read it. */
  #hasCome({ owner, item, pk }: Found): boolean {
    if (!this.#together || owner === undefined) return false;
    return owner !== this.#owner || this.#together.isTakenOver({ pk, sk: item!['sk'] as string });
  }

  async take(
    { tenant, clientId }: Pick<OwnRecord, 'tenant' | 'clientId'>,
    says: Owner,
    takenFrom?: Owner,
  ): Promise<number | undefined> {
    const epoch = Math.max(says.epoch, this.#epochOf(tenant)) + 1;
    const condition = saysThat(says);
    try {
      await this.#dynamo.update('sessions', sessionKey(tenant, clientId), {
        update: `SET #epoch = :next, #owner = :me ${takenFrom ? ', takenFrom = :from' : 'REMOVE takenFrom'}`,
        ...condition,
        values: {
          ...condition.values,
          ':next': epoch,
          ':me': this.#owner,
          ...(takenFrom && { ':from': takenFrom }),
        },
      });
      return epoch;
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      // It was written, and its answer was lost: nobody else writes that epoch for this broker.
      const found = await this.find(tenant, clientId);
      return found.owner === this.#owner && found.epoch === epoch ? epoch : undefined;
    }
  }

  /** Of a record that is not there. */
  #newEpoch(floor: number): number {
    return Math.max(epochAt(this.#clock.nowMs()), floor);
  }

  #claimFound(
    claim: Placed,
    born: number | undefined,
    floor: number,
    found: Pick<Found, 'owner' | 'epoch'>,
  ): Promise<Claimed> {
    const { condition, names, values } = saysThat(found);
    const next = (typeof found.epoch === 'number' ? Math.max(found.epoch, floor) : this.#newEpoch(floor)) + 1;
    return this.#claim(claim, born, ':next', { condition, names, values: { ...values, ':next': next } });
  }

  async #claim(
    claim: Placed,
    born: number | undefined,
    next: string,
    { condition, names: named, values: given }: Condition,
  ): Promise<Claimed> {
    const item = sessionToItem({ ...claim, owner: this.#owner, epoch: 0, born: born ?? 0 });
    const bornIs = born === undefined ? next : ':born';
    const { statement, attributes } = this.#wordsOf(item, next, bornIs, condition, named, Object.keys(given));
    const values: unknown[] = Object.values(given);
    if (born !== undefined) values.push(born);
    for (const name of attributes) values.push(item[name]);
    const options = { deadlineMs: claimDeadlineMs };
    const [epoch, itsBorn] = await this.#dynamo.carryOut('sessions', item, statement, values, options);
    return { epoch: epoch!, born: itsBorn! };
  }

  /** Clients of a broker come in few ways, and each has its words. */
  #wordsOf(
    item: Item,
    next: string,
    born: string,
    condition: string,
    named: Readonly<Record<string, string>>,
    given: readonly string[],
  ): ClaimWords {
    const isThere = (name: string): boolean => item[name] !== undefined;
    const key = `${optionalAttributes.filter(isThere).join()} ${next} ${born} ${condition}`;
    const known = this.#claims.get(key);
    if (known) return known;
    const attributes = Object.keys(item).filter((name) => isThere(name) && !notSetAsTheyAre.includes(name));
    const names: Record<string, string> = { ...named, '#epoch': 'epoch', '#born': 'born', '#owner': 'owner' };
    attributes.forEach((name, i) => (names[`#f${i}`] = name));
    const gone = optionalAttributes.filter((name) => !isThere(name));
    gone.forEach((name, i) => (names[`#r${i}`] = name));
    const update =
      `SET #epoch = ${next}, #born = ${born}, ${attributes.map((_, i) => `#f${i} = :f${i}`).join(', ')} ` +
      `REMOVE ${gone.map((_, i) => `#r${i}`).join(', ')}`;
    const places = [...given, ...(born === ':born' ? [born] : []), ...attributes.map((_, i) => `:f${i}`)];
    const numbers = ['epoch', 'born'];
    const words = { statement: new Statement({ update, names, condition, places, numbers }), attributes };
    this.#claims.set(key, words);
    return words;
  }

  /** Until it is written, removed, or somebody else's. */
  async release(record: OwnRecord): Promise<void> {
    for (let tries = 1; ; tries++)
      try {
        return await this.#release(record);
      } catch (error) {
        if (!(error instanceof ConditionFailed) && !mayPass(error)) throw error;
        if (tries === releaseTriesMax) throw error;
        await new Promise<void>((resolve) => this.#clock.after(500 * 2 ** tries, resolve));
      }
  }

  async #release(record: OwnRecord): Promise<void> {
    const { tenant, clientId, inheritedFrom, epoch } = record;
    const mine = { owner: this.#owner, epoch };
    try {
      return await this.#write(record, inheritedFrom ?? mine);
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      if (!inheritedFrom) return; // Somebody else has claimed it, or it has been removed.
    }
    const found = await this.find(tenant, clientId);
    if (typeof found.epoch !== 'number') return;
    // An attempt of this broker, whose answer was lost; or one that was late, of the broker before.
    if (found.owner === this.#owner && found.epoch === epoch) return await this.#write(record, mine);
    if (found.epoch < epoch && !(await this.isOthers(found.owner, found.pk))) await this.#write(record, found);
  }

  async #write(record: OwnRecord, found: Pick<Found, 'owner' | 'epoch'>): Promise<void> {
    const { owner, epoch } = found;
    const key = sessionKey(record.tenant, record.clientId);
    if (record.expirySeconds > 0)
      await this.#dynamo.put('sessions', sessionToItem({ ...record, owner: this.#owner }), {
        ...saysThat(found),
        canWait: true,
      });
    else if (owner !== undefined && epoch !== undefined)
      await this.#dynamo.carryOut('sessions', key, removal, [owner, epoch], { canWait: true });
    else await this.#dynamo.delete('sessions', key, { ...saysThat(found), canWait: true });
  }

  /** Does nothing when its condition does not hold: nothing depends on it. */
  async note(
    dynamo: Dynamo,
    { tenant, clientId, epoch, inheritedFrom, queuedMessages, droppedMessages }: OwnRecord,
  ): Promise<void> {
    const { condition, names, values } = saysThat(inheritedFrom ?? { owner: this.#owner, epoch });
    try {
      await dynamo.update('sessions', sessionKey(tenant, clientId), {
        update: 'SET queuedMessages = :queued, droppedMessages = :dropped',
        condition,
        names,
        values: { ...values, ':queued': queuedMessages, ':dropped': droppedMessages },
      });
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
    }
  }

  async find(scope: TenantScope, clientId: ClientId): Promise<Found> {
    const key = sessionKey(scope, clientId);
    const item = await this.#dynamo.get('sessions', key, { consistent: true });
    return { owner: item?.['owner'] as BrokerId | undefined, epoch: item?.['epoch'], item, pk: key.pk };
  }

  /** Whether the record is another broker's, which is alive or may be. */
  async isOthers(owner: BrokerId | undefined, pk: string): Promise<boolean> {
    if (owner === undefined || owner === this.#owner) return false;
    if (this.#together) {
      const whose = await this.#together.succession.whose(owner, pk, true);
      return whose === 'others' || whose === 'undecided';
    }
    return await this.isAlive(owner);
  }

  async isAlive(owner: BrokerId): Promise<boolean> {
    const lease = await this.#dynamo.get('cluster', brokerLeaseKey(owner), { consistent: true });
    return lease !== undefined && brokerLeaseFromItem(lease).leaseUntilMs > this.#clock.nowMs();
  }

  /** Writes this broker's name into a record of one of whom nothing is known. False: it has changed since, or somebody was faster. */
  async takeOver(key: TableKey, { owner, epoch }: Item): Promise<boolean> {
    const { condition, names, values } = saysThat({ owner: owner as BrokerId | undefined, epoch });
    const update = 'SET #owner = :me';
    const all = { ...values, ':me': this.#owner };
    try {
      await this.#dynamo.update('sessions', key, {
        update,
        condition,
        names: { ...names, '#owner': 'owner' },
        values: all,
      });
      return true;
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      const now = await this.#dynamo.get('sessions', key, { consistent: true });
      return now?.['owner'] === this.#owner && now['epoch'] === epoch; // The answer to an attempt was lost.
    }
  }

  /** Unless it has changed since. */
  async remove(scope: TenantScope, clientId: ClientId, found: Found): Promise<void> {
    await this.#dynamo.delete('sessions', sessionKey(scope, clientId), saysThat(found)).catch((error: unknown) => {
      if (!(error instanceof ConditionFailed)) throw error; // A later owner has it.
    });
  }
}

/** Of a record that is as it was read, and had both. */
const removal = new Statement({
  condition: '#owner = :owner AND #epoch = :epoch',
  names: { '#owner': 'owner', '#epoch': 'epoch' },
  places: [':owner', ':epoch'],
});

/** The record is as it was read. */
function saysThat({ owner, epoch }: Pick<Found, 'owner' | 'epoch'>): Condition {
  const is = (name: string, value: unknown): string =>
    value === undefined ? `attribute_not_exists(#${name})` : `#${name} = :${name}`;
  return {
    condition: `${is('owner', owner)} AND ${is('epoch', epoch)}`,
    names: { '#owner': 'owner', '#epoch': 'epoch' },
    values: { ...(owner !== undefined && { ':owner': owner }), ...(epoch !== undefined && { ':epoch': epoch }) },
  };
}
