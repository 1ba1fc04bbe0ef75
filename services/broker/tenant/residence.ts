/**
 * One client id of a tenant on this broker: its session, the connection it has right now, the credential it came
 * with, and the two things that may still be due when the connection has gone: its will and its end.
 */
import type { Cancel } from '../../kernel/kernel.js';
import type { Credential } from '../../tenancy/tenancy.js';
import type { Receipt } from '../message/message.js';
import type { Session } from '../session/session.js';
import type { Connection, OwnRecord } from './ports.js';

export interface Depth {
  readonly queuedMessages: number;
  readonly droppedMessages: number;
  readonly atMs: number;
}

export interface Residence {
  readonly session: Session;
  /** As it was when the client came in. */
  readonly credential: Credential;
  record: OwnRecord;
  /** Queue depth and drops as they were last written, and when. */
  noted: Depth;
  /** They are being written. */
  isNoting: boolean;
  connection: Connection | undefined;
  /** Of its last will, once that has been published. */
  willSafe: Receipt;
  cancelWill: Cancel | undefined;
  cancelExpiry: Cancel | undefined;
}

export function depthOf({ queuedMessages, droppedMessages }: Omit<Depth, 'atMs'>, atMs: number): Depth {
  return { queuedMessages, droppedMessages, atMs };
}
