/**
 * One client id of a tenant on this broker: its session, the connection it has right now, the credential it came
 * with, and the two things that may still be due when the connection has gone: its will and its end.
 *
 * There may be a million, and most of their clients are away: no closures, no timers, and the same shape for all.
 */
import type { Credential } from '../../tenancy/tenancy.js';
import { handedOn, type Receipt } from '../message/message.js';
import type { Session } from '../session/session.js';
import type { Connection, OwnRecord } from './ports.js';
import type { CameWith } from './same.js';
import type { Tenant } from './local-tenant.js';

export interface Depth {
  readonly queuedMessages: number;
  readonly droppedMessages: number;
  readonly atMs: number;
}

export class Residence {
  readonly tenant: Tenant;
  readonly session: Session;
  /** As it was when the client came in. */
  readonly credential: CameWith;
  /** Queue depth and drops as they were last written, and when. */
  noted: Depth;
  /** They are being written. */
  isNoting = false;
  connection: Connection | undefined;
  /** Of its last will, once that has been published. */
  willSafe: Receipt = handedOn;
  /** See `Deadlines`. */
  willPlace = 0;
  expiryPlace = 0;
  #record: OwnRecord;

  constructor(tenant: Tenant, session: Session, credential: Credential, record: OwnRecord, noted: Depth) {
    this.tenant = tenant;
    this.session = session;
    this.credential = tenant.same.credential(credential);
    this.#record = compact(record, tenant);
    this.noted = noted;
    this.connection = undefined;
  }

  /** Without the will, which is the session's. */
  get record(): OwnRecord {
    return this.#record;
  }

  set record(record: OwnRecord) {
    this.#record = compact(record, this.tenant);
  }
}

/** An object of one shape, in as little memory as it may have; strings that many sessions have are the same ones. */
function compact(record: OwnRecord, tenant: Tenant): OwnRecord {
  const { userName, sdk, protocolVersion, disconnectedAtMs, willAtMs, willEpoch, willItem, inheritedFrom } = record;
  const kept: { [field in keyof Required<Omit<OwnRecord, 'will' | 'takenFrom'>>]: OwnRecord[field] | undefined } = {
    tenant: tenant.scope,
    clientId: record.clientId,
    userName: tenant.same.text(userName),
    sdk: sdk && tenant.same.text(sdk),
    protocolVersion,
    address: record.address,
    connected: record.connected,
    connectedAtMs: record.connectedAtMs,
    disconnectedAtMs,
    keepAliveSeconds: record.keepAliveSeconds,
    expirySeconds: record.expirySeconds,
    epoch: record.epoch,
    born: record.born,
    willAtMs,
    willEpoch,
    willItem,
    inheritedFrom: inheritedFrom && { owner: tenant.same.text(inheritedFrom.owner), epoch: inheritedFrom.epoch },
    queuedMessages: record.queuedMessages,
    droppedMessages: record.droppedMessages,
  };
  // Of a few, and for a moment: the others need no place for it.
  if (record.takenFrom) return { ...kept, takenFrom: record.takenFrom } as OwnRecord;
  return kept as OwnRecord; // Whoever writes it leaves out what is undefined.
}

export function depthOf({ queuedMessages, droppedMessages }: Omit<Depth, 'atMs'>, atMs: number): Depth {
  return { queuedMessages, droppedMessages, atMs };
}
