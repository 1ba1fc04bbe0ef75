/**
 * How a client comes in.
 *
 *      CONNECT -> authenticate -> in turn per client id: take over, claim the record -> CONNACK and restore, at once
 *
 * Between the last await and the session being attached nothing else can run, so a client is either fully in or not
 * at all. Interleavings that are looked after:
 *  - two CONNECTs of one client id: turns; the later one takes over;
 *  - the socket closes while its CONNECT waits: seen before CONNACK, the claim is released again;
 *  - a credential or tenant changes while a CONNECT waits: both are asked for again before CONNACK;
 *  - a record is released after somebody else has claimed it: the release names its epoch and then does nothing.
 */
import type { ClientId, Clock } from '../../kernel/kernel.js';
import {
  type Access,
  clientPartition,
  compileAccess,
  type Credential,
  neverExpiresSeconds,
  plainUserName,
  sdkOf,
} from '../../tenancy/tenancy.js';
import type { CommitLog } from '../inbox/inbox.js';
import { handedOn } from '../message/message.js';
import { Channel, receiveMaximum, Session, topicAliasMax } from '../session/session.js';
import { type ConnectPacket, encodeConnack, PeerFault, type Properties, reasons, type Slab } from '../wire/wire.js';
import type { Tenants } from '../tenant/tenant.js';
import { type Connection, depthOf, type OwnRecord, type Residence, type Tenant } from '../tenant/tenant.js';
import type { Authentication } from './authentication.js';
import {
  checkedWill,
  chooseClientId,
  keepAliveSeconds,
  protocolNames,
  sessionExpirySeconds,
} from './connect-request.js';
import { type Departure, storedWill, willEpochOf } from './departure.js';
import type { Claim, SessionStore } from './ports.js';

/** A client that waits for CONNACK gives up soon after. */
const willSafeWithinMs = 4000;

export interface ArrivalOptions {
  readonly authentication: Authentication;
  readonly tenants: Tenants;
  readonly departure: Departure;
  readonly records: SessionStore;
  readonly commitLog: CommitLog;
  readonly clock: Clock;
  readonly slab: Slab;
  readonly keepAliveSecondsMax: number;
  readonly inFlightMax: number;
  readonly topicLevelsMax: number;
  readonly isStopping: () => boolean;
}

export class Arrival {
  readonly #options: ArrivalOptions;

  constructor(options: ArrivalOptions) {
    this.#options = options;
  }

  /** Calls `connection.admitted` with CONNACK in the outbox, or throws and has sent nothing. */
  async admit(packet: ConnectPacket, connection: Connection): Promise<void> {
    const { authentication, records, departure, clock, isStopping } = this.#options;
    const { record, credential } = await authentication.authenticate(packet);
    const { clientId, assigned } = chooseClientId(packet);
    const tenant = await this.#options.tenants.open(record);
    return tenant.turns.take(clientId, async () => {
      const residence = tenant.residences.get(clientId);
      checkRoom(tenant, residence);
      tenant.entering++;
      try {
        const access = compileAccess(credential.grants, { clientId, username: credential.name });
        const will = packet.will && checkedWill(packet.will, access, tenant.limits, this.#options.topicLevelsMax);
        residence?.connection?.close(reasons.sessionTakenOver); // [MQTT-3.1.4-3]
        const discarded = packet.cleanStart ? tenant.residences.get(clientId) : undefined;
        // Its messages go to other members, and nobody would find them any more under a record that begins anew.
        if (discarded?.session.isDurable && (discarded.session.isShared || discarded.session.will))
          await departure.endInTurn(tenant, discarded, clock.nowMs());
        if (residence) await this.#willSafe(residence);
        const goesOn = packet.cleanStart ? undefined : tenant.residences.get(clientId);
        const claim = claimOf(packet, tenant, clientId, connection, will, goesOn?.session, clock.nowMs());
        const claimed = { ...claim, ...(await records.claim(claim, goesOn?.record.born)) };
        // It has expired while the claim was under way; the next one begins a new session.
        const isOver = goesOn !== undefined && tenant.residences.get(clientId) !== goesOn;
        if (
          isOver ||
          !(await authentication.isStillValid(record, credential)) ||
          tenant.isGone ||
          connection.closed ||
          isStopping()
        ) {
          await this.#giveBack(tenant, claimed);
          throw new PeerFault(reasons.serverUnavailable, 'the connection or its credential has ended in the meantime');
        }
        // From here on nothing waits.
        this.#enter({ packet, connection, tenant, credential, access, will, assigned, record: claimed });
      } finally {
        tenant.entering--;
      }
    });
  }

  /** The claim writes the next will over the last one, which may have been published just now: that must be safe (G8). */
  async #willSafe({ willSafe }: Residence): Promise<void> {
    if (willSafe.reasonCode !== undefined) return;
    const isSafe = await new Promise<boolean>((resolve) => {
      const cancel = this.#options.clock.after(willSafeWithinMs, () => resolve(false));
      willSafe.whenSettled(() => {
        cancel();
        resolve(true);
      });
    });
    if (!isSafe)
      throw new PeerFault(reasons.serverUnavailable, 'the previous will of the client could not be published yet');
  }

