/** Puts the rooms of one broker together. With `main.ts` the only file that knows them all. */
import { randomBytes } from 'node:crypto';
import npmPackage from '../../package.json' with { type: 'json' };
import { type BrokerId, type Clock, type Log, Metrics, reportFaults, type TenantScope } from '../kernel/kernel.js';
import { brokerAccess, checkLayout, Dynamo, type TableName } from '../dynamo/dynamo.js';
import { brokersPartition, scopeOfPartition } from '../tenancy/tenancy.js';
import { Adoptions } from './adoptions.js';
import { Admission } from './admission/admission.js';
import { type Config, ConfigError } from './config.js';
import { Cluster } from './cluster/cluster.js';
import { Mesh } from './mesh/mesh.js';
import { type Orders, whileServing, whileStandingBy } from './orders.js';
import { EmfReporter, processMetrics, serveHealth, Heap } from './ops/ops.js';
import {
  commitCallsMax,
  ControlLog,
  DynamoAccounts,
  DynamoRetained,
  DynamoSessionStore,
  DynamoSharedStore,
  DynamoUsage,
  Gate,
  GroupCommit,
  leaseDynamoOptions,
  LeaseEnds,
  Membership,
  Succession,
} from './store/store.js';
import { stripOptionalHeader, Transport } from './transport/transport.js';
import { interestOf, Takeovers } from './takeovers.js';
import { Thread, UnitLedger } from './tenant/tenant.js';
import { Slab, TopicTable } from './wire/wire.js';

/** Before its lease ended a broker may have been this late in obeying the control log: it has to stop within two minutes. */
const obeyedLateMs = 120_000;
/** How long no broker ran, when nobody knows. */
const unknownGapMs = 3_600_000;
/** While one broker serves at a time, those that do not know of it in time stand by: no client is connected to them. */
const knownMsMax = 1000;
/** For what a client waits for at the door: accounts, claims, releases. A core makes some 2000 calls a second, of 10 to 30 ms. */
const doorSocketsMax = 64;

export type Ports = Readonly<Partial<Record<'mqtt' | 'mqtts' | 'ws' | 'wss' | 'health', number>>>;

export interface Broker {
  readonly ports: Ports;
  /** Sends every client away, over that time if there are many; writes what is to be written and gives the lease up. */
  stop(drainMsMax: number): Promise<void>;
}

export const newBrokerId = (): BrokerId => `broker-${randomBytes(9).toString('base64url')}` as BrokerId;

export interface Process {
  /** Aborted when the process is to stop before the broker has started. */
  readonly stopping: AbortSignal;
  /** Ends the process at once: another broker has taken over. */
  onLost(): void;
  /** The operator asks it to send its clients away and to end; perhaps more than once. */
  onDrain(): void;
  /** It answers at the health port, and serves when it is its turn. */
  onStandingBy(healthPort: number): void;
}

/** The rooms, put together; nothing of them runs yet. */
interface Rooms {
  readonly metrics: Metrics;
  readonly dynamo: Dynamo;
  readonly leaseDynamo: Dynamo;
  readonly gate: Gate;
  readonly membership: Membership;
  readonly mesh: Mesh | undefined;
  readonly cluster: Cluster | undefined;
  readonly adoptions: Adoptions;
  readonly commitLog: GroupCommit;
  readonly units: UnitLedger;
  readonly admission: Admission;
  readonly controlLog: ControlLog;
  readonly transport: Transport;
}

