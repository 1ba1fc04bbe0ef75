/**
 * How a client comes in.
 *
 *      CONNECT -> a place -> password -> tenant's place -> quota, rate -> turn of the client id: take over, claim -> CONNACK
 *
 * Between the last await and the session being attached nothing else can run, so a client is either fully in or not
 * at all. What becomes of a CONNECT, by where it is when something happens:
 *
 *  |                    | reads, password         | waits for rate or turn       | in its turn, waits      | claim is under way     |
 *  | ------------------ | ----------------------- | ---------------------------- | ----------------------- | ---------------------- |
 *  | the socket closes  | dropped before its hash | dropped: kicks, claims none  | seen after the claim    | claim is given back    |
 *  | same client id     | nothing                 | this one ends, that waits    | that one waits          | that one waits         |
 *  | quota is reached   | seen next, 0x97         | it is counted already        | it is counted already   | it is counted already  |
 *  | tenant or password | seen next, 0x86, 0x87   | deleted: 0x88 without claim; | as before               | claim is given back,   |
 *  |   has gone         |                         | else as one under way        |                         | 0x88                   |
 *  | the broker drains  | seen in its turn        | 0x88 without claim           | claim is given back     | claim is given back    |
 *  | DynamoDB is slow   | 6 s a read at most      | 2 s, then 0x9F; 4 s, 0x88    | 4 s for a will, 0x88    | 6 s at most, 0x88      |
 *  | DynamoDB is away   | 0x88                    | the same                     | the same                | 0x88                   |
 *  | the lease ends     | nothing                 | nothing                      | nothing                 | claim is given back    |
 *
 * A place is held from the first column to the last, so each of these waits has an end. Only what a client leaves (its will,
 * its record) is written however long it takes, in a turn of its own; a CONNECT waits for that as for any turn.
 *  - Access rules are compiled in the first column. A session that goes on is compared with them in the last, when the record
 *    says whose they are; rules that are newer still make the credential another one, so that the claim is given back.
 *  - What the session has stored may not be known yet: it is read before the claim (`unread.ts`), as slow as any read. Then a long
 *    will is stored (4 s at most), in an item that is removed when the claim is given back (decision 41).
 *  - Where brokers serve together, the session may have come from one that has died and not be here yet. It is read, with the others of
 *    its bucket, and the same turn begins anew.
 *  - The session may be another broker's: then it is brought here in the client's turn (`incoming.ts`, decision 46), 4 s at most, and the
 *    row begins again: a client that has left meanwhile leaves a session that is here, and away.
 *  - A record is released after somebody else has claimed it: the release names its epoch and then does nothing.
 */
import type { ClientId, Clock } from '../../kernel/kernel.js';
import {
  type Access,
  type Credential,
  neverExpiresSeconds,
  NotHereYet,
  plainUserName,
  sdkOf,
  type Tenant as TenantRecord,
} from '../../tenancy/tenancy.js';
import { type Receipt, settled } from '../message/message.js';
import { Channel, receiveMaximum, Session, topicAliasMax } from '../session/session.js';
import { type ConnectPacket, encodeConnack, PeerFault, type Properties, reasons, type Slab } from '../wire/wire.js';
import {
  type Connection,
  depthOf,
  type LeaseGate,
  type OwnRecord,
  Residence,
  type Tenant,
  TurnedAway,
} from '../tenant/tenant.js';
import { keepAliveSeconds, protocolNames, sessionExpirySeconds, willBytes } from './connect-request.js';
import { type Departure, willEpochOf } from './departure.js';
import type { HandingOver } from './handing-over.js';
import type { Incoming } from './incoming.js';
import type { Claim, SessionStore } from './ports.js';
import type { Restoration } from './restoration.js';
import { storedWill } from './stored-will.js';
import type { Unread } from './unread.js';

/** A client that waits for CONNACK gives up soon after. */
const willSafeWithinMs = 4000;
const hereWithinMs = 4000;

export interface ArrivalOptions {
  /** Whether tenant and credential are still those that the client came in with. */
  readonly isStillValid: (account: TenantRecord, credential: Credential) => boolean | Promise<boolean>;
  readonly departure: Departure;
  readonly records: SessionStore;
  readonly restoration: Pick<Restoration, 'inherit' | 'isUnfinished'>;
  readonly unread: Unread;
  readonly incoming: Incoming;
  readonly handingOver: HandingOver;
  readonly lease: LeaseGate;
  readonly clock: Clock;
  readonly slab: Slab;
  readonly keepAliveSecondsMax: number;
  readonly inFlightMax: number;
  readonly isStopping: () => boolean;
}

