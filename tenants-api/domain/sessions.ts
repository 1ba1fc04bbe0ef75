/** What a session looks like from outside: the broker's record, believed only as far as its lease lives. */
import { type BrokerLease, neverExpiresSeconds, type SessionRecord } from '../../services/tenancy/tenancy.js';

export interface SessionView {
  readonly clientId: string;
  readonly username: string;
  readonly sdk: string | null;
  readonly protocolVersion: '3.1' | '3.1.1' | '5';
  readonly address: string;
  readonly connected: boolean;
  /** Since when it is connected, or is not. */
  readonly since: string;
  readonly keepAliveSeconds: number;
  /** null: the session never expires. */
  readonly sessionExpirySeconds: number | null;
  /** As its broker last wrote: some seconds old while messages come and go. */
  readonly queuedMessages: number;
  readonly droppedMessages: number;
}

/** Of the broker that has written a record: its lease, or what is known of it when it is gone. */
export type OwnerLease = Pick<BrokerLease, 'leaseUntilMs'>;

/** Undefined when the session is over, though its record is still there. */
export function viewSession(
  session: SessionRecord,
  ownerLease: OwnerLease | undefined,
  nowMs: number,
): SessionView | undefined {
  const isOwnerAlive = ownerLease !== undefined && ownerLease.leaseUntilMs > nowMs;
  const connected = session.connected && isOwnerAlive;
  const sinceMs = connected ? session.connectedAtMs : disconnectedAtMs(session, ownerLease);
  const isForever = session.expirySeconds === neverExpiresSeconds;
  if (!connected && !isForever && sinceMs + session.expirySeconds * 1000 <= nowMs) return undefined;
  return {
    clientId: session.clientId,
    username: session.userName,
    sdk: session.sdk ?? null,
    protocolVersion: session.protocolVersion,
    address: session.address,
    connected,
    since: new Date(sinceMs).toISOString(),
    keepAliveSeconds: session.keepAliveSeconds,
    sessionExpirySeconds: isForever ? null : session.expirySeconds,
    queuedMessages: session.queuedMessages,
    droppedMessages: session.droppedMessages,
  };
}

/**
 * A broker that died wrote nothing, and whoever follows it need not: its clients were gone by the end of its lease, as far as
 * that is known.
 */
function disconnectedAtMs(session: SessionRecord, ownerLease: OwnerLease | undefined): number {
  if (!session.connected && session.disconnectedAtMs !== undefined) return session.disconnectedAtMs;
  return Math.max(session.connectedAtMs, ownerLease?.leaseUntilMs ?? 0);
}