function assemble(config: Config, orders: Orders, clock: Clock, log: Log): Rooms {
  const { brokerId } = orders;
  const metrics = new Metrics();
  processMetrics(metrics);
  const tenantOf = (table: TableName, pk: string): string | undefined =>
    table === 'tenants' || table === 'cluster' ? undefined : scopeOfPartition(pk);
  const charge = (tenant: string, amount: number): void => units.charge(tenant as TenantScope, amount);
  // What may take long, replays and restorations above all, has sockets of its own.
  const dynamo = new Dynamo({ ...config.dynamo, metrics, log, tenantOf, charge });
  const units = new UnitLedger({ store: new DynamoUsage(dynamo), clock, log, metrics });
  const commits = dynamo.apart(commitCallsMax);
  const atTheDoor = dynamo.apart(doorSocketsMax);
  const leaseDynamo = new Dynamo({ ...config.dynamo, ...leaseDynamoOptions, metrics, log });
  const gate = new Gate({ clock, log, metrics });
  const mesh =
    config.mesh &&
    new Mesh({ ...config.mesh, cluster: config.dynamo.tablePrefix, ...{ brokerId, gate, clock, log, metrics } });
  const succession = config.servesTogether ? new Succession(atTheDoor, brokerId, clock) : undefined;
  const topics = new TopicTable(config.topicLevelsMax);
  const cluster = mesh && new Cluster({ links: mesh, topics, clock, metrics });
  const membership = new Membership({
    dynamo: leaseDynamo,
    ...(succession && { succession }),
    version: npmPackage.version,
    load: () => admission.load,
    ...(mesh && { linked: mesh }),
    ...{ brokerId, gate, clock, log, metrics },
  });
  const { persistDelayMs, unsafeBytesMax, holdBackMs, inFlightMax, keepAliveSecondsMax, publishesRevokedWills } =
    config;
  const { trustedProxies, isWebSocketAtRoot, connectionsMax, newcomersPercentMax, newcomersPerAddressPercentMax } =
    config;
  const { topicLevelsMax } = config;
  const commitLog = new GroupCommit({
    dynamo: commits,
    reads: dynamo,
    clock,
    log,
    metrics,
    persistDelayMs,
    waitMs: (tenant) => units.waitMs(tenant),
    pay: (tenant, ms) => admission.pay(tenant, ms),
    isHeld: () => gate.isHeld(),
  });
  const adoptions: Adoptions = new Adoptions({
    adopt: (owner) => admission.adopt(owner),
    adopted: async (owner) => {
      if (!succession) await membership.adopted(owner);
    },
    clock,
    log,
  });
  if (!succession) membership.onDead(({ brokerId: owner, leaseUntilMs }) => adoptions.add(owner, leaseUntilMs));
  succession?.onDue(({ owner, leaseUntilMs }) => {
    adoptions.add(owner, leaseUntilMs);
    controlLog.again(leaseUntilMs - obeyedLateMs);
  });
  membership.onLeases((leases, sinceMs) => {
    const members = leases.map((lease) => ({
      ...{ brokerId: lease.brokerId, address: lease.address },
      // One that is merely late may come back: whether it has ended is said by who serves.
      hasEnded: lease.takenBy !== undefined || lease.givenUp === true,
    }));
    mesh?.heard(members, sinceMs);
  });
  const leaseEnds = new LeaseEnds(dynamo);
  const thread = new Thread(clock);
  const takeoversOver = (over: Mesh): Takeovers =>
    new Takeovers({ mesh: over, clock, host: () => admission.handingOver });
  const admission: Admission = new Admission({
    memory: new Heap(),
    accounts: new DynamoAccounts(atTheDoor),
    records: new DynamoSessionStore({ records: atTheDoor, contents: dynamo }, brokerId, clock, succession),
    shared: new DynamoSharedStore(dynamo),
    sharedOf: succession && brokerId,
    makeRetained: (tenant) => new DynamoRetained(dynamo, tenant.scope, tenant.limits, tenant.units, clock, log),
    remotes: cluster && ((tenant) => cluster.enter(tenant)),
    commitLog,
    unsafeBytesMax,
    holdBackMs,
    inFlightMax,
    topicLevelsMax,
    keepAliveSecondsMax,
    publishesRevokedWills,
    lease: gate,
    brokerId,
    takeover: mesh && takeoversOver(mesh),
    interest: cluster && interestOf(cluster),
    units,
    thread,
    isControlLogHeard: () => controlLog.isHeard,
    leaseEndedAtMs: (owner) => leaseEnds.of(owner),
    slab: new Slab(),
    clock,
    log,
    metrics,
  });
  const controlLog: ControlLog = new ControlLog(
    atTheDoor,
    clock,
    log,
    whileServing(orders, () => admission),
  );
  const world = { admission, thread, topics, clock, log, metrics };
  const places = { connectionsMax, newcomersPercentMax, newcomersPerAddressPercentMax };
  const transport = new Transport({ ...world, ...places, trustedProxies, isWebSocketAtRoot, gate });
  const store = { dynamo, leaseDynamo, gate, membership, mesh, cluster, adoptions, commitLog, units, controlLog };
  return { ...store, metrics, admission, transport };
}

