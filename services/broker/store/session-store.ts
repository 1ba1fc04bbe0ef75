/**
 * The durable record of each session, and what is stored with it. Owner and epoch decide who may write: a claim or an
 * adoption raises the epoch, and every later write of an older one finds its condition unmet and does nothing.
 *
 * Epochs of a client id never repeat: a new record begins at the current time in hundredths of a second, and no client
 * is claimed that often for long. So what an earlier session of the client left (subscriptions, messages; its removal may have been cut
 * short) has an epoch below `born` of the present one, and is not read.
 */
import type { BrokerId, ClientId, Clock, TenantScope } from '../../kernel/kernel.js';
import {
  ConditionFailed,
  type Dynamo,
  DynamoRejected,
  DynamoUnavailable,
  type Item,
  mayPass,
  type TableKey,
} from '../../dynamo/dynamo.js';
import {
  brokerLeaseFromItem,
  brokerLeaseKey,
  clientPartition,
  clientRoutes,
  epochAt,
  RecordUnreadable,
  sessionBuckets,
  sessionFromItem,
  sessionKey,
  type SessionRecord,
  sessionToItem,
} from '../../tenancy/tenancy.js';
import type { Claim, SessionStore, StoredSession } from '../residence/residence.js';
import type { OwnRecord } from '../tenant/tenant.js';
import type { StoredRoute } from '../inbox/inbox.js';
import type { Restored } from '../session/session.js';
import { receivedFromItem, receivedKey, routeFromItem } from './inbox-item.js';
import { purgeMessages, readSummary } from './stored-messages.js';
import { TenantNotes } from './tenant-notes.js';

/** What only some records have, and a claim that does not set it takes away. */
const optionalAttributes = ['disconnectedAtMs', 'sdk', 'ttl', 'will', 'willAtMs', 'willEpoch'];
/** A release that DynamoDB does not take is tried again for about half a minute; the lease tells the rest. */
const releaseTriesMax = 6;
/** A client that waits for CONNACK gives up soon after. */
const claimDeadlineMs = 4000;

/** Of a tenant's 16 buckets, so many are read at the same time; each is a page of records and all subscriptions. */
const bucketsAhead = 4;

export interface SessionTables {
  /** For the one record of a client that comes or leaves. */
  readonly records: Dynamo;
  /** For what may be much: all records of a tenant, and what is stored with one. */
  readonly contents: Dynamo;
}

export class DynamoSessionStore implements SessionStore {
  readonly #records: Dynamo;
  readonly #contents: Dynamo;
  readonly #owner: BrokerId;
  readonly #clock: Clock;
  readonly #notes: TenantNotes;

  constructor({ records, contents }: SessionTables, owner: BrokerId, clock: Clock) {
    this.#records = records;
    this.#contents = contents;
    this.#owner = owner;
    this.#clock = clock;
    this.#notes = new TenantNotes(records, owner);
  }

  async claim(claim: Claim, born: number | undefined): Promise<{ epoch: number; born: number }> {
    try {
      return await this.#claim(claim, born, this.#owner);
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      return await this.#claim(claim, born, await this.#deadOwner(claim));
    }
  }

