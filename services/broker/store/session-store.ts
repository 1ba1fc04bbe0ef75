/**
 * All that is stored of sessions: the records of a tenant, page by page, and what is stored with one. How one record is written
 * is in `session-records.ts`.
 *
 * Epochs of a client id never repeat: a new record begins at the current time in hundredths of a second, and no client
 * is claimed that often for long. So what an earlier session of the client left (subscriptions, messages; its removal may have been cut
 * short) has an epoch below `born` of the present one, and is not read.
 */
import type { BrokerId, ClientId, Clock, TenantScope } from '../../kernel/kernel.js';
import { ConditionFailed, type Dynamo, DynamoUnavailable, type Item, type TableKey } from '../../dynamo/dynamo.js';
import {
  clientPartition,
  clientRoutes,
  epochAt,
  RecordUnreadable,
  sessionBuckets,
  sessionFromItem,
  slotOf,
  type SessionRecord,
  type WillContent,
} from '../../tenancy/tenancy.js';
import type {
  Claim,
  Claimed,
  Elsewhere,
  Inherited,
  Owner,
  SessionStore,
  StoredSession,
} from '../residence/residence.js';
import type { OwnRecord } from '../tenant/tenant.js';
import type { StoredRoute } from '../inbox/inbox.js';
import type { Contents } from '../session/session.js';
import { receivedFromItem, receivedKey, routeFromItem } from './inbox-item.js';
import { purgeMessages, readSummary } from './stored-messages.js';
import { Inheritance } from './inheritance.js';
import { SessionRecords } from './session-records.js';
import type { Succession } from './succession.js';
import { TenantNotes } from './tenant-notes.js';
import { willFromItem } from './will-item.js';

/** Of a tenant's 16 buckets, so many are read at the same time; each is a page of records, the next one, and all subscriptions. */
const bucketsAhead = 4;
/**
 * Of a page: some 250 KB as DynamoDB sends them, and 5 ms of the thread before anybody else has a turn. Pages of 1 MB come to 1 % of
 * the calls that there may be for a session, and several at once to a quarter of a second.
 */
const pageItems = 500;

export interface SessionTables {
  /** For the one record of a client that comes or leaves. */
  readonly records: Dynamo;
  /** For what may be much: all records of a tenant, and what is stored with one. */
  readonly contents: Dynamo;
}

export class DynamoSessionStore implements SessionStore {
  readonly #records: Dynamo;
  readonly #contents: Dynamo;
  readonly #clock: Clock;
  readonly #owner: BrokerId;
  readonly #notes: TenantNotes;
  /** Undefined: this broker serves alone, and has everything that dead ones have left. */
  readonly #inheritance: Inheritance | undefined;
  readonly #one: SessionRecords;
  /** Records of owners of whom nothing is known, which this broker has made its own and which are not here yet. */
  readonly #takenOver = new Set<string>();