/** Rejects with an error whose message is fit to be shown when the broker cannot start. */
export async function startBroker(
  config: Config,
  brokerId: BrokerId,
  clock: Clock,
  log: Log,
  { stopping: aborted, onLost, onDrain, onStandingBy }: Process,
): Promise<Broker> {
  await checkDynamo(config);
  const orders = { brokerId, onDrain };
  const rooms = assemble(config, orders, clock, log);
  const { metrics, dynamo, leaseDynamo, gate, membership, mesh, cluster, adoptions, controlLog, transport } = rooms;
  const endReport = reportFaults({ log, metrics, clock });
  gate.onLost(onLost);
  let trouble: string | undefined = 'standing by';
  // The checks of a Network Load Balancer carry the header that its listeners are set to send.
  const health = await serveHealth({ ...config.health, prepare: stripOptionalHeader }, () => trouble, metrics);
  onStandingBy(health.port);
  const standby = new ControlLog(dynamo, clock, log, whileStandingBy(orders));
  const close = (): void => {
    health.close();
    leaseDynamo.close();
    dynamo.close();
    endReport();
  };
  const abort = (): void => {
    standby.stop();
    controlLog.stop();
    cluster?.stop();
    void membership.stop().catch(() => undefined); // Awaited below.
  };
  aborted.addEventListener('abort', abort);
  let listeners: Ports;
  try {
    if (aborted.aborted) abort();
    await mesh?.listen().catch(refusing('mesh', config.mesh?.port ?? 0)); // Its lease says where it is.
    standby.start();
    await membership.start();
    standby.stop();
    await mesh?.joined();
    const knownInMs = config.servesTogether ? Infinity : knownMsMax;
    if (cluster) await new Promise<void>((resolve) => cluster.serve(resolve, knownInMs));
    // Before the first client is let in: what was deleted while no broker ran is gone then.
    await controlLog.catchUp(unheardSince(adoptions.earliestEndMs, clock.nowMs()));
    controlLog.start();
    listeners = await listen(transport, config);
    aborted.throwIfAborted();
  } catch (error) {
    standby.stop();
    controlLog.stop();
    transport.stop();
    cluster?.stop();
    mesh?.stop();
    await membership.stop().catch(() => undefined); // The next one need not wait, whatever was wrong with this one.
    close();
    throw error;
  } finally {
    aborted.removeEventListener('abort', abort);
  }
  trouble = undefined;
  const emf = emfReporter(config, brokerId, clock, metrics);
  adoptions.begin();
  return {
    ports: { health: health.port, ...listeners },
    async stop(drainMsMax) {
      trouble = 'stopping';
      log.info({ drainMsMax }, 'stopping, sending clients away');
      await stopServing(rooms, clock, drainMsMax);
      emf?.stop();
      close();
    },
  };
}

async function listen(transport: Transport, { ports, host, tls }: Config): Promise<Ports> {
  const listeners: Record<string, number> = {};
  for (const kind of ['mqtt', 'mqtts', 'ws', 'wss'] as const) {
    const port = ports[kind];
    if (port !== undefined)
      listeners[kind] = await transport.listen({ kind, host, port, tls }).catch(refusing(kind, port));
  }
  return listeners;
}

function emfReporter(
  { emfStage: stage }: Config,
  brokerId: BrokerId,
  clock: Clock,
  metrics: Metrics,
): EmfReporter | undefined {
  if (stage === undefined) return undefined;
  return new EmfReporter({ metrics, clock, brokerId, stage, write: (line) => process.stdout.write(line) });
}

/** Clients first, then what they have left to be written, and at the very end the lease under which that is written. */
async function stopServing(
  { transport, admission, controlLog, commitLog, units, mesh, cluster, membership }: Rooms,
  clock: Clock,
  drainMsMax: number,
): Promise<void> {
  transport.stopAccepting();
  admission.drain(clock.nowMs() + transport.drainTakesMs(drainMsMax));
  await transport.drain(drainMsMax);
  controlLog.stop();
  await admission.stop();
  await commitLog.settled();
  await admission.noteQueues();
  await units.save();
  transport.stop();
  cluster?.stop();
  mesh?.stop();
  await membership.stop();
}

/** By a client of its own, for the metrics count the broker's work. */
async function checkDynamo(config: Config): Promise<void> {
  const dynamo = new Dynamo(config.dynamo);
  try {
    await dynamo.check(brokerAccess);
    await checkLayout(dynamo, brokersPartition);
  } finally {
    dynamo.close();
  }
}

/** Since when nobody can be sure to have obeyed the control log; once more does no harm. */
function unheardSince(earliestEndMs: number | undefined, nowMs: number): number {
  return (earliestEndMs ?? nowMs - unknownGapMs) - obeyedLateMs;
}

const refusing = (kind: string, port: number) => (error: NodeJS.ErrnoException) => {
  const what = error.code === 'EADDRINUSE' ? 'is in use' : `cannot be opened (${error.code ?? error.message})`;
  throw new ConfigError(`port ${port} for ${kind} ${what}; choose another with SHOAL_${kind.toUpperCase()}_PORT`);
};
