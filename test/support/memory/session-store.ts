/** `SessionStore` in memory, with the conditions of the real one. */
import type {
  Claim,
  Claimed,
  Elsewhere,
  Inherited,
  Owner,
  SessionStore,
  StoredSession,
} from '../../../services/broker/residence/residence.js';
import type { OwnRecord } from '../../../services/broker/tenant/tenant.js';
import type { ReceivedState, StoredRoute } from '../../../services/broker/inbox/inbox.js';
import type { Contents } from '../../../services/broker/session/session.js';
import type { BrokerId, ClientId, Clock, TenantScope } from '../../../services/kernel/kernel.js';
import { willKeysFrom, willPlace } from '../../../services/broker/store/store.js';
import {
  clientPartition,
  epochAt,
  NotHereYet,
  type SessionRecord,
  type WillContent,
} from '../../../services/tenancy/tenancy.js';
import type { SessionTables } from './session-tables.js';

const recordsPerPage = 2;
const lateClaimsMax = 16;
/** As keys of messages begin. */
const keyFrom = (epoch: number): string => `m${epoch.toString(16).padStart(10, '0')}`;

export class MemorySessionStore implements SessionStore {
  readonly #tables: SessionTables;
  readonly #owner: BrokerId;
  readonly #clock: Clock;
  readonly #isAlive: (owner: BrokerId) => boolean;
  readonly #isTogether: boolean;
  /** Tenants of which others had records, until they are here. */
  readonly #left = new Set<TenantScope>();
  /** As in the notes of the real one. */
  readonly #epochs = new Map<TenantScope, number>();
  readonly #entered = new Set<TenantScope>();

  constructor(
    tables: SessionTables,
    owner: BrokerId,
    clock: Clock,
    isAlive: (owner: BrokerId) => boolean = () => false,
    /** Others serve at the same time; what one of them leaves is everybody's who comes first. */
    isTogether = false,
  ) {
    this.#isTogether = isTogether;
    this.#tables = tables;
    this.#owner = owner;
    this.#clock = clock;
    this.#isAlive = isAlive;
  }