export class Arrival {
  readonly #options: ArrivalOptions;

  constructor(options: ArrivalOptions) {
    this.#options = options;
  }

  /** Calls `connection.admitted` with CONNACK in the outbox, or throws and has sent nothing. */
  async admit(visit: Visit): Promise<void> {
    const { tenant, clientId, connection, will } = visit;
    const entrant = { clientId, connection, willBytes: will ? willBytes(will) : 0 };
    return tenant.entrance.through(entrant, async () => {
      for (let next = await this.#turn(visit); next;) next = await next.turn;
    });
  }

  /** `cleared`: of the earlier session, which this CONNECT has ended. */
  #turn(visit: Visit, cleared?: Receipt): Promise<Again | undefined> {
    return visit.tenant.turns.enter(visit.clientId, () => this.#inTurn(visit, cleared));
  }

  /** `hasLooked`: what has come from dead brokers is here. `untilMs`: how long a session may take that is another broker's; monotonic. */
  async #inTurn(visit: Visit, cleared?: Receipt, hasLooked = false, untilMs?: number): Promise<Again | undefined> {
    const { packet, connection, tenant, account, credential, clientId, access, will } = visit;
    const { isStillValid, records, restoration, departure, unread, lease, clock, isStopping } = this.#options;
    // First of all: for a client that has left nobody else has to go, and nothing is written.
    if (connection.closed) throw new TurnedAway('gone');
    if (tenant.isGone || isStopping() || (cleared && cleared.reasonCode !== 0)) throw endedMeanwhile();
    await this.#isHere(tenant, clientId, untilMs);
    const residence = tenant.residences.get(clientId);
    if (residence && restoration.isUnfinished(tenant, residence)) {
      await restoration.inherit(tenant, account, clientId);
      return await this.#inTurn(visit, cleared, hasLooked, untilMs);
    }
    residence?.connection?.close(reasons.sessionTakenOver); // [MQTT-3.1.4-3]
    const discarded = packet.cleanStart ? tenant.residences.get(clientId) : undefined;
    // Its messages go to other members, and nobody would find them any more under a record that begins anew.
    // That may take long, and this CONNECT waits for its next turn as any other does.
    if (discarded?.session.isDurable && (discarded.session.isShared || discarded.session.will)) {
      const ended = departure.endSession(tenant, discarded, clock.nowMs());
      if (tenant.turns.isAwaited(clientId)) throw new TurnedAway('displaced');
      return { turn: this.#turn(visit, ended) };
    }
    if (residence) await this.#willSafe(residence);
    if (residence && !packet.cleanStart) await unread.read(tenant, residence, true);
    const goesOn = packet.cleanStart ? undefined : tenant.residences.get(clientId);
    const claim = claimOf(packet, tenant, clientId, connection, will, goesOn?.session, clock.nowMs());
    const known = tenant.residences.get(clientId)?.record;
    const outcome = await records.claim(claim, goesOn?.record.born, known, hasLooked).catch((error: unknown) => {
      if (!(error instanceof NotHereYet)) throw error;
    });
    if (!outcome) {
      await restoration.inherit(tenant, account, clientId);
      return await this.#inTurn(visit, cleared, true, untilMs);
    }
    if ('isAlive' in outcome) {
      if (untilMs !== undefined && clock.monotonicMs() > untilMs) throw new TurnedAway('elsewhere');
      // What is here of it counts no more: somebody has followed this broker.
      if (known) await departure.lose(tenant.residences.get(clientId)!);
      else await this.#options.incoming.bring(visit, outcome);
      return await this.#inTurn(visit, cleared, false, untilMs ?? clock.monotonicMs() + hereWithinMs);
    }
    const claimed = { ...claim, ...outcome };
    // Another broker may have inherited the record before it was written, and nothing may come of that. As long as the lease is
    // held nobody has, and whoever does from now on reads what was written.
    const isLate = lease.state !== 'held';
    // Now the record says whose rules the session obeys, whether or not its client comes in.
    const checking = goesOn?.session.changeAccess(access);
    if (checking) await tenant.time.through(checking);
    // It has expired while the claim was under way; the next one begins a new session.
    const isOver = goesOn !== undefined && tenant.residences.get(clientId) !== goesOn;
    let isValid: boolean | Promise<boolean> = !isLate && !isOver && isStillValid(account, credential);
    if (typeof isValid !== 'boolean') isValid = await isValid;
    if (!isValid || tenant.isGone || connection.closed || isStopping()) {
      await this.#giveBack(tenant, claimed);
      throw connection.closed ? new TurnedAway('gone') : endedMeanwhile();
    }
    // From here on nothing waits.
    this.#enter(visit, claimed);
    return undefined;
  }

  /** What is between this broker and another one, as to the session, is decided: it is here to the end, or not at all. */
  async #isHere(tenant: Tenant, clientId: ClientId, untilMs: number | undefined): Promise<void> {
    const { incoming, handingOver, clock } = this.#options;
    const withinMs = untilMs === undefined ? hereWithinMs : untilMs - clock.monotonicMs();
    const residence = tenant.residences.get(clientId);
    if (!residence) return;
    if (handingOver.over(residence)) await handingOver.takeBack(residence);
    const decided = handingOver.over(residence) ?? incoming.unfinished(residence);
    if (decided && !(await this.#inTime(decided, withinMs))) throw new TurnedAway('elsewhere');
  }

  #inTime(done: Promise<void>, withinMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(withinMs, () => resolve(false));
      void done.then(() => {
        cancel();
        resolve(true);
      });
    });
  }

  /** The claim writes the next will over the last one, which may have been published just now: that must be safe (G8). */
  async #willSafe({ willSafe }: Residence): Promise<void> {
    if (willSafe.reasonCode !== undefined || (await this.#inTime(settled(willSafe), willSafeWithinMs))) return;
    throw new PeerFault(reasons.serverUnavailable, 'the previous will of the client could not be published yet');
  }

  /** A claim for a client that did not come in after all; a session that is here already lives on under it. */
  async #giveBack(tenant: Tenant, claimed: OwnRecord): Promise<void> {
    const { records, clock } = this.#options;
    const residence = tenant.residences.get(claimed.clientId);
    const { will: _, willItem, ...record } = claimed;
    if (residence) {
      const { disconnectedAtMs = clock.nowMs(), willAtMs, willItem: before, born } = residence.record;
      const willEpoch = willEpochOf(residence.record);
      residence.record = {
        ...record,
        born,
        disconnectedAtMs,
        ...(willAtMs !== undefined && { willAtMs, willEpoch }),
        ...(before !== undefined && { willItem: before }),
      };
      residence.session.renew(claimed.epoch);
      // A will that has come due meanwhile, and is not safe yet, is waited for in a turn of the record's own.
      if (residence.willSafe.reasonCode === undefined) return void this.#options.departure.write(tenant, residence);
      await this.#options.departure.release(tenant, residence);
      if (willItem === before) return;
    } else await records.release({ ...record, connected: false, disconnectedAtMs: clock.nowMs(), expirySeconds: 0 });
    // Whoever follows has read a record with it, unless the lease is held still.
    if (this.#options.lease.state === 'held') this.#dropWill(claimed, willItem);
  }

  /** Nobody waits for that: if it fails, the item goes with the session, or in time. */
  #dropWill({ tenant, clientId }: OwnRecord, item: string | undefined): void {
    if (item) void this.#options.records.dropWill(tenant, clientId, item).catch(() => undefined);
  }

  #enter(visit: Visit, record: OwnRecord): void {
    const { packet, connection, tenant, credential, clientId, access, will } = visit;
    const nowMs = this.#options.clock.nowMs();
    let old = tenant.residences.get(clientId);
    if (old && packet.cleanStart) {
      this.#options.departure.endSession(tenant, old, nowMs, true); // [MQTT-3.1.2-4]
      old = undefined;
    }
    if (old) this.#options.departure.nothingDue(old); // [MQTT-3.1.3-9] Back before the delay was over.
    if (old?.record.willItem !== record.willItem) this.#dropWill(record, old?.record.willItem);
    tenant.wills.letGo(clientId, record.epoch); // The claim has written over it.
    if (will?.qos === 2) tenant.wills.keep(clientId, record.epoch, false);
    const expirySeconds = sessionExpirySeconds(packet, tenant.limits);
    const keeping = expirySeconds > 0 ? tenant.keeping : undefined;
    const session = old?.session ?? new Session(clientId, tenant, access, keeping);
    session.renew(record.epoch);
    session.setAccess(access);
    session.will = will;
    session.expirySeconds = expirySeconds;
    const residence = new Residence(tenant, session, credential, record, depthOf(record, record.connectedAtMs));
    residence.connection = connection;
    tenant.residences.set(clientId, residence);
    tenant.connections++;
    tenant.meters.connects++;
    const { properties } = packet;
    const channel = new Channel(connection, this.#options.slab, {
      version: packet.version,
      isBridge: packet.isBridge,
      receiveMaximum: properties.receiveMaximum ?? 65_535,
      inFlightMax: this.#options.inFlightMax,
      packetBytesMax: properties.maximumPacketSize ?? Infinity,
      topicAliasMax: properties.topicAliasMaximum ?? 0,
      problemInformation: properties.requestProblemInformation !== 0,
    });
    const keepAlive = keepAliveSeconds(packet, this.#options.keepAliveSecondsMax);
    // [MQTT-3.2.0-1] First of all; [MQTT-3.2.2-2] [MQTT-3.2.2-3] tell whether there was a session.
    channel.send(
      encodeConnack(
        packet.version,
        old !== undefined,
        0,
        packet.version === 5 ? welcome(visit, session, keepAlive) : {},
      ),
    );
    const admitted = { tenant, session, channel, keepAliveSeconds: keepAlive.seconds };
    connection.admitted(admitted);
    session.attach(channel, nowMs);
    // CONNACK was larger than the client takes: its connection ended before it could be known as admitted.
    if (connection.closed) this.#options.departure.disconnected(admitted, { publishWill: true });
  }
}

