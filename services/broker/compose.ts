/** Puts the rooms of one broker together. With `main.ts` the only file that knows them all. */
import { randomBytes } from 'node:crypto';
import { type BrokerId, type Clock, type Log, Metrics } from '../kernel/kernel.js';
import { brokerAccess, Dynamo } from '../dynamo/dynamo.js';
import { Admission } from './admission/admission.js';
import { type Config, ConfigError } from './config.js';
import { EmfReporter, processMetrics, serveHealth } from './ops/ops.js';
import {
  ControlLog,
  DynamoAccounts,
  DynamoRetained,
  DynamoSessionStore,
  DynamoSharedStore,
  GroupCommit,
  Lease,
  leaseDynamoOptions,
} from './store/store.js';
import { stripOptionalHeader, Transport } from './transport/transport.js';
import { Slab, TopicTable } from './wire/wire.js';

/** Before its lease ended a broker may have been this late in obeying the control log: it has to stop within two minutes. */
const obeyedLateMs = 120_000;
/** How long no broker ran, when nobody knows. */
const unknownGapMs = 3_600_000;
const takeOverAgainMs = 1000;
const takeOverAgainMsMax = 60_000;

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
}

/** Rejects with an error whose message is fit to be shown when the broker cannot start. */
export async function startBroker(
  config: Config,
  brokerId: BrokerId,
  clock: Clock,
  log: Log,
  { stopping: aborted, onLost }: Process,
): Promise<Broker> {
  const metrics = new Metrics();
  processMetrics(metrics);
  await checkDynamo(config);
  const dynamo = new Dynamo({ ...config.dynamo, metrics, log });
  const slab = new Slab();
  const topics = new TopicTable();
  const leaseDynamo = new Dynamo({ ...config.dynamo, ...leaseDynamoOptions, metrics, log });
  const lease = new Lease({ dynamo: leaseDynamo, brokerId, clock, log, metrics });
  lease.onLost(onLost);
  const { persistDelayMs } = config;
  const commitLog = new GroupCommit({ dynamo, clock, log, metrics, persistDelayMs, isHeld: () => lease.isHeld() });
  /** Brokers whose sessions are to be taken over, with the end of their leases. */
  const gone = new Map<BrokerId, number>();
  const admission = new Admission({
    accounts: new DynamoAccounts(dynamo),
    records: new DynamoSessionStore(dynamo, brokerId, clock),
    shared: new DynamoSharedStore(dynamo),
    makeRetained: (tenant) => new DynamoRetained(dynamo, tenant.id, tenant.limits, clock, log),
    commitLog,
    unsafeBytesMax: config.unsafeBytesMax,
    inFlightMax: config.inFlightMax,
    lease,
    leaseEndedAtMs: (owner) => gone.get(owner),
    clock,
    slab,
    log,
    metrics,
    keepAliveSecondsMax: config.keepAliveSecondsMax,
  });
  const controlLog = new ControlLog(dynamo, clock, log, (entry, atMs) => admission.apply(entry, atMs));
  const { connectionsMax, trustedProxies, emfStage: stage } = config;
  const world = { admission, topics, clock, log, metrics };
  const transport = new Transport({ ...world, connectionsMax, trustedProxies, gate: lease });
  let trouble: string | undefined = 'standing by';
  // The checks of a Network Load Balancer carry the header that its listeners are set to send.
  const health = await serveHealth({ ...config.health, prepare: stripOptionalHeader }, () => trouble, metrics);
  const ports: Record<string, number> = { health: health.port };
  const abort = (): void => {
    controlLog.stop();
    void lease.stop().catch(() => undefined); // Awaited below.
  };
  aborted.addEventListener('abort', abort);
  try {
    if (aborted.aborted) abort();
    for (const { brokerId: owner, leaseUntilMs } of await lease.start()) gone.set(owner, leaseUntilMs);
    // Before the first client is let in: what was deleted while no broker ran is gone then.
    await controlLog.catchUp(unheardSince([...gone.values()], clock.nowMs()));
    controlLog.start();
    for (const kind of ['mqtt', 'mqtts', 'ws', 'wss'] as const) {
      const port = config.ports[kind];
      if (port !== undefined)
        ports[kind] = await transport
          .listen({ kind, host: config.host, port, tls: config.tls })
          .catch(refusing(kind, port));
    }
    aborted.throwIfAborted();
  } catch (error) {
    controlLog.stop();
    transport.stop();
    await lease.stop().catch(() => undefined); // The next one need not wait, whatever was wrong with this one.
    health.close();
    leaseDynamo.close();
    dynamo.close();
    throw error;
  } finally {
    aborted.removeEventListener('abort', abort);
  }
  trouble = undefined;
  const emf =
    stage === undefined
      ? undefined
      : new EmfReporter({ metrics, clock, brokerId, stage, write: (line) => process.stdout.write(line) });
  void takeOver([...gone.keys()], admission, lease, clock, log);
  return {
    ports,
    async stop(drainMsMax) {
      trouble = 'stopping';
      transport.stopAccepting();
      admission.drain(clock.nowMs() + transport.drainTakesMs(drainMsMax));
      log.info({ drainMsMax }, 'stopping, clients are sent away');
      await transport.drain(drainMsMax);
      controlLog.stop();
      await admission.stop();
      await commitLog.settled();
      await admission.noteQueues();
      transport.stop();
      await lease.stop();
      emf?.stop();
      health.close();
      leaseDynamo.close();
      dynamo.close();
    },
  };
}

/** By a client of its own, for the metrics count the broker's work. */
async function checkDynamo(config: Config): Promise<void> {
  const dynamo = new Dynamo(config.dynamo);
  await dynamo.check(brokerAccess).finally(() => dynamo.close());
}

/** Since when nobody can be sure to have obeyed the control log; once more does no harm. */
function unheardSince(leaseEndsMs: readonly number[], nowMs: number): number {
  return (leaseEndsMs.length > 0 ? Math.min(...leaseEndsMs) : nowMs - unknownGapMs) - obeyedLateMs;
}

/**
 * What no client has asked for yet of the sessions that earlier brokers have left: their wills, above all. What fails
 * holds nothing else up and is tried again, ever less often, as long as this broker runs; a note of it stays for the next.
 */
async function takeOver(
  owners: readonly BrokerId[],
  admission: Admission,
  lease: Lease,
  clock: Clock,
  log: Log,
): Promise<void> {
  let left = owners;
  for (let waitMs = takeOverAgainMs; ; waitMs = Math.min(2 * waitMs, takeOverAgainMsMax)) {
    const failed: BrokerId[] = [];
    for (const owner of left)
      try {
        await admission.adopt(owner);
        await lease.adopted(owner);
      } catch (error) {
        failed.push(owner);
        if (left === owners) log.warn({ owner, error }, 'sessions could not be taken over, trying again');
      }
    if (failed.length === 0) return;
    left = failed;
    await new Promise<void>((resolve) => clock.after(waitMs, resolve));
  }
}

const refusing = (kind: string, port: number) => (error: NodeJS.ErrnoException) => {
  const what = error.code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on (${error.code ?? error.message})`;
  throw new ConfigError(`port ${port} for ${kind} ${what}; choose another with SHOAL_${kind.toUpperCase()}_PORT`);
};
