/**
 * What happens when a client leaves and when its session ends: the will, now or after its delay; the end of the
 * session, now or when it has expired; and the record, which says so.
 *
 * A will leaves its record only after it is safe with whoever is to get it: a crash in between publishes it again, and
 * never loses it (G8).
 */
import { type ClientId, type Clock, Deadlines, type Log, unattended } from '../../kernel/kernel.js';
import { neverExpiresSeconds } from '../../tenancy/tenancy.js';
import {
  bothReceipts,
  handedOn,
  Message,
  type Origin,
  PendingReceipt,
  type Receipt,
  settled,
  topicName,
} from '../message/message.js';
import type { Will } from '../session/session.js';
import { type Admitted, depthOf, type OwnRecord, type Residence, type Tenant } from '../tenant/tenant.js';
import { cappedExpirySeconds, willBytes } from './connect-request.js';
import type { Ending, SessionStore } from './ports.js';
import { ownContent, storedWill } from './stored-will.js';
import type { Unreadable } from './unreadable.js';
import { UnreadWills } from './unread-wills.js';

/** After the broker has stopped clients have this long to come back somewhere before their wills are published. */
const drainGraceMs = 30_000;

export interface DepartureOptions {
  readonly records: SessionStore;
  readonly unreadable: Unreadable;
  readonly clock: Clock;
  readonly log: Log;
}

export class Departure {
  readonly #options: DepartureOptions;
  /** Ends of sessions whose clients are away, and wills whose delay is not over. */
  readonly #ends: Deadlines<'expiryPlace', Residence>;
  readonly #wills: Deadlines<'willPlace', Residence>;
  readonly #unreadWills: UnreadWills;
  /** Other brokers may have taken them: nothing more is written of them here. */
  readonly #given = new Set<Residence>();
  /** When the broker, which stops, expects to have sent its last client away. */
  drainedAtMs = 0;

