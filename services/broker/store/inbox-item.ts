/** What sessions store, as items. Frozen: what version 1 wrote is read for ever. */
import type { Item, TableWrite } from '../../dynamo/dynamo.js';
import {
  clientOfPartition,
  filterInRouteKey,
  RecordUnreadable,
  routeKey,
  scopeOfPartition,
} from '../../tenancy/tenancy.js';
import type { ReceivedState, StoredMessage, StoredOrigin, StoredRoute, Write } from '../inbox/inbox.js';
import type { Settlement } from '../message/message.js';
import { pack, unpack } from './packed-messages.js';

const version = 1;
/** Sort key of the packet identifiers received; below all messages. */
export const receivedKey = 'a-received';
/** What is left of an item that nobody deleted, after its messages have expired. */
const ttlGraceSeconds = 86_400;

export function itemOf(partition: string, write: Write): TableWrite {
  switch (write.kind) {
    case 'messages':
      return { table: 'inbox', put: messagesToItem(partition, write.key, write.messages) };
    case 'delete':
      return { table: 'inbox', delete: { pk: partition, sk: write.key } };
    case 'received':
      return {
        table: 'inbox',
        put: {
          pk: partition,
          sk: receivedKey,
          v: version,
          epoch: write.epoch,
          packetIds: [...write.packetIds],
          settled: { ...write.settled },
          ...(write.older && { older: write.older.map((life) => ({ ...life })) }),
          ...(write.again && { again: write.again.map((known) => ({ ...known })) }),
        },
      };
    case 'route': {
      const { filter, owedAfter, ...options } = write.route;
      // In a map, since a string of its own must not be empty everywhere. Releases that do not know it leave it alone.
      const owed = owedAfter !== undefined && { owed: owedAfter === '' ? {} : { after: owedAfter } };
      return {
        table: 'routes',
        put: { ...routeNames(partition, filter), v: version, epoch: write.epoch, ...options, ...owed },
      };
    }
    case 'unroute':
      return { table: 'routes', delete: keyOf(partition, write.filter) };
  }
}

const keyOf = (partition: string, filter: string) =>
  routeKey(scopeOfPartition(partition), clientOfPartition(partition), filter);

/** The key, and the names that it does not tell. */
function routeNames(partition: string, filter: string) {
  const key = keyOf(partition, filter);
  const isLong = filterInRouteKey(key.sk) === undefined;
  return { ...key, client: clientOfPartition(partition), ...(isLong && { filter }) };
}

function messagesToItem(partition: string, key: string, messages: readonly StoredMessage[]) {
  const first = messages[0]!.message; // A QoS 2 message, which has an origin, is alone.
  const lastExpiryMs = messages.reduce((latest, { message }) => Math.max(latest, message.expiresAtMs), 0);
  return {
    pk: partition,
    sk: key,
    v: version,
    n: messages.length,
    ...(first.origin && {
      from: {
        publisher: first.publisher!,
        epoch: first.origin.epoch,
        number: first.origin.number,
        packetId: first.origin.packetId,
        ...(first.origin.hash !== undefined && { hash: first.origin.hash }),
        ...(messages[0]!.shared !== undefined && { shared: messages[0]!.shared }),
      } satisfies StoredOrigin,
    }),
    m: pack(messages),
    ...(lastExpiryMs !== Infinity && { ttl: Math.ceil(lastExpiryMs / 1000) + ttlGraceSeconds }),
  };
}

export function messagesFromItem(item: Item): StoredMessage[] {
  if (item['v'] !== version) throw new Error(`a stored message of version ${String(item['v'])} cannot be read`);
  return unpack(item['m'] as Uint8Array, item['from'] as StoredOrigin | undefined);
}

/** Nothing is known of an earlier session of the client. */
export function receivedFromItem(item: Item | undefined, born: number): ReceivedState {
  if (item !== undefined) checkReceived(item);
  return item !== undefined && (item['epoch'] as number) >= born
    ? {
        packetIds: item['packetIds'] as number[],
        settled: item['settled'] as Settlement,
        ...(item['older'] !== undefined && { older: item['older'] as Settlement[] }),
        ...(item['again'] !== undefined && { again: item['again'] as (Settlement & { packetId: number })[] }),
      }
    : { packetIds: [], settled: { epoch: born, number: 0 } };
}

/** Undefined: it belongs to an earlier session of the client. */
export function routeFromItem(item: Item, born: number): StoredRoute | undefined {
  checkRoute(item);
  if ((item['epoch'] as number) < born) return undefined;
  return {
    filter: filterOf(item),
    qos: item['qos'] as 0 | 1 | 2,
    noLocal: item['noLocal'] as boolean,
    retainAsPublished: item['retainAsPublished'] as boolean,
    retainHandling: item['retainHandling'] as 0 | 1 | 2,
    id: item['id'] as number,
    ...(item['owed'] !== undefined && { owedAfter: (item['owed'] as { after?: string }).after ?? '' }),
  };
}

const filterOf = (item: Item): string => filterInRouteKey(item['sk'] as string) ?? (item['filter'] as string);

function checkRoute(item: Item): void {
  checkVersion(item, 'subscription');
  const isKnown =
    Number.isInteger(item['epoch']) &&
    Number.isInteger(item['qos']) &&
    Number.isInteger(item['retainHandling']) &&
    Number.isInteger(item['id']) &&
    typeof item['noLocal'] === 'boolean' &&
    typeof item['retainAsPublished'] === 'boolean' &&
    typeof item['client'] === 'string' &&
    typeof filterOf(item) === 'string' &&
    (item['owed'] === undefined || isPlace(item['owed']));
  if (!isKnown) throw new RecordUnreadable('a stored subscription lacks an attribute, or has one of the wrong type');
}

function checkReceived(item: Item): void {
  checkVersion(item, 'set of packet identifiers');
  const { epoch, packetIds, settled } = item;
  if (!Number.isInteger(epoch) || !Array.isArray(packetIds) || typeof settled !== 'object' || settled === null)
    throw new RecordUnreadable('stored packet identifiers lack an attribute, or have one of the wrong type');
}

function checkVersion({ v }: Item, what: string): void {
  if (v !== version) throw new RecordUnreadable(`a stored ${what} of version ${String(v)} cannot be read`);
}

function isPlace(owed: unknown): boolean {
  if (typeof owed !== 'object' || owed === null) return false;
  const { after } = owed as { after?: unknown };
  return after === undefined || typeof after === 'string';
}