  constructor({ records, contents }: SessionTables, owner: BrokerId, clock: Clock, succession?: Succession) {
    this.#records = records;
    this.#contents = contents;
    this.#owner = owner;
    this.#clock = clock;
    this.#notes = new TenantNotes(records, owner, clock);
    this.#inheritance = succession && new Inheritance(succession, this.#notes);
    const isTakenOver = (key: TableKey): boolean => this.#takenOver.has(textOf(key));
    this.#one = new SessionRecords(records, owner, clock, {
      epochOf: (scope) => this.#notes.epochOf(scope),
      ...(succession && { together: { succession, isTakenOver } }),
    });
  }

  async claim(
    claim: Claim,
    born: number | undefined,
    known?: OwnRecord,
    hasLooked = false,
  ): Promise<Claimed | Elsewhere> {
    return await this.#one.claim(claim, born, known, hasLooked);
  }

  async sessionOf(scope: TenantScope, clientId: ClientId): Promise<StoredSession | undefined> {
    const { item } = await this.#one.find(scope, clientId);
    if (!item) return undefined;
    const record = sessionFromItem(item);
    const routes: Item[] = [];
    for await (const page of this.#routePages(this.#records, scope, clientId)) routes.push(...page);
    return { record, routes: routesFrom(routes, record.born) };
  }

  async take(
    client: Pick<SessionRecord, 'tenant' | 'clientId'>,
    says: Owner,
    takenFrom?: Owner,
  ): Promise<number | undefined> {
    return await this.#one.take(client, says, takenFrom);
  }

  async isAlive(owner: BrokerId): Promise<boolean> {
    return await this.#one.isAlive(owner);
  }

  async will(scope: TenantScope, clientId: ClientId, willItem: string): Promise<WillContent | undefined> {
    const key = { pk: clientPartition(scope, clientId), sk: willItem };
    const item = await this.#contents.get('inbox', key, { consistent: true });
    return item && willFromItem(item);
  }

  async dropWill(scope: TenantScope, clientId: ClientId, willItem: string): Promise<void> {
    await this.#contents.delete('inbox', { pk: clientPartition(scope, clientId), sk: willItem });
  }

  async release(record: OwnRecord): Promise<void> {
    await this.#one.release(record);
  }

  async note(record: OwnRecord): Promise<void> {
    await this.#one.note(this.#contents, record);
  }

  async *sessions(
    scope: TenantScope,
    onUnreadable?: (clientId: ClientId, error: RecordUnreadable) => void,
  ): AsyncGenerator<readonly StoredSession[], void, void> {
    const buckets = this.#inheritance?.bucketsOf(scope) ?? sessionBuckets(scope);
    const ahead = buckets.map((pk) => () => this.#readBucket(pk));
    const reading = ahead.splice(0, bucketsAhead).map((read) => read());
    for (let bucket = reading.shift(); bucket; bucket = reading.shift()) {
      const next = ahead.shift();
      if (next) reading.push(next());
      const { pk, firstPage, routes } = bucket;
      const byClient = await routes;
      for (let page = await firstPage; ;) {
        const { items, next } = page;
        // Read while this one is used.
        const following = next && this.#sessionPage(pk, next);
        following?.catch(() => undefined); // Told when it is waited for.
        const sessions: StoredSession[] = [];
        let newest = 0;
        const records = this.#inheritance ? await this.#inherited(this.#inheritance.succession, items) : items;
        for (const item of records)
          try {
            const record = sessionFromItem(item);
            sessions.push({ record, routes: routesFrom(byClient.get(record.clientId), record.born) });
            newest = Math.max(newest, record.epoch);
          } catch (error) {
            if (!(error instanceof RecordUnreadable)) throw error;
            onUnreadable?.(item['sk'] as ClientId, error);
          }
        await this.#notes.raiseAbove(scope, newest);
        yield sessions;
        if (!following) break;
        page = await following;
      }
    }
  }

  /** Those of whom this broker is the effective owner, and that it has not had before. */
  async #inherited(succession: Succession, items: readonly Item[]): Promise<readonly Item[]> {
    const inherited: Item[] = [];
    for (const item of items) {
      const [owner, key] = [item['owner'] as BrokerId, { pk: item['pk'] as string, sk: item['sk'] as string }];
      if (owner === this.#owner) {
        if (this.#takenOver.has(textOf(key))) inherited.push(item);
        continue;
      }
      const whose = await succession.whose(owner, key.pk);
      if (whose === 'mine') inherited.push(item);
      if (whose !== 'nobodys' || !(await this.#one.takeOver(key, item))) continue;
      this.#takenOver.add(textOf(key));
      inherited.push({ ...item, owner: this.#owner });
    }
    return inherited;
  }

  /** Begins to read; whoever waits for it is told what goes wrong. */
  #readBucket(pk: string) {
    const [firstPage, routes] = [this.#sessionPage(pk, undefined), this.#routesByClient(pk)];
    for (const read of [firstPage, routes]) read.catch(() => undefined);
    return { pk, firstPage, routes };
  }

  #sessionPage(pk: string, from: Item | undefined) {
    return this.#contents.query('sessions', { pk, consistent: true, limit: pageItems, ...(from && { from }) });
  }

  async #routesByClient(pk: string): Promise<ReadonlyMap<string, Item[]>> {
    const byClient = new Map<string, Item[]>();
    for await (const items of this.#contents.queryAll('routes', { pk, consistent: true, limit: pageItems }))
      for (const item of items) {
        const client = item['client'] as string;
        const before = byClient.get(client);
        if (before) before.push(item);
        else byClient.set(client, [item]);
      }
    return byClient;
  }

  inherit({ tenant, owner, epoch }: SessionRecord): Inherited {
    return { epoch: this.#notes.epochOf(tenant), inheritedFrom: { owner, epoch } };
  }

  async load({ tenant, clientId, epoch, born }: OwnRecord, isClientThere = false): Promise<Contents> {
    const pk = clientPartition(tenant, clientId);
    const dynamo = isClientThere ? this.#records : this.#contents;
    const { count, origins, received } = await readSummary(dynamo, pk, born, epoch);
    return {
      received: receivedFromItem(received, born),
      stored: { messages: count, origins: origins.map(({ origin }) => origin) },
    };
  }

  async purge(scope: TenantScope, clientId: ClientId, bornBelow: number): Promise<void> {
    const pk = clientPartition(scope, clientId);
    const older = { condition: '#epoch < :born', names: { '#epoch': 'epoch' }, values: { ':born': bornBelow } };
    const remove = async (table: 'routes' | 'inbox', key: TableKey): Promise<void> => {
      await this.#contents.delete(table, key, older).catch((error: unknown) => {
        if (!(error instanceof ConditionFailed)) throw error;
      });
    };
    for await (const page of this.#routePages(this.#contents, scope, clientId))
      await Promise.all(page.map((item) => remove('routes', { pk: item['pk'] as string, sk: item['sk'] as string })));
    await remove('inbox', { pk, sk: receivedKey });
    await purgeMessages(this.#contents, pk, bornBelow);
  }

  #routePages(dynamo: Dynamo, scope: TenantScope, clientId: ClientId): AsyncIterable<Item[]> {
    const { pk, prefix } = clientRoutes(scope, clientId);
    return dynamo.queryAll('routes', { pk, sk: { beginsWith: prefix }, consistent: true });
  }

  async discard(scope: TenantScope, clientId: ClientId, born: number | undefined): Promise<boolean> {
    const found = await this.#one.find(scope, clientId);
    const { item, owner, epoch } = found;
    if (!item) return true;
    const itsBorn = item['born'];
    if (born !== undefined && typeof itsBorn === 'number' && itsBorn > born) return true;
    if (this.#inheritance) {
      if (!(await this.#isToBeDiscarded(this.#inheritance.succession, owner, found.pk))) return false;
    } else if (await this.#one.isOthers(owner, found.pk)) return false;
    const last = typeof epoch === 'number' ? epoch : epochAt(this.#clock.nowMs());
    await this.purge(scope, clientId, Math.max(last, this.#notes.epochOf(scope)) + 1);
    await this.#one.remove(scope, clientId, found);
    return true;
  }

  /** Where brokers serve together, its owner does that. Throws as long as nobody knows who that is, or it is this broker and has not read it. */
  async #isToBeDiscarded(succession: Succession, owner: BrokerId | undefined, pk: string): Promise<boolean> {
    if (owner === undefined || owner === this.#owner) return true;
    const whose = await succession.whose(owner, pk, true);
    const isDue = [...succession.due.values()].some(({ slots }) => slots.has(slotOf(pk)));
    if (whose === 'undecided' || (whose === 'mine' && isDue))
      throw new DynamoUnavailable('the session is not adopted yet');
    return whose !== 'others';
  }

  async enter(scope: TenantScope, clientId?: ClientId): Promise<boolean> {
    return await (this.#inheritance ? this.#inheritance.enter(scope, clientId) : this.#notes.enter(scope));
  }

  entered(scope: TenantScope): void {
    if (!this.#inheritance) return this.#notes.entered(scope);
    this.#inheritance.entered(scope);
    for (const pk of sessionBuckets(scope))
      for (const key of this.#takenOver) if (key.startsWith(`${pk} `)) this.#takenOver.delete(key);
  }

  async scopesOf(owner: BrokerId): Promise<readonly TenantScope[]> {
    return await (this.#inheritance ?? this.#notes).scopesOf(owner);
  }

  async forget(owner: BrokerId): Promise<void> {
    await (this.#inheritance ? this.#inheritance.adopted(owner) : this.#notes.remove(owner));
  }
}

const textOf = ({ pk, sk }: TableKey): string => `${pk} ${sk}`;

function routesFrom(items: readonly Item[] | undefined, born: number): readonly StoredRoute[] {
  const routes: StoredRoute[] = [];
  for (const item of items ?? []) {
    const route = routeFromItem(item, born);
    if (route) routes.push(route);
  }
  return routes;
}