  constructor(options: DepartureOptions) {
    this.#options = options;
    const { clock } = options;
    this.#unreadWills = new UnreadWills(options);
    this.#ends = new Deadlines(clock, 'expiryPlace', 'due', (residence) => {
      const { tenant } = residence;
      tenant.meters.expiredSessions++;
      tenant.time.charge(() => this.endSession(tenant, residence, clock.nowMs()));
    });
    this.#wills = new Deadlines(clock, 'willPlace', 'due', (residence) => {
      const { tenant } = residence;
      tenant.time.charge(() => {
        this.#publishWill(residence);
        this.write(tenant, residence);
      });
    });
  }

  /** The client is back, or the session ends: nothing of it is due any more. */
  nothingDue(residence: Residence): void {
    this.#ends.delete(residence);
    this.#wills.delete(residence);
  }

  /**
   * The connection of an admitted client has ended. Call it once, whatever the cause. Settles when its record says so:
   * from then on a crash of the broker publishes no will of it (G8). 0x80 and above: that is not known.
   */
  disconnected(admitted: Admitted, ending: Ending): Receipt {
    const { tenant, session, channel } = admitted;
    if (session.channel !== channel) return handedOn;
    const residence = tenant.residences.get(session.clientId)!;
    const nowMs = this.#options.clock.nowMs();
    const { isSentAway = false } = ending;
    tenant.connections--;
    residence.connection = undefined;
    if (ending.expirySeconds !== undefined)
      session.expirySeconds = cappedExpirySeconds(ending.expirySeconds, tenant.limits);
    if (!ending.publishWill) session.will = undefined; // [MQTT-3.14.4-3]
    const { will } = session;
    residence.record = {
      ...residence.record,
      connected: false,
      disconnectedAtMs: nowMs,
      ...(will && {
        willAtMs: Math.max(nowMs + will.delaySeconds * 1000, isSentAway ? this.drainedAtMs + drainGraceMs : 0),
      }),
    };
    if (session.expirySeconds === 0) {
      if (isSentAway) session.will = undefined;
      return this.endSession(tenant, residence, nowMs);
    }
    session.detach(nowMs);
    this.scheduleEnd(residence);
    // The will of one that has been sent away is for whoever serves it then.
    if (!isSentAway) this.#scheduleWill(residence);
    return this.write(tenant, residence);
  }

  /** The record as it is now, once its will is safe: in turn, so that it cannot overtake a CONNECT of the client. */
  write(tenant: Tenant, residence: Residence): Receipt {
    const written = tenant.turns.take(residence.session.clientId, async () => {
      if (!this.#given.has(residence)) await this.release(tenant, residence);
    });
    return this.#told(written, tenant, 'a session record could not be written');
  }

  /** A failure is logged. */
  #told(done: Promise<void>, tenant: Tenant, failure: string): Receipt {
    const receipt = new PendingReceipt();
    done.then(
      () => receipt.settle(0),
      (error: unknown) => {
        this.#options.log.warn({ tenant: tenant.id, error }, failure);
        receipt.settle(0x80);
      },
    );
    return receipt;
  }

  /** The same for whoever has the client's turn. */
  async release(tenant: Tenant, residence: Residence): Promise<void> {
    const { records, clock } = this.#options;
    await settled(residence.willSafe);
    const record = recordOf(residence);
    await records.release(record);
    if (residence.record.inheritedFrom) residence.record = written(residence.record);
    residence.noted = depthOf(record, clock.nowMs());
    if (!record.will) tenant.wills.letGo(record.clientId, record.epoch);
  }

  /** Its record is another broker's from any moment on: what is due of it is due there. In the client's turn. */
  give(residence: Residence): void {
    this.nothingDue(residence);
    this.#given.add(residence);
  }

  /** It is this broker's again. */
  takeBack(residence: Residence): void {
    this.#given.delete(residence);
    this.scheduleEnd(residence);
    if (this.resumeWill(residence)) this.write(residence.tenant, residence);
  }

  /** It is another broker's for good, and all of it is stored: memory lets it go. Its routes must be gone already. */
  letGo(residence: Residence): void {
    const { tenant, session, record } = residence;
    tenant.drop(residence);
    session.leave();
    tenant.wills.letGo(session.clientId, record.epoch);
    this.#given.delete(residence);
  }

  /** Another broker has had it for a while. What is stored stays, and what is not yet is not acknowledged before it is. */
  async lose(residence: Residence): Promise<void> {
    this.nothingDue(residence);
    this.silence(residence);
    await residence.session.stored();
    this.letGo(residence);
  }

  /** It is nobody's subscriber any more. */
  silence({ tenant, session }: Residence): void {
    for (const subscription of session.subscriptions.values()) tenant.unsubscribe(session, subscription);
    session.subscriptions.clear();
  }

  /** The end of the session of a client that is away. */
  scheduleEnd(residence: Residence): void {
    const { session, record } = residence;
    if (session.expirySeconds === Infinity) return;
    const endsAtMs = record.disconnectedAtMs! + session.expirySeconds * 1000;
    this.#ends.set(residence, endsAtMs - this.#options.clock.nowMs());
  }

  /** [MQTT-3.1.2-8] [MQTT-3.1.3-9] At once, or when its delay is over and nobody has come back. */
  #scheduleWill(residence: Residence): void {
    const { session, record } = residence;
    if (session.will === undefined) return;
    const waitMs = (record.willAtMs ?? 0) - this.#options.clock.nowMs();
    if (waitMs <= 0) this.#publishWill(residence);
    else this.#wills.set(residence, waitMs);
  }

  #publishWill(residence: Residence): void {
    residence.willSafe = this.#published(residence);
  }

  /** Settles when its will, if it has one that is due, is safe with whoever is to get it. */
  #published({ tenant, session, record: { willItem } }: Residence): Receipt {
    const { clock } = this.#options;
    const { clientId, will } = session;
    if (will === undefined) return handedOn;
    session.will = undefined; // [MQTT-3.1.2-10] Once.
    const origin = tenant.wills.originOf(clientId);
    if (!will.isUnread) return publishWill(tenant, clientId, will, origin, clock.nowMs());
    const receipt = new PendingReceipt();
    this.#unreadWills.read(tenant, clientId, willItem!, (content) => {
      const read = content && { ...will, ...ownContent(content), isUnread: false };
      const published = read ? publishWill(tenant, clientId, read, origin, clock.nowMs()) : handedOn;
      published.whenSettled(() => receipt.settle(published.reasonCode!));
    });
    return receipt;
  }

  /** Of a session that was taken over from a broker that has gone. Returns whether it has been published. */
  resumeWill(residence: Residence): boolean {
    if (!residence.session.will) return false;
    this.#scheduleWill(residence);
    return residence.session.will === undefined;
  }

  /** Nothing more is said in the name of this client. */
  withdrawWill(tenant: Tenant, residence: Residence): void {
    if (!residence.session.will) return;
    residence.session.will = undefined;
    this.#wills.delete(residence);
    // With a connection the record is written when that ends.
    if (!residence.connection) this.write(tenant, residence);
  }

  /**
   * The session ends for good: with it its subscriptions, its messages and, if it is still due, its will. `replaced`: a
   * new session of the client has its record. What is stored is removed in turn; settles as `disconnected` does.
   */
  endSession(tenant: Tenant, residence: Residence, nowMs: number, replaced = false): Receipt {
    const remove = this.#end(tenant, residence, nowMs, replaced);
    const removed = replaced ? remove() : tenant.turns.take(residence.session.clientId, remove);
    return this.#told(removed, tenant, 'what was stored of a session could not be removed');
  }

  /** The session cannot be read: it is as if it had not been restored. What is stored of it stays, and nothing is said of its will. */
  leaveOut(tenant: Tenant, residence: Residence, nowMs: number): void {
    this.#leave(tenant, residence);
    residence.session.will = undefined;
    unattended('session', residence.session.end(nowMs, false));
  }

  /** It is nobody's subscriber any more, and nothing of it is due. */
  #leave(tenant: Tenant, residence: Residence): void {
    tenant.drop(residence);
    this.nothingDue(residence);
    this.silence(residence);
  }

  /**
   * Returns what is to be done in the client's turn. The record goes last, so that a crash leaves something to be found.
   * Messages of shared subscriptions go to other members; before that the record says that the session is over, or a
   * crash in between would leave them with both.
   */
  #end(tenant: Tenant, residence: Residence, nowMs: number, replaced: boolean): () => Promise<void> {
    const { session, record } = residence;
    const { isShared } = session;
    this.#leave(tenant, residence);
    if (session.channel !== undefined) session.detach(nowMs);
    // With its will, which is not safe yet.
    const over = session.isDurable && isShared && !replaced ? overRecord(residence) : undefined;
    const ended = over ? undefined : session.end(nowMs, isShared);
    residence.willSafe = bothReceipts(residence.willSafe, this.#published(residence));
    const { records } = this.#options;
    return async () => {
      try {
        if (over) await records.release(over);
        if (over) residence.record = written(residence.record);
      } finally {
        await (ended ?? session.end(nowMs, isShared));
      }
      await settled(residence.willSafe);
      if (session.isDurable) await records.purge(tenant.scope, session.clientId, record.epoch + 1);
      if (replaced) return;
      await records.release({ ...recordOf(residence), expirySeconds: 0 });
      tenant.wills.letGo(session.clientId, record.epoch);
    };
  }
}

