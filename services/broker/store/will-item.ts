/**
 * The item of a long will: its content, in the client's partition of the inbox (decision 41). A record names it and has what decides
 * when and where the will is due; so whoever writes the record does not pay for the will, and a client that comes back with the
 * same one stores it once.
 *
 * Its key is new with each item that is put: whoever removes an item can only mean the will that it was made for. It has
 *  - the epoch that the claim will have at least, so that what an earlier session has left is told from what the present one has;
 *  - when it was put, and a hash of what it has, so that the name alone tells whether it will do once more;
 *  - some bytes of chance.
 * Keys are below all others of the partition: reading a session does not come across them.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Item, TableKey } from '../../dynamo/dynamo.js';
import { clientPartition, RecordUnreadable, type WillContent } from '../../tenancy/tenancy.js';
import type { Claim } from '../residence/residence.js';
import type { OwnRecord } from '../tenant/tenant.js';

const version = 1;
/**
 * Payload and properties in the record itself. With a topic of some length the record takes one write unit then, as it does without a will,
 * and nothing else is written or read. 1 KB would take two with each write.
 */
const contentInRecordMax = 512;
/** Below `a-received`. */
export const willKeys = 'Will#';
const epochDigits = 10;
const secondDigits = 9;
const hashLength = 16;
/** Nobody removes what a crash has left without a name; longer than a broker lives. A will that waits has its delay beside. */
const ttlSeconds = 400 * 86_400;
/** So that what is named has a year to live, whenever its client has last come. */
const usedAgainForSeconds = 30 * 86_400;

/**
 * Where the will of a claim is to be: undefined in the record; otherwise in the item of that name, which is to be put unless it
 * `isThere`. `epoch`: at least that of the claim. A session that ends with its connection has its will in the record, which
 * is written twice in its life; an item would be, too, and has to be read when its broker dies.
 *
 * `since`: only an item of a greater epoch is used once more, which this broker has put. One that it has inherited the name of may have
 * been removed, with the session whose record was to follow when its broker died.
 */
export function willPlace(
  { will, expirySeconds }: Claim,
  goesOn: Pick<OwnRecord, 'willItem'> | undefined,
  { epoch, since }: { readonly epoch: number; readonly since: number },
  nowMs: number,
): { readonly key: string; readonly isThere: boolean } | undefined {
  const content = will && contentOf(will);
  if (!content || expirySeconds === 0) return undefined;
  if (content.payload.length + content.properties.length <= contentInRecordMax) return undefined;
  const hash = createHash('sha256')
    .update(`${will.delaySeconds} ${content.properties.length} `)
    .update(content.properties)
    .update(content.payload)
    .digest('base64url')
    .slice(0, hashLength);
  const last = goesOn?.willItem;
  if (last !== undefined && last > willKeysFrom(since + 1) && isFor(last, hash, nowMs))
    return { key: last, isThere: true };
  const putAt = Math.floor(nowMs / 1000)
    .toString(16)
    .padStart(secondDigits, '0');
  return { key: `${willKeysFrom(epoch)}${putAt}${hash}${randomBytes(6).toString('base64url')}`, isThere: false };
}

function isFor(key: string, hash: string, nowMs: number): boolean {
  const at = willKeys.length + epochDigits;
  const putAt = parseInt(key.slice(at, at + secondDigits), 16);
  return key.startsWith(hash, at + secondDigits) && nowMs / 1000 - putAt < usedAgainForSeconds;
}

/** Below all names of that epoch, above those of older ones. */
export const willKeysFrom = (epoch: number): string => willKeys + epoch.toString(16).padStart(epochDigits, '0');

export function willToItem({ tenant, clientId, will }: Claim, sk: string, nowMs: number): Item & TableKey {
  const { payload, properties } = contentOf(will!)!;
  const ttl = Math.ceil(nowMs / 1000) + will!.delaySeconds + ttlSeconds;
  return { pk: clientPartition(tenant, clientId), sk, v: version, payload, properties, ttl };
}

export function willFromItem({ v, payload, properties }: Item): WillContent {
  if (v !== version) throw new RecordUnreadable(`a stored will of version ${String(v)} cannot be read`);
  if (!(payload instanceof Uint8Array && properties instanceof Uint8Array))
    throw new RecordUnreadable('a stored will lacks an attribute, or has one of the wrong type');
  return { payload, properties };
}

function contentOf({ payload, properties }: Partial<WillContent>): WillContent | undefined {
  return payload && properties && { payload, properties };
}