/** It has its next turn behind what it has asked for; in an object, because a promise of a promise cannot be kept. */
interface Again {
  readonly turn: Promise<Again | undefined>;
}

/** A CONNECT whose client is known. */
export interface Visit {
  readonly packet: ConnectPacket;
  readonly connection: Connection;
  readonly tenant: Tenant;
  readonly account: TenantRecord;
  readonly credential: Credential;
  readonly clientId: ClientId;
  readonly access: Access;
  readonly will: Session['will'];
  /** The client identifier is one of ours. */
  readonly assigned: boolean;
}

const endedMeanwhile = (): PeerFault =>
  new PeerFault(reasons.serverUnavailable, 'the connection ended or its credential was deleted in the meantime');

function claimOf(
  packet: ConnectPacket,
  tenant: Tenant,
  clientId: ClientId,
  connection: Connection,
  will: Session['will'],
  goesOn: Session | undefined,
  nowMs: number,
): Claim {
  const userName = packet.userName!;
  const sdk = sdkOf(userName);
  return {
    tenant: tenant.scope,
    clientId,
    userName: plainUserName(userName),
    ...(sdk !== undefined && { sdk }),
    protocolVersion: protocolNames[packet.version],
    address: connection.remoteAddress,
    connected: true,
    connectedAtMs: nowMs,
    keepAliveSeconds: packet.keepAliveSeconds,
    expirySeconds: Math.min(sessionExpirySeconds(packet, tenant.limits), neverExpiresSeconds),
    ...(will && { will: storedWill(will) }),
    queuedMessages: goesOn?.queuedMessages ?? 0,
    droppedMessages: goesOn?.droppedMessages ?? 0,
  };
}

/** What CONNACK tells an MQTT 5.0 client; what is not in it has the specification's default. */
function welcome(
  { packet, tenant, assigned, clientId }: Visit,
  session: Session,
  keepAlive: { seconds: number; imposed: boolean },
): Properties {
  const expirySeconds = Math.min(session.expirySeconds, neverExpiresSeconds);
  return {
    ...(expirySeconds !== (packet.properties.sessionExpiryInterval ?? 0) && { sessionExpiryInterval: expirySeconds }),
    receiveMaximum,
    maximumPacketSize: tenant.limits.packetBytesMax,
    topicAliasMaximum: topicAliasMax,
    ...(assigned && { assignedClientIdentifier: clientId }),
    ...(keepAlive.imposed && { serverKeepAlive: keepAlive.seconds }),
  };
}