  async #claim(claim: Claim, born: number | undefined, owner: BrokerId): Promise<{ epoch: number; born: number }> {
    const item = sessionToItem({ ...claim, owner: this.#owner, epoch: 0, born: born ?? 0 });
    const { pk, sk, epoch: _, born: __, ...fields } = item;
    const names: Record<string, string> = { '#epoch': 'epoch', '#born': 'born', '#owner': 'owner' };
    const values: Record<string, unknown> = {
      ':base': epochAt(this.#clock.nowMs()),
      ':one': 1,
      ':from': owner,
      ...(born !== undefined && { ':born': born }),
    };
    const sets = Object.entries(fields).map(([name, value], i) => {
      names[`#f${i}`] = name;
      values[`:f${i}`] = value;
      return `#f${i} = :f${i}`;
    });
    const gone = optionalAttributes.filter((name) => !(name in fields));
    gone.forEach((name, i) => (names[`#r${i}`] = name));
    const next = 'if_not_exists(#epoch, :base) + :one';
    const update =
      `SET #epoch = ${next}, #born = ${born === undefined ? next : ':born'}, ${sets.join(', ')} ` +
      `REMOVE ${gone.map((_, i) => `#r${i}`).join(', ')}`;
    const claimed = await this.#records.update(
      'sessions',
      { pk, sk },
      {
        update,
        names,
        values,
        condition: 'attribute_not_exists(#owner) OR #owner = :from',
        returns: 'new',
        deadlineMs: claimDeadlineMs,
      },
    );
    return { epoch: claimed!['epoch'] as number, born: claimed!['born'] as number };
  }

  /** The owner of a record that is not ours, if its broker is not alive any more. */
  async #deadOwner({ tenant, clientId }: Pick<Claim, 'tenant' | 'clientId'>): Promise<BrokerId> {
    const item = await this.#records.get('sessions', sessionKey(tenant, clientId), { consistent: true });
    const owner = (item?.['owner'] as BrokerId | undefined) ?? this.#owner;
    const lease = await this.#records.get('cluster', brokerLeaseKey(owner), { consistent: true });
    if (lease && brokerLeaseFromItem(lease).leaseUntilMs > this.#clock.nowMs())
      throw new DynamoUnavailable('another broker that is alive owns the session');
    return owner;
  }

  async release(record: OwnRecord): Promise<void> {
    for (let tries = 1; ; tries++)
      try {
        return await this.#release(record);
      } catch (error) {
        if (error instanceof ConditionFailed) return; // Somebody else has claimed it, or it has been removed.
        if (!mayPass(error) || tries === releaseTriesMax) throw error;
        await new Promise<void>((resolve) => this.#clock.after(500 * 2 ** tries, resolve));
      }
  }

  async #release(record: OwnRecord): Promise<void> {
    const key = sessionKey(record.tenant, record.clientId);
    const condition = '#owner = :owner AND #epoch = :epoch';
    const names = { '#owner': 'owner', '#epoch': 'epoch' };
    const values = { ':owner': this.#owner, ':epoch': record.epoch };
    const options = { condition, names, values, canWait: true };
    if (record.expirySeconds === 0) await this.#records.delete('sessions', key, options);
    else {
      const item = sessionToItem({ ...record, owner: this.#owner });
      await this.#records.put('sessions', item, options);
    }
  }

  async note({ tenant, clientId, epoch, queuedMessages, droppedMessages }: OwnRecord): Promise<void> {
    try {
      await this.#contents.update('sessions', sessionKey(tenant, clientId), {
        update: 'SET queuedMessages = :queued, droppedMessages = :dropped',
        condition: '#owner = :owner AND #epoch = :epoch',
        names: { '#owner': 'owner', '#epoch': 'epoch' },
        values: { ':queued': queuedMessages, ':dropped': droppedMessages, ':owner': this.#owner, ':epoch': epoch },
      });
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
    }
  }

  async *sessions(
    scope: TenantScope,
    onUnreadable?: (clientId: ClientId, error: RecordUnreadable) => void,
  ): AsyncGenerator<readonly StoredSession[], void, void> {
    const ahead = sessionBuckets(scope).map((pk) => () => this.#readBucket(pk));
    const reading = ahead.splice(0, bucketsAhead).map((read) => read());
    for (let bucket = reading.shift(); bucket; bucket = reading.shift()) {
      const next = ahead.shift();
      if (next) reading.push(next());
      const { pk, firstPage, routes } = bucket;
      const byClient = await routes;
      const readable = (item: Item): readonly StoredSession[] => {
        const clientId = item['sk'] as ClientId;
        try {
          const record = sessionFromItem(item);
          return [{ record, routes: routesFrom(byClient.get(clientId) ?? [], record.born) }];
        } catch (error) {
          if (!(error instanceof RecordUnreadable)) throw error;
          onUnreadable?.(clientId, error);
          return [];
        }
      };
      for (let page = await firstPage; ; page = await this.#sessionPage(pk, page.next)) {
        yield page.items.flatMap(readable);
        if (!page.next) break;
      }
    }
  }

  /** Begins to read; whoever waits for it is told what goes wrong. */
  #readBucket(pk: string) {
    const [firstPage, routes] = [this.#sessionPage(pk, undefined), this.#routesByClient(pk)];
    for (const read of [firstPage, routes]) read.catch(() => undefined);
    return { pk, firstPage, routes };
  }

  #sessionPage(pk: string, from: Item | undefined) {
    return this.#contents.query('sessions', { pk, consistent: true, ...(from && { from }) });
  }

  async #routesByClient(pk: string): Promise<ReadonlyMap<string, Item[]>> {
    const byClient = new Map<string, Item[]>();
    for await (const items of this.#contents.queryAll('routes', { pk, consistent: true }))
      for (const item of items) {
        const client = item['client'] as string;
        const before = byClient.get(client);
        if (before) before.push(item);
        else byClient.set(client, [item]);
      }
    return byClient;
  }

  async adopt(record: SessionRecord, change: Partial<SessionRecord>): Promise<OwnRecord | undefined> {
    const adopted = { ...record, ...change, owner: this.#owner, epoch: record.epoch + 1 };
    try {
      await this.#records.put('sessions', sessionToItem(adopted), {
        // Its own earlier attempt, whose answer was lost, counts.
        condition: '#owner = :owner AND #epoch = :epoch OR #owner = :me AND #epoch = :next',
        names: { '#owner': 'owner', '#epoch': 'epoch' },
        values: { ':owner': record.owner, ':epoch': record.epoch, ':me': this.#owner, ':next': adopted.epoch },
      });
      return adopted;
    } catch (error) {
      if (error instanceof ConditionFailed) return undefined;
      if (error instanceof DynamoRejected)
        throw new RecordUnreadable('stored session: it cannot be written again', { cause: error });
      throw error;
    }
  }

  async load({ tenant, clientId, epoch, born, droppedMessages }: OwnRecord): Promise<Omit<Restored, 'routes'>> {
    const pk = clientPartition(tenant, clientId);
    const { count, origins, received } = await readSummary(this.#contents, pk, born);
    return {
      epoch,
      born,
      received: receivedFromItem(received, born),
      stored: { messages: count, origins: origins.map(({ origin }) => origin) },
      droppedMessages,
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
    for await (const page of this.#routePages(scope, clientId))
      await Promise.all(page.map((item) => remove('routes', { pk: item['pk'] as string, sk: item['sk'] as string })));
    await remove('inbox', { pk, sk: receivedKey });
    await purgeMessages(this.#contents, pk, bornBelow);
  }

  #routePages(scope: TenantScope, clientId: ClientId): AsyncIterable<Item[]> {
    const { pk, prefix } = clientRoutes(scope, clientId);
    return this.#contents.queryAll('routes', { pk, sk: { beginsWith: prefix }, consistent: true });
  }

  async discard(scope: TenantScope, clientId: ClientId, born: number | undefined): Promise<void> {
    const key = sessionKey(scope, clientId);
    const item = await this.#records.get('sessions', key, { consistent: true });
    if (!item) return;
    const { owner, epoch, born: itsBorn } = item;
    if (born !== undefined && typeof itsBorn === 'number' && itsBorn > born) return;
    if (owner !== this.#owner) await this.#deadOwner({ tenant: scope, clientId });
    await this.purge(scope, clientId, (typeof epoch === 'number' ? epoch : epochAt(this.#clock.nowMs())) + 1);
    const isAsRead = (name: string, value: unknown): string =>
      value === undefined ? `attribute_not_exists(#${name})` : `#${name} = :${name}`;
    const unchanged = {
      condition: `${isAsRead('owner', owner)} AND ${isAsRead('epoch', epoch)}`,
      names: { '#owner': 'owner', '#epoch': 'epoch' },
      values: { ...(owner !== undefined && { ':owner': owner }), ...(epoch !== undefined && { ':epoch': epoch }) },
    };
    await this.#records.delete('sessions', key, unchanged).catch((error: unknown) => {
      if (!(error instanceof ConditionFailed)) throw error; // A later owner has it.
    });
  }

  async enter(scope: TenantScope): Promise<boolean> {
    return await this.#notes.enter(scope);
  }

  entered(scope: TenantScope): void {
    this.#notes.entered(scope);
  }

  async scopesOf(owner: BrokerId): Promise<readonly TenantScope[]> {
    return await this.#notes.of(owner);
  }

  async forget(owner: BrokerId): Promise<void> {
    await this.#notes.remove(owner);
  }
}

const routesFrom = (items: readonly Item[], born: number): readonly StoredRoute[] =>
  items.map((item) => routeFromItem(item, born)).filter((route) => route !== undefined);
