/**
 * What is stored of a session (table `sessions`) and of a running broker (table `cluster`). The broker adds to the
 * session's item what only brokers read (will, QoS 2 state); decoding here ignores it.
 */
import type { BrokerId, ClientId, TenantScope } from '../kernel/kernel.js';
import { isObject, type Item, ItemReader, itemVersion } from './item.js';
import { sessionKey, type TableKey } from './keys.js';

export interface SessionRecord {
  /** The scope of its tenant. */
  readonly tenant: TenantScope;
  readonly clientId: ClientId;
  /** In full: `name@tenant`. */
  readonly userName: string;
  /** What the client says of itself; see `sdkOf`. */
  readonly sdk?: string;
  readonly protocolVersion: '3.1' | '3.1.1' | '5';
  /** Of the client: `ip:port`. */
  readonly address: string;
  /** As its owner last wrote; true only counts while the owner's lease lives. Whoever follows the owner need not write it. */
  readonly connected: boolean;
  readonly connectedAtMs: number;
  readonly disconnectedAtMs?: number;
  /** 0: none. */
  readonly keepAliveSeconds: number;
  /** How long the session outlives its connection; `neverExpiresSeconds`: for ever. */
  readonly expirySeconds: number;
  readonly owner: BrokerId;
  /** Grows with every claim. */
  readonly epoch: number;
  /** The epoch at which the session's state began: stored subscriptions and messages of older epochs are not its own. */
  readonly born: number;
  readonly will?: StoredWill;
  /** When the will of a client that is not connected is due; without it at once. */
  readonly willAtMs?: number;
  /** Of the claim that set the will, if it is not `epoch`: a broker that has inherited the record has written it since. */
  readonly willEpoch?: number;
  /**
   * Sort key of the item, in the client's partition of the inbox, with payload and properties of the will that the last CONNECT has set.
   * It stays when the will has been let go, for a client mostly comes back with the same one.
   */
  readonly willItem?: string;
  /**
   * It was taken from this broker, which lived, at that epoch of its own, and may still have something to store for the session under
   * that epoch: whoever has the record asks it first. Gone with the next claim.
   */
  readonly takenFrom?: { readonly owner: BrokerId; readonly epoch: number };
  /** Messages waiting for the client, as last written: when it left, and every few seconds since. */
  readonly queuedMessages: number;
  /** Messages its full queue has refused since the session began, as last written. */
  readonly droppedMessages: number;
}

/** What can be long in a will. */
export interface WillContent {
  readonly payload: Uint8Array;
  /** MQTT 5.0 properties of the message, encoded. */
  readonly properties: Uint8Array;
}

/** A will as it is stored with its session, so that it survives the broker. Its content is elsewhere when the record has a `willItem`. */
export interface StoredWill extends Partial<WillContent> {
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly delaySeconds: number;
  readonly expirySeconds?: number;
}

/** [MQTT 5.0 section 3.1.2.11.2] 0xFFFFFFFF: the session does not expire. */
export const neverExpiresSeconds = 0xffff_ffff;

/** The database removes what is long past, so that a clock that is wrong or a late reader does no harm. */
const ttlGraceSeconds = 86_400;
/** A session that was to live on has subscriptions and messages elsewhere, which brokers remove: they get more time. */
const persistentTtlGraceSeconds = 30 * 86_400;

/** What a record does not have is undefined in its item: with each client that comes and leaves, in one shape for all. */
export function sessionToItem(session: SessionRecord): Item & TableKey {
  const { tenant, clientId, disconnectedAtMs, expirySeconds } = session;
  const { pk, sk } = sessionKey(tenant, clientId);
  const endsAtMs =
    session.connected || disconnectedAtMs === undefined || expirySeconds === neverExpiresSeconds
      ? undefined
      : disconnectedAtMs + expirySeconds * 1000;
  return {
    pk,
    sk,
    v: itemVersion,
    tenant,
    userName: session.userName,
    sdk: session.sdk,
    protocolVersion: session.protocolVersion,
    address: session.address,
    connected: session.connected,
    connectedAtMs: session.connectedAtMs,
    disconnectedAtMs,
    keepAliveSeconds: session.keepAliveSeconds,
    expirySeconds,
    owner: session.owner,
    epoch: session.epoch,
    born: session.born,
    will: session.willItem === undefined ? session.will : session.will && withoutContent(session.will),
    willAtMs: session.willAtMs,
    willEpoch: session.willEpoch,
    willItem: session.willItem,
    takenFrom: session.takenFrom,
    queuedMessages: session.queuedMessages,
    droppedMessages: session.droppedMessages,
    ttl:
      endsAtMs === undefined ? undefined : ttlAt(endsAtMs, expirySeconds > 0 ? persistentTtlGraceSeconds : undefined),
  };
}

