/**
 * What is stored of a session (table `sessions`) and of a running broker (table `cluster`). The broker adds to the
 * session's item what only brokers read (will, QoS 2 state); decoding here ignores it.
 */
import type { BrokerId, ClientId, TenantId } from '../kernel/kernel.js';
import { type Item, ItemReader, itemVersion } from './item.js';
import { sessionKey, type TableKey } from './keys.js';

export interface SessionRecord {
  readonly tenant: TenantId;
  readonly clientId: ClientId;
  /** In full: `name@tenant`. */
  readonly userName: string;
  readonly protocolVersion: '3.1' | '3.1.1' | '5';
  /** Of the client: `ip:port`. */
  readonly address: string;
  /** As its owner last wrote; true only counts while the owner's lease lives. */
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
}

/** [MQTT 5.0 section 3.1.2.11.2] 0xFFFFFFFF: the session does not expire. */
export const neverExpiresSeconds = 0xffff_ffff;

/** The database removes what is long past, so that a clock that is wrong or a late reader does no harm. */
const ttlGraceSeconds = 86_400;

export function sessionToItem(session: SessionRecord): Item & TableKey {
  const { tenant, clientId, disconnectedAtMs, expirySeconds } = session;
  const endsAtMs =
    session.connected || disconnectedAtMs === undefined || expirySeconds === neverExpiresSeconds
      ? undefined
      : disconnectedAtMs + expirySeconds * 1000;
  return {
    ...sessionKey(tenant, clientId),
    v: itemVersion,
    tenant,
    userName: session.userName,
    protocolVersion: session.protocolVersion,
    address: session.address,
    connected: session.connected,
    connectedAtMs: session.connectedAtMs,
    ...(disconnectedAtMs !== undefined && { disconnectedAtMs }),
    keepAliveSeconds: session.keepAliveSeconds,
    expirySeconds,
    owner: session.owner,
    epoch: session.epoch,
    ...(endsAtMs !== undefined && { ttl: ttlAt(endsAtMs) }),
  };
}

export function sessionFromItem(item: Item): SessionRecord {
  const read = new ItemReader('session', item);
  const disconnectedAtMs = read.optional('disconnectedAtMs', (value) =>
    typeof value === 'number' ? value : undefined,
  );
  return {
    tenant: read.text('tenant') as TenantId,
    clientId: read.text('sk') as ClientId,
    userName: read.text('userName'),
    protocolVersion: read.oneOf('protocolVersion', ['3.1', '3.1.1', '5']),
    address: read.text('address'),
    connected: read.flag('connected'),
    connectedAtMs: read.number('connectedAtMs'),
    ...(disconnectedAtMs !== undefined && { disconnectedAtMs }),
    keepAliveSeconds: read.number('keepAliveSeconds'),
    expirySeconds: read.number('expirySeconds'),
    owner: read.text('owner') as BrokerId,
    epoch: read.number('epoch'),
  };
}

function ttlAt(endsAtMs: number): number {
  return Math.ceil(endsAtMs / 1000) + ttlGraceSeconds;
}
