/**
 * The door of admission: who comes in, who takes over from whom, and what happens when a client leaves. It owns the
 * tenants that have sessions on this broker and, through them, the sessions.
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
import { type Clock, type ClientId, type Counter, type Log, type Metrics, type TenantId } from '../../kernel/kernel.js';
import {
  compileAccess,
  type ControlEntry,
  type Credential,
  neverExpiresSeconds,
  type SessionRecord,
  splitUserName,
  type Tenant as TenantRecord,
} from '../../tenancy/tenancy.js';
import type { RetainedStore } from '../fanout/fanout.js';
import { Message } from '../message/message.js';
import { Channel, receiveMaximum, Session, topicAliasMax } from '../session/session.js';
import {
  type ConnectPacket,
  encodeConnack,
  PeerFault,
  type Properties,
  type Reason,
  reasons,
  type Slab,
} from '../wire/wire.js';
import { CachedAccounts, VerifiedPasswords } from './accounts.js';
import {
  cappedExpirySeconds,
  checkedWill,
  chooseClientId,
  keepAliveSeconds,
  protocolNames,
  sessionExpirySeconds,
} from './connect-request.js';
import type { Accounts, Connection, Ending, SessionRecords } from './ports.js';
import type { Residence } from './residence.js';
import { systemTopicsEveryMs } from './system-topics.js';
import { Tenant } from './tenant.js';

export type { TenantLimits } from './limits.js';
export type { Accounts, Connection, Ending, SessionRecords } from './ports.js';
export type { Tenant } from './tenant.js';

export interface AdmissionOptions {
  readonly accounts: Accounts;
  readonly records: SessionRecords;
  readonly makeRetained: (tenant: Tenant) => RetainedStore;
  readonly clock: Clock;
  readonly slab: Slab;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Longest keep alive a client may choose, in seconds; 0 leaves it to the client. */
  readonly keepAliveSecondsMax: number;
}

/** A client that is in. */
export interface Admitted {
  readonly tenant: Tenant;
  readonly session: Session;
  readonly channel: Channel;
  readonly keepAliveSeconds: number;
}