/**
 * Where epochs of sessions and queues begin: hundredths of a second since 1970, so that those of a name do not repeat
 * after everything of it has been removed.
 */
export const epochAt = (nowMs: number): number => Math.floor(nowMs / 10);

export function sessionFromItem(item: Item): SessionRecord {
  const read = new ItemReader('session', item);
  // All of one shape, and nothing is put together: a broker that starts reads those of a whole fleet.
  const record: { [field in keyof SessionRecord]-?: SessionRecord[field] | undefined } = {
    tenant: read.text('tenant') as TenantScope,
    clientId: read.text('sk') as ClientId,
    userName: read.text('userName'),
    sdk: read.optional('sdk', asText),
    protocolVersion: read.oneOf('protocolVersion', protocolVersions),
    address: read.text('address'),
    connected: read.flag('connected'),
    connectedAtMs: read.number('connectedAtMs'),
    disconnectedAtMs: read.optional('disconnectedAtMs', asNumber),
    keepAliveSeconds: read.number('keepAliveSeconds'),
    expirySeconds: read.number('expirySeconds'),
    owner: read.text('owner') as BrokerId,
    epoch: read.number('epoch'),
    // Missing in records of before sessions were kept.
    born: read.optional('born', asNumber) ?? read.number('epoch'),
    will: read.optional('will', item['willItem'] === undefined ? asWholeWill : asWill),
    willAtMs: read.optional('willAtMs', asNumber),
    willEpoch: read.optional('willEpoch', asNumber),
    willItem: read.optional('willItem', asText),
    takenFrom: read.optional('takenFrom', asOwner),
    queuedMessages: read.optional('queuedMessages', asNumber) ?? 0,
    droppedMessages: read.optional('droppedMessages', asNumber) ?? 0,
  };
  return record as SessionRecord; // Whoever writes it leaves out what is undefined.
}

const protocolVersions = ['3.1', '3.1.1', '5'] as const;
const asText = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const asNumber = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
const asOwner = (value: unknown): SessionRecord['takenFrom'] => {
  if (!isObject(value)) return undefined;
  const { owner, epoch } = value;
  return typeof owner === 'string' && typeof epoch === 'number' ? { owner: owner as BrokerId, epoch } : undefined;
};
const asWill = (value: unknown): StoredWill | undefined => (isWill(value) ? value : undefined);

/** Its content is nowhere else. */
const asWholeWill = (value: unknown): StoredWill | undefined =>
  isWill(value) && value.payload && value.properties ? value : undefined;

function isWill(value: unknown): value is StoredWill {
  if (!isObject(value)) return false;
  const { topic, payload, qos, retain, properties, delaySeconds, expirySeconds } = value as Record<
    keyof StoredWill,
    unknown
  >;
  return (
    typeof topic === 'string' &&
    (payload === undefined || payload instanceof Uint8Array) &&
    (qos === 0 || qos === 1 || qos === 2) &&
    typeof retain === 'boolean' &&
    (properties === undefined || properties instanceof Uint8Array) &&
    typeof delaySeconds === 'number' &&
    (expirySeconds === undefined || typeof expirySeconds === 'number')
  );
}

const withoutContent = ({ payload: _, properties: __, ...will }: StoredWill): StoredWill => will;

function ttlAt(endsAtMs: number, graceSeconds = ttlGraceSeconds): number {
  return Math.ceil(endsAtMs / 1000) + graceSeconds;
}