  /** A claim for a client that did not come in after all; a session that is here already lives on under it. */
  async #giveBack(tenant: Tenant, claimed: OwnRecord): Promise<void> {
    const { records, clock } = this.#options;
    const residence = tenant.residences.get(claimed.clientId);
    const { will: _, ...record } = claimed;
    if (residence) {
      const { disconnectedAtMs = clock.nowMs(), willAtMs, born } = residence.record;
      const willEpoch = willEpochOf(residence.record);
      residence.record = { ...record, born, disconnectedAtMs, ...(willAtMs !== undefined && { willAtMs, willEpoch }) };
      residence.session.renew(claimed.epoch);
      await this.#options.departure.release(tenant, residence);
    } else await records.release({ ...record, connected: false, disconnectedAtMs: clock.nowMs(), expirySeconds: 0 });
  }

  #enter(entry: Entry): void {
    const { packet, connection, tenant, credential, access, will, record } = entry;
    const { clientId } = record;
    const nowMs = this.#options.clock.nowMs();
    let old = tenant.residences.get(clientId);
    if (old && packet.cleanStart) {
      this.#options.departure.endSession(tenant, old, nowMs, true); // [MQTT-3.1.2-4]
      old = undefined;
    }
    old?.cancelWill?.(); // [MQTT-3.1.3-9] Back before the delay was over.
    old?.cancelExpiry?.();
    tenant.wills.letGo(clientId, record.epoch); // The claim has written over it.
    if (will?.qos === 2) tenant.wills.keep(clientId, record.epoch, false);
    const expirySeconds = sessionExpirySeconds(packet, tenant.limits);
    const keeping = { partition: clientPartition(tenant.scope, clientId), log: this.#options.commitLog };
    const session = old?.session ?? new Session(clientId, tenant, access, expirySeconds > 0 ? keeping : undefined);
    session.renew(record.epoch);
    session.setAccess(access);
    session.will = will;
    session.expirySeconds = expirySeconds;
    const residence: Residence = {
      session,
      credential,
      record,
      noted: depthOf(record, record.connectedAtMs),
      isNoting: false,
      connection,
      willSafe: handedOn,
      cancelWill: undefined,
      cancelExpiry: undefined,
    };
    tenant.residences.set(clientId, residence);
    tenant.connections++;
    tenant.connectionsMax = Math.max(tenant.connectionsMax, tenant.connections);
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
        packet.version === 5 ? welcome(entry, session, keepAlive) : {},
      ),
    );
    const admitted = { tenant, session, channel, keepAliveSeconds: keepAlive.seconds };
    connection.admitted(admitted);
    session.attach(channel, nowMs);
    // CONNACK was larger than the client takes: its connection ended before it could be known as admitted.
    if (connection.closed) this.#options.departure.disconnected(admitted, { publishWill: true });
  }
}

interface Entry {
  readonly packet: ConnectPacket;
  readonly connection: Connection;
  readonly tenant: Tenant;
  readonly credential: Credential;
  readonly access: Access;
  readonly will: Session['will'];
  readonly assigned: boolean;
  readonly record: OwnRecord;
}

/** One more connection, and perhaps one more session, for a client that may have some already. */
function checkRoom({ connections, entering, residences, limits }: Tenant, residence: Residence | undefined): void {
  if (residence?.connection === undefined && connections + entering >= limits.connections)
    throw new PeerFault(reasons.quotaExceeded, 'the tenant has reached its quota of connections');
  if (residence === undefined && residences.size + entering >= limits.sessions)
    throw new PeerFault(reasons.quotaExceeded, 'the tenant has reached its limit of sessions');
}

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
  { packet, tenant, assigned, record }: Entry,
  session: Session,
  keepAlive: { seconds: number; imposed: boolean },
): Properties {
  const expirySeconds = Math.min(session.expirySeconds, neverExpiresSeconds);
  return {
    ...(expirySeconds !== (packet.properties.sessionExpiryInterval ?? 0) && { sessionExpiryInterval: expirySeconds }),
    receiveMaximum,
    maximumPacketSize: tenant.limits.packetBytesMax,
    topicAliasMaximum: topicAliasMax,
    ...(assigned && { assignedClientIdentifier: record.clientId }),
    ...(keepAlive.imposed && { serverKeepAlive: keepAlive.seconds }),
  };
}