/** CONNECTs under way at once; each holds a packet and perhaps a thread that stretches a password. */
const admittingMax = 4096;
/** How often tenants without sessions are dropped. */
const sweepEveryMs = 60_000;

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #accounts: CachedAccounts;
  readonly #passwords = new VerifiedPasswords();
  readonly #tenants = new Map<TenantId, Tenant>();
  readonly #refusals: (reason: Reason) => Counter;
  readonly #admitted: Counter;
  #admitting = 0;
  #stopping = false;

  constructor(options: AdmissionOptions) {
    const { metrics, clock } = options;
    this.#options = options;
    this.#accounts = new CachedAccounts(options.accounts, clock);
    this.#refusals = ({ name }) =>
      metrics.counter('shoal_connects_refused_total', 'CONNECTs refused', { reason: name });
    this.#admitted = metrics.counter('shoal_connects_admitted_total', 'CONNECTs admitted');
    const sum = (read: (tenant: Tenant) => number) => () =>
      [...this.#tenants.values()].reduce((n, tenant) => n + read(tenant), 0);
    metrics.gauge('shoal_tenants', 'Tenants with sessions on this broker', () => this.#tenants.size);
    metrics.gauge(
      'shoal_connections',
      'Clients connected',
      sum((tenant) => tenant.connections),
    );
    metrics.gauge(
      'shoal_sessions',
      'Sessions, connected or not',
      sum((tenant) => tenant.residences.size),
    );
    metrics.gauge(
      'shoal_subscriptions',
      'Subscriptions',
      sum((tenant) => tenant.subscriptions),
    );
    this.#every(sweepEveryMs, () => this.#sweep());
    this.#every(systemTopicsEveryMs, () => {
      for (const tenant of this.#tenants.values()) tenant.publishSystemTopics();
    });
  }

  /**
   * Lets the client of `connection` in: CONNACK is in its outbox and its session attached when this resolves. Throws
   * `PeerFault` with the reason of a refusal (nothing has been sent then).
   */
  async connect(packet: ConnectPacket, connection: Connection): Promise<Admitted> {
    if (this.#stopping) throw new PeerFault(reasons.serverShuttingDown, reasons.serverShuttingDown.words);
    if (this.#admitting >= admittingMax) throw new PeerFault(reasons.serverBusy, reasons.serverBusy.words);
    this.#admitting++;
    try {
      const admitted = await this.#connect(packet, connection);
      this.#admitted.add();
      return admitted;
    } catch (error) {
      const fault = error instanceof PeerFault ? error : this.#unavailable(error);
      this.#refusals(fault.reason).add();
      throw fault;
    } finally {
      this.#admitting--;
    }
  }

  #unavailable(error: unknown): PeerFault {
    this.#options.log.error({ error }, 'a client could not be admitted');
    return new PeerFault(reasons.serverUnavailable, reasons.serverUnavailable.words);
  }

  async #connect(packet: ConnectPacket, connection: Connection): Promise<Admitted> {
    // [MQTT-4.12.0-1] No method is offered yet.
    if (packet.properties.authenticationMethod !== undefined)
      throw new PeerFault(reasons.badAuthenticationMethod, reasons.badAuthenticationMethod.words);
    const { record, credential } = await this.#authenticate(packet);
    const { clientId, assigned } = chooseClientId(packet);
    const tenant = this.#tenantFor(record);
    return tenant.inTurn(clientId, async () => {
      const residence = tenant.residences.get(clientId);
      checkRoom(tenant, residence);
      tenant.entering++;
      try {
        const access = compileAccess(credential.grants, { clientId, username: credential.name });
        const will = packet.will && checkedWill(packet.will, access, tenant.limits);
        residence?.connection?.close(reasons.sessionTakenOver); // [MQTT-3.1.4-3]
        const claim = claimOf(packet, tenant, clientId, connection, this.#options.clock.nowMs());
        const claimed = { ...claim, epoch: await this.#options.records.claim(claim) };
        if (!(await this.#isStillValid(record.id, credential)) || connection.closed || this.#stopping) {
          await this.#giveBack(claimed, tenant.residences.get(clientId));
          throw new PeerFault(reasons.serverUnavailable, 'the connection or its credential ended meanwhile');
        }
        // From here on nothing waits.
        return this.#enter({ packet, connection, tenant, credential, access, will, assigned, record: claimed });
      } finally {
        tenant.entering--;
      }
    });
  }

  /** A claim for a client that did not come in after all; a session that is here already lives on under it. */
  async #giveBack(claimed: Claimed, residence: Residence | undefined): Promise<void> {
    if (residence) residence.record = claimed;
    const expirySeconds = Math.min(residence?.session.expirySeconds ?? 0, neverExpiresSeconds);
    const disconnectedAtMs = this.#options.clock.nowMs();
    await this.#options.records.release({ ...claimed, connected: false, disconnectedAtMs, expirySeconds });
  }

  /** Tells nobody whether it was the name or the password. */
  async #authenticate(packet: ConnectPacket): Promise<{ record: TenantRecord; credential: Credential }> {
    const wrong = new PeerFault(reasons.badUserNameOrPassword, reasons.badUserNameOrPassword.words);
    const who = packet.userName === undefined ? undefined : splitUserName(packet.userName);
    if (who === undefined || packet.password === undefined) throw wrong;
    const [record, credential] = await Promise.all([
      this.#accounts.tenant(who.tenant),
      this.#accounts.credential(who.tenant, who.name),
    ]);
    const isRight = await this.#passwords.verify(packet.password, credential);
    if (!isRight || record === undefined || credential === undefined || record.status === 'deleting') throw wrong;
    if (record.status === 'suspended') throw new PeerFault(reasons.notAuthorized, 'the tenant is suspended');
    return { record, credential };
  }

  async #isStillValid(id: TenantId, used: Credential): Promise<boolean> {
    const [record, credential] = await Promise.all([
      this.#accounts.tenant(id),
      this.#accounts.credential(id, used.name),
    ]);
    return record?.status === 'active' && credential?.revision === used.revision;
  }

  #tenantFor(record: TenantRecord): Tenant {
    let tenant = this.#tenants.get(record.id);
    if (!tenant) {
      tenant = new Tenant(record, this.#options.makeRetained, this.#options.clock, this.#options.log);
      this.#tenants.set(record.id, tenant);
    }
    return tenant;
  }

  #enter(entry: Entry): Admitted {
    const { packet, connection, tenant, credential, access, will, record } = entry;
    const { clientId } = record;
    const nowMs = this.#options.clock.nowMs();
    let old = tenant.residences.get(clientId);
    if (old && packet.cleanStart) {
      this.#endSession(tenant, old, nowMs); // [MQTT-3.1.2-4]
      old = undefined;
    }
    old?.cancelWill?.(); // [MQTT-3.1.3-9] Back before the delay was over.
    old?.cancelExpiry?.();
    const session = old?.session ?? new Session(clientId, tenant, access);
    session.setAccess(access);
    session.will = will;
    session.expirySeconds = sessionExpirySeconds(packet, tenant.limits);
    const residence: Residence = {
      session,
      credentialName: credential.name,
      record,
      connection,
      cancelWill: undefined,
      cancelExpiry: undefined,
    };
    tenant.residences.set(clientId, residence);
    tenant.connections++;
    const { properties } = packet;
    const channel = new Channel(connection, this.#options.slab, {
      version: packet.version,
      receiveMaximum: properties.receiveMaximum ?? 65_535,
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
    session.attach(channel, nowMs);
    return { tenant, session, channel, keepAliveSeconds: keepAlive.seconds };
  }

  /** The connection of an admitted client has ended. Call it once, whatever the cause. */
  disconnected(admitted: Admitted, ending: Ending): void {
    const { tenant, session, channel } = admitted;
    if (session.channel !== channel) return;
    const residence = tenant.residences.get(session.clientId)!;
    const { clock } = this.#options;
    const nowMs = clock.nowMs();
    tenant.connections--;
    residence.connection = undefined;
    if (ending.expirySeconds !== undefined)
      session.expirySeconds = cappedExpirySeconds(ending.expirySeconds, tenant.limits);
    if (!ending.publishWill) session.will = undefined; // [MQTT-3.14.4-3]
    if (session.expirySeconds === 0) {
      this.#endSession(tenant, residence, nowMs);
    } else {
      session.detach(nowMs);
      this.#scheduleWill(tenant, residence, nowMs);
      if (session.expirySeconds !== Infinity)
        residence.cancelExpiry = clock.after(session.expirySeconds * 1000, () =>
          this.#endSession(tenant, residence, clock.nowMs()),
        );
    }
    this.#release(tenant, residence, nowMs);
  }

  /** In turn, so that it cannot overtake a CONNECT of the same client; by epoch, so that it cannot harm one. */
  #release(tenant: Tenant, { session, record }: Residence, nowMs: number): void {
    const expirySeconds = Math.min(session.expirySeconds, neverExpiresSeconds);
    const released = { ...record, connected: false, disconnectedAtMs: nowMs, expirySeconds };
    tenant
      .inTurn(session.clientId, () => this.#options.records.release(released))
      .catch((error: unknown) =>
        this.#options.log.warn({ tenant: tenant.id, error }, 'a session record could not be released'),
      );
  }

  /** [MQTT-3.1.2-8] [MQTT-3.1.3-9] At once, or when its delay is over and nobody has come back. */
  #scheduleWill(tenant: Tenant, residence: Residence, nowMs: number): void {
    const { session } = residence;
    if (session.will === undefined) return;
    if (session.will.delaySeconds === 0) publishWill(tenant, session, nowMs);
    else
      residence.cancelWill = this.#options.clock.after(session.will.delaySeconds * 1000, () =>
        publishWill(tenant, session, this.#options.clock.nowMs()),
      );
  }

  /** The session ends for good: with it its subscriptions and, if it is still due, its will. */
  #endSession(tenant: Tenant, residence: Residence, nowMs: number): void {
    const { session } = residence;
    if (tenant.residences.get(session.clientId) === residence) tenant.residences.delete(session.clientId);
    residence.cancelWill?.();
    residence.cancelExpiry?.();
    for (const subscription of session.subscriptions.values()) tenant.unsubscribe(session, subscription);
    session.subscriptions.clear();
    if (session.channel !== undefined) session.detach(nowMs);
    session.end(nowMs);
    publishWill(tenant, session, nowMs);
  }

  /** Obeys an entry of the control log. */
  async apply(entry: ControlEntry): Promise<void> {
    switch (entry.type) {
      case 'session-kick':
        return this.#kick(entry.tenant, entry.clientId);
      case 'credential-changed':
        this.#accounts.forgetCredential(entry.tenant, entry.name);
        if (entry.change === 'grants') return this.#renewAccess(entry.tenant, entry.name);
        return this.#closeAll(entry.tenant, (residence) => residence.credentialName === entry.name);
      case 'tenant-changed':
        this.#accounts.forgetTenant(entry.tenant);
        if (entry.change === 'quotas') return this.#renewLimits(entry.tenant);
        this.#closeAll(entry.tenant, () => true);
        return this.#endAll(entry.tenant);
    }
  }

  #kick(id: TenantId, clientId: ClientId): void {
    const tenant = this.#tenants.get(id);
    const residence = tenant?.residences.get(clientId);
    if (!tenant || !residence) return;
    residence.session.expirySeconds = 0; // Removed by its tenant: nothing of it stays.
    if (residence.connection) residence.connection.close(reasons.administrativeAction);
    else {
      const nowMs = this.#options.clock.nowMs();
      this.#endSession(tenant, residence, nowMs);
      this.#release(tenant, residence, nowMs);
    }
  }

  #closeAll(id: TenantId, affects: (residence: Residence) => boolean): void {
    for (const residence of [...(this.#tenants.get(id)?.residences.values() ?? [])])
      if (affects(residence)) residence.connection?.close(reasons.administrativeAction);
  }

  /** Nothing of the tenant stays here, and nothing more is said in its name. */
  #endAll(id: TenantId): void {
    const tenant = this.#tenants.get(id);
    if (!tenant) return;
    for (const residence of [...tenant.residences.values()]) {
      residence.session.will = undefined;
      this.#endSession(tenant, residence, this.#options.clock.nowMs());
    }
    tenant.routing.retained.close();
    this.#tenants.delete(id);
  }

  /** New grants count for live sessions at once; sessions whose grants cannot be read are sent away, to come back. */
  async #renewAccess(id: TenantId, name: string): Promise<void> {
    const tenant = this.#tenants.get(id);
    if (!tenant) return;
    const affected = (): Residence[] =>
      [...tenant.residences.values()].filter((residence) => residence.credentialName === name);
    try {
      const credential = await this.#accounts.credential(id, name);
      for (const { session } of affected())
        session.setAccess(compileAccess(credential?.grants ?? [], { clientId: session.clientId, username: name }));
    } catch {
      for (const { connection } of affected()) connection?.close(reasons.serverUnavailable);
    }
  }

  async #renewLimits(id: TenantId): Promise<void> {
    const tenant = this.#tenants.get(id);
    const record = tenant && (await this.#accounts.tenant(id));
    if (record) tenant.limits.set(record, this.#options.clock.nowMs());
  }

  /** Every client is told to go elsewhere; resolves when the records say so. Wills stay unpublished: see the docs. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const released: Promise<unknown>[] = [];
    for (const tenant of this.#tenants.values())
      for (const { session, connection } of tenant.residences.values()) {
        session.will = undefined;
        connection?.close(reasons.serverShuttingDown);
        released.push(tenant.inTurn(session.clientId, () => Promise.resolve()));
      }
    await Promise.allSettled(released);
  }

  #every(everyMs: number, run: () => void): void {
    this.#options.clock.after(everyMs, () => {
      if (this.#stopping) return;
      run();
      this.#every(everyMs, run);
    });
  }

  #sweep(): void {
    for (const [id, tenant] of this.#tenants) if (tenant.isEmpty) this.#tenants.delete(id);
  }
}

type Claimed = Omit<SessionRecord, 'owner'>;

interface Entry {
  readonly packet: ConnectPacket;
  readonly connection: Connection;
  readonly tenant: Tenant;
  readonly credential: Credential;
  readonly access: ReturnType<typeof compileAccess>;
  readonly will: Session['will'];
  readonly assigned: boolean;
  readonly record: Claimed;
}

/** One more connection, and perhaps one more session, for a client that may have some already. */
function checkRoom({ connections, entering, residences, limits }: Tenant, residence: Residence | undefined): void {
  if (residence?.connection === undefined && connections + entering >= limits.connections)
    throw new PeerFault(reasons.quotaExceeded, 'the tenant has as many connections as it may');
  if (residence === undefined && residences.size + entering >= limits.sessions)
    throw new PeerFault(reasons.quotaExceeded, 'the tenant has as many sessions as it may');
}

function claimOf(
  packet: ConnectPacket,
  tenant: Tenant,
  clientId: ClientId,
  connection: Connection,
  nowMs: number,
): Omit<SessionRecord, 'owner' | 'epoch'> {
  return {
    tenant: tenant.id,
    clientId,
    userName: packet.userName!,
    protocolVersion: protocolNames[packet.version],
    address: connection.remoteAddress,
    connected: true,
    connectedAtMs: nowMs,
    keepAliveSeconds: packet.keepAliveSeconds,
    expirySeconds: Math.min(sessionExpirySeconds(packet, tenant.limits), neverExpiresSeconds),
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

function publishWill(tenant: Tenant, session: Session, nowMs: number): void {
  const { will } = session;
  if (will === undefined) return;
  session.will = undefined; // [MQTT-3.1.2-10] Once.
  tenant.publish(
    Message.of({
      topic: { text: will.topic, bytes: Buffer.from(will.topic) },
      payload: will.payload,
      qos: will.qos,
      retain: will.retain,
      properties: will.properties,
      ...(will.expirySeconds !== undefined && { expiresAtMs: nowMs + will.expirySeconds * 1000 }),
      publisher: session.clientId,
    }),
    nowMs,
  );
}
