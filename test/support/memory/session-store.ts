/** `SessionStore` in memory, with the conditions of the real one. */
import type { Claim, SessionStore, StoredSession } from '../../../services/broker/residence/residence.js';
import type { OwnRecord } from '../../../services/broker/tenant/tenant.js';
import type { ReceivedState } from '../../../services/broker/inbox/inbox.js';
import type { Restored } from '../../../services/broker/session/session.js';
import type { BrokerId, ClientId, Clock, TenantScope } from '../../../services/kernel/kernel.js';
import { clientPartition, epochAt, type SessionRecord } from '../../../services/tenancy/tenancy.js';
import type { SessionTables } from './session-tables.js';

const recordsPerPage = 2;
/** As keys of messages begin. */
const keyFrom = (epoch: number): string => `m${epoch.toString(16).padStart(10, '0')}`;

export class MemorySessionStore implements SessionStore {
  readonly #tables: SessionTables;
  readonly #owner: BrokerId;
  readonly #clock: Clock;
  readonly #isAlive: (owner: BrokerId) => boolean;
  /** Tenants of which others had records, until they are here. */
  readonly #left = new Set<TenantScope>();
  readonly #entered = new Set<TenantScope>();

  constructor(
    tables: SessionTables,
    owner: BrokerId,
    clock: Clock,
    isAlive: (owner: BrokerId) => boolean = () => false,
  ) {
    this.#tables = tables;
    this.#owner = owner;
    this.#clock = clock;
    this.#isAlive = isAlive;
  }

  async claim(claim: Claim, born: number | undefined): Promise<{ epoch: number; born: number }> {
    await Promise.resolve();
    const partition = clientPartition(claim.tenant, claim.clientId);
    const before = this.#tables.records.get(partition);
    if (before && before.owner !== this.#owner && this.#isAlive(before.owner))
      throw new Error('another broker that is alive owns the session');
    const epoch = (before?.epoch ?? epochAt(this.#clock.nowMs())) + 1;
    const claimed = { epoch, born: born ?? epoch };
    this.#tables.records.set(partition, { ...claim, ...claimed, owner: this.#owner });
    return claimed;
  }

  async release(record: OwnRecord): Promise<void> {
    await Promise.resolve();
    const partition = clientPartition(record.tenant, record.clientId);
    const stored = this.#tables.records.get(partition);
    if (stored?.owner !== this.#owner || stored.epoch !== record.epoch) return;
    if (record.expirySeconds === 0) this.#tables.records.delete(partition);
    else this.#tables.records.set(partition, { ...record, owner: this.#owner });
  }

  async note({ tenant, clientId, epoch, queuedMessages, droppedMessages }: OwnRecord): Promise<void> {
    await Promise.resolve();
    const partition = clientPartition(tenant, clientId);
    const stored = this.#tables.records.get(partition);
    if (stored?.owner === this.#owner && stored.epoch === epoch)
      this.#tables.records.set(partition, { ...stored, queuedMessages, droppedMessages });
  }

  async *sessions(tenant: TenantScope): AsyncGenerator<readonly StoredSession[], void, void> {
    const all = [...this.#tables.records.values()].filter((record) => record.tenant === tenant);
    for (let at = 0; at < all.length; at += recordsPerPage) {
      await Promise.resolve();
      yield all.slice(at, at + recordsPerPage).map((record) => {
        const routes = [...this.#tables.routes(clientPartition(tenant, record.clientId)).values()];
        return { record, routes: routes.filter(({ epoch }) => epoch >= record.born).map(({ route }) => route) };
      });
    }
  }

  async adopt(record: SessionRecord, change: Partial<SessionRecord>): Promise<OwnRecord | undefined> {
    await Promise.resolve();
    const partition = clientPartition(record.tenant, record.clientId);
    const stored = this.#tables.records.get(partition);
    const epoch = record.epoch + 1;
    const isAsRead = stored?.owner === record.owner && stored.epoch === record.epoch;
    const isOwnAttempt = stored?.owner === this.#owner && stored.epoch === epoch;
    if (!isAsRead && !isOwnAttempt) return undefined;
    const adopted = { ...record, ...change, owner: this.#owner, epoch };
    this.#tables.records.set(partition, adopted);
    return adopted;
  }

  async load({ tenant, clientId, epoch, born, droppedMessages }: OwnRecord): Promise<Omit<Restored, 'routes'>> {
    await Promise.resolve();
    const partition = clientPartition(tenant, clientId);
    const received = this.#tables.received(partition);
    const items = this.#tables.items(partition).filter(({ key }) => key >= keyFrom(born));
    return {
      epoch,
      born,
      received:
        received && received.epoch >= born
          ? withoutEpoch(received)
          : { packetIds: [], settled: { epoch: born, number: 0 } },
      stored: {
        messages: items.reduce((sum, { messages }) => sum + messages.length, 0),
        origins: items.flatMap(({ messages }) => messages.map(({ origin }) => origin)).filter((origin) => !!origin),
      },
      droppedMessages,
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
  }

  async discard(tenant: TenantScope, clientId: ClientId, born: number | undefined): Promise<void> {
    const partition = clientPartition(tenant, clientId);
    const stored = this.#tables.records.get(partition);
    if (!stored || (born !== undefined && stored.born > born)) return;
    if (stored.owner !== this.#owner && this.#isAlive(stored.owner))
      throw new Error('another broker that is alive owns the session');
    await this.purge(tenant, clientId, stored.epoch + 1);
    if (this.#tables.records.get(partition)?.epoch === stored.epoch) this.#tables.records.delete(partition);
  }

  async enter(scope: TenantScope): Promise<boolean> {
    await Promise.resolve();
    const isNoted = [...this.#tables.notes].some(([owner, scopes]) => owner !== this.#owner && scopes.has(scope));
    const records = [...this.#tables.records.values()];
    // Also of a broker that a test has not let enter.
    const isLeft = isNoted || records.some(({ tenant, owner }) => tenant === scope && owner !== this.#owner);
    this.#tables.notes.set(this.#owner, (this.#tables.notes.get(this.#owner) ?? new Set()).add(scope));
    if (isLeft && !this.#entered.has(scope)) this.#left.add(scope);
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
    return [...new Set([...owned.map(({ tenant }) => tenant), ...(this.#tables.notes.get(owner) ?? [])])];
  }
}

function withoutEpoch({ epoch: _, ...state }: ReceivedState & { readonly epoch: number }): ReceivedState {
  return state;
}