/** Of a session that has ended and whose messages are being given to others. */
const overRecord = (residence: Residence): OwnRecord => ({
  ...recordOf(residence),
  connected: false,
  disconnectedAtMs: 0,
  expirySeconds: 1,
});

const written = ({ inheritedFrom: _, ...record }: OwnRecord): OwnRecord => record;

/** What is to be stored of a session whose client is away. */
export function recordOf({ session, record }: Residence): OwnRecord {
  const { will: _, willAtMs, willEpoch, ...rest } = record;
  return {
    ...rest,
    connected: false,
    expirySeconds: Math.min(session.expirySeconds, neverExpiresSeconds),
    ...(session.will && {
      will: storedWill(session.will, record.willItem !== undefined),
      ...(willAtMs !== undefined && { willAtMs }),
      ...(willEpoch !== undefined && { willEpoch }),
    }),
    queuedMessages: session.queuedMessages,
    droppedMessages: session.droppedMessages,
  };
}

export const willEpochOf = ({ willEpoch, epoch }: OwnRecord): number => willEpoch ?? epoch;

function publishWill(
  tenant: Tenant,
  clientId: ClientId,
  will: Will,
  origin: Origin | undefined,
  nowMs: number,
): Receipt {
  const message = Message.of({
    topic: topicName(will.topic),
    payload: will.payload,
    qos: will.qos,
    retain: will.retain,
    properties: will.properties,
    ...(will.expirySeconds !== undefined && { expiresAtMs: nowMs + will.expirySeconds * 1000 }),
    publisher: clientId,
  });
  message.origin = origin;
  tenant.rates.spendPublish(1, willBytes(will), nowMs); // It waits for nobody; whoever publishes next does.
  return tenant.publish(message, nowMs);
}