  async claim(
    claim: Claim,
    born: number | undefined,
    known?: OwnRecord,
    hasLooked = false,
  ): Promise<Claimed | Elsewhere> {
    await Promise.resolve();
    const partition = clientPartition(claim.tenant, claim.clientId);
    const willItem = this.#placeWill(claim, born === undefined ? undefined : known, partition);
    const before = this.#tables.records.get(partition);
    if (before && before.owner !== this.#owner) {
      if (this.#isAlive(before.owner)) return { owner: before.owner, epoch: before.epoch, isAlive: true };
      if (this.#isTogether && !known && !hasLooked) throw new NotHereYet();
    }
    const floor = Math.max(this.#epochOf(claim.tenant), known?.epoch ?? 0);
    const epoch = Math.max(before?.epoch ?? epochAt(this.#clock.nowMs()), floor) + 1;
    const claimed = { epoch, born: born ?? epoch, ...(willItem !== undefined && { willItem }) };
    this.#tables.records.set(partition, withoutContent({ ...claim, ...claimed, owner: this.#owner }));
    return claimed;
  }

  async sessionOf(scope: TenantScope, clientId: ClientId): Promise<StoredSession | undefined> {
    await Promise.resolve();
    const partition = clientPartition(scope, clientId);
    const record = this.#tables.records.get(partition);
    return record && { record, routes: this.#routesOf(partition, record.born) };
  }

  async take(
    { tenant, clientId }: Pick<SessionRecord, 'tenant' | 'clientId'>,
    says: Owner,
    takenFrom?: Owner,
  ): Promise<number | undefined> {
    await Promise.resolve();
    const partition = clientPartition(tenant, clientId);
    const stored = this.#tables.records.get(partition);
    if (stored?.owner !== says.owner || stored.epoch !== says.epoch) return undefined;
    const epoch = Math.max(says.epoch, this.#epochOf(tenant)) + 1;
    const { takenFrom: _, ...rest } = stored;
    this.#tables.records.set(partition, { ...rest, owner: this.#owner, epoch, ...(takenFrom && { takenFrom }) });
    return epoch;
  }

  async isAlive(owner: BrokerId): Promise<boolean> {
    await Promise.resolve();
    return owner !== this.#owner && this.#isAlive(owner);
  }

  #routesOf(partition: string, born: number): readonly StoredRoute[] {
    const routes = [...this.#tables.routes(partition).values()];
    return routes.filter(({ epoch }) => epoch >= born).map(({ route }) => route);
  }

  #placeWill(claim: Claim, goesOn: OwnRecord | undefined, partition: string): string | undefined {
    const since = this.#epochOf(claim.tenant);
    const epoch = Math.max(epochAt(this.#clock.nowMs()), since, goesOn?.epoch ?? 0) + 1;
    const place = willPlace(claim, goesOn, { epoch, since }, this.#clock.nowMs());
    const { payload, properties } = claim.will ?? {};
    if (place && !place.isThere)
      open(this.#tables.wills, partition).set(place.key, { payload: payload!, properties: properties! });
    return place?.key;
  }

  async will(scope: TenantScope, clientId: ClientId, willItem: string): Promise<WillContent | undefined> {
    await Promise.resolve();
    return this.#tables.wills.get(clientPartition(scope, clientId))?.get(willItem);
  }

  async dropWill(scope: TenantScope, clientId: ClientId, willItem: string): Promise<void> {
    await Promise.resolve();
    this.#tables.wills.get(clientPartition(scope, clientId))?.delete(willItem);
  }

  async release(record: OwnRecord): Promise<void> {
    await Promise.resolve();
    const partition = clientPartition(record.tenant, record.clientId);
    const stored = this.#tables.records.get(partition);
    if (!stored || (!this.#isOwn(stored, record) && !this.#isInherited(stored, record))) return;
    if (record.expirySeconds === 0) return void this.#tables.records.delete(partition);
    const { inheritedFrom: _, ...written } = record;
    this.#tables.records.set(partition, withoutContent({ ...written, owner: this.#owner }));
  }

  #isOwn({ owner, epoch }: SessionRecord, record: OwnRecord): boolean {
    return owner === this.#owner && epoch === record.epoch;
  }

  /** As it was read, or as its last owner has written it late. */
  #isInherited({ owner, epoch }: SessionRecord, record: OwnRecord): boolean {
    const isOthers = owner !== this.#owner && this.#isAlive(owner);
    return record.inheritedFrom !== undefined && epoch < record.epoch && !isOthers;
  }

  async note(record: OwnRecord): Promise<void> {
    await Promise.resolve();
    const { tenant, clientId, epoch, inheritedFrom, queuedMessages, droppedMessages } = record;
    const partition = clientPartition(tenant, clientId);
    const stored = this.#tables.records.get(partition);
    const says = inheritedFrom ?? { owner: this.#owner, epoch };
    if (stored?.owner === says.owner && stored.epoch === says.epoch)
      this.#tables.records.set(partition, { ...stored, queuedMessages, droppedMessages });
  }

  async *sessions(tenant: TenantScope): AsyncGenerator<readonly StoredSession[], void, void> {
    const all = [...this.#tables.records.values()].filter(
      ({ tenant: scope, owner }) =>
        scope === tenant && (!this.#isTogether || owner === this.#owner || !this.#isAlive(owner)),
    );
    for (let at = 0; at < all.length; at += recordsPerPage) {
      await Promise.resolve();
      this.#raise(tenant, Math.max(...all.slice(at, at + recordsPerPage).map(({ epoch }) => epoch)));
      yield all.slice(at, at + recordsPerPage).map((record) => {
        const routes = this.#routesOf(clientPartition(tenant, record.clientId), record.born);
        return { record, routes };
      });
    }
  }

  #epochOf(scope: TenantScope): number {
    return this.#epochs.get(scope) ?? 0;
  }

  #raise(scope: TenantScope, above: number): void {
    if (above + lateClaimsMax < this.#epochOf(scope)) return;
    const epoch = above + lateClaimsMax + 1;
    this.#epochs.set(scope, epoch);
    open(this.#tables.notes, this.#owner).set(scope, epoch);
  }

  inherit({ tenant, owner, epoch }: SessionRecord): Inherited {
    return { epoch: this.#epochOf(tenant), inheritedFrom: { owner, epoch } };
  }

  async load({ tenant, clientId, epoch, born }: OwnRecord, _isClientThere?: boolean): Promise<Contents> {
    await Promise.resolve();
    const partition = clientPartition(tenant, clientId);
    const received = this.#tables.received(partition);
    const items = this.#tables.items(partition).filter(({ key }) => key >= keyFrom(born) && key < keyFrom(epoch));
    return {
      received:
        received && received.epoch >= born
          ? withoutEpoch(received)
          : { packetIds: [], settled: { epoch: born, number: 0 } },
      stored: {
        messages: items.reduce((sum, { messages }) => sum + messages.length, 0),
        origins: items.flatMap(({ messages }) => messages.map(({ origin }) => origin)).filter((origin) => !!origin),
      },
    };
  }

  async purge(tenant: TenantScope, clientId: ClientId, bornBelow: number): Promise<void> {
    await Promise.resolve();
    const partition = clientPartition(tenant, clientId);
    const routes = this.#tables.routes(partition);
    for (const [filter, { epoch }] of routes) if (epoch < bornBelow) routes.delete(filter);
    if ((this.#tables.received(partition)?.epoch ?? Infinity) < bornBelow) this.#tables.forgetReceived(partition);
    for (const { key } of this.#tables.items(partition))
      if (key < keyFrom(bornBelow)) this.#tables.write(partition, { kind: 'delete', key });
    const wills = open(this.#tables.wills, partition);
    for (const key of wills.keys()) if (key < willKeysFrom(bornBelow)) wills.delete(key);
  }

  async discard(tenant: TenantScope, clientId: ClientId, born: number | undefined): Promise<boolean> {
    const partition = clientPartition(tenant, clientId);
    const stored = this.#tables.records.get(partition);
    if (!stored || (born !== undefined && stored.born > born)) return true;
    if (stored.owner !== this.#owner && this.#isAlive(stored.owner)) return false;
    await this.purge(tenant, clientId, Math.max(stored.epoch, this.#epochOf(tenant)) + 1);
    if (this.#tables.records.get(partition)?.epoch === stored.epoch) this.#tables.records.delete(partition);
    return true;
  }

  async enter(scope: TenantScope, clientId?: ClientId): Promise<boolean> {
    await Promise.resolve();
    const noted = [...this.#tables.notes].flatMap(([owner, scopes]) =>
      owner === this.#owner ? [] : (scopes.get(scope) ?? []),
    );
    const isNoted = noted.length > 0;
    const records = [...this.#tables.records.values()];
    // Also of a broker that a test has not let enter.
    const isLeft = isNoted || records.some(({ tenant, owner }) => tenant === scope && owner !== this.#owner);
    if (isLeft && (clientId !== undefined || !this.#entered.has(scope))) this.#left.add(scope);
    const base = Math.max(epochAt(this.#clock.nowMs()), this.#epochOf(scope));
    if (this.#left.has(scope)) this.#raise(scope, Math.max(base, ...noted));
    else if (!this.#epochs.has(scope)) this.#epochs.set(scope, base);
    open(this.#tables.notes, this.#owner).set(scope, this.#epochOf(scope));
    return this.#left.has(scope);
  }

  entered(scope: TenantScope): void {
    this.#left.delete(scope);
    this.#entered.add(scope);
  }

  async forget(owner: BrokerId): Promise<void> {
    await Promise.resolve();
    this.#tables.notes.delete(owner);
  }

  async scopesOf(owner: BrokerId): Promise<readonly TenantScope[]> {
    await Promise.resolve();
    const owned = [...this.#tables.records.values()].filter((record) => record.owner === owner);
    return [...new Set([...owned.map(({ tenant }) => tenant), ...(this.#tables.notes.get(owner)?.keys() ?? [])])];
  }
}

/** As an item of it is. */
function withoutContent(record: SessionRecord): SessionRecord {
  if (record.willItem === undefined || !record.will) return record;
  const { payload: _, properties: __, ...will } = record.will;
  return { ...record, will };
}

function open<K, T, V>(maps: Map<K, Map<T, V>>, key: K): Map<T, V> {
  let map = maps.get(key);
  if (!map) maps.set(key, (map = new Map()));
  return map;
}

function withoutEpoch({ epoch: _, ...state }: ReceivedState & { readonly epoch: number }): ReceivedState {
  return state;
}
