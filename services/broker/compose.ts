/** Puts the rooms of one broker together. With `main.ts` the only file that knows them all. */
import { randomBytes } from 'node:crypto';
import { type BrokerId, type Clock, type Log, Metrics } from '../kernel/kernel.js';
import { Dynamo } from '../dynamo/dynamo.js';
import { Admission } from './admission/admission.js';
import { type Config, ConfigError } from './config.js';
import { processMetrics, serveHealth } from './ops/ops.js';
import { ControlLog, DynamoAccounts, DynamoRetained, DynamoSessionRecords, Lease } from './store/store.js';
import { Transport } from './transport/transport.js';
import { Slab, TopicTable } from './wire/wire.js';

export type Ports = Readonly<Partial<Record<'mqtt' | 'mqtts' | 'ws' | 'wss' | 'health', number>>>;

export interface Broker {
  readonly ports: Ports;
  /** Tells every client, writes what is to be written, gives the lease up. */
  stop(): Promise<void>;
}

export const newBrokerId = (): BrokerId => `broker-${randomBytes(9).toString('base64url')}` as BrokerId;

/** Rejects with an error whose message is fit to be shown when the broker cannot start. */
export async function startBroker(config: Config, brokerId: BrokerId, clock: Clock, log: Log): Promise<Broker> {
  const metrics = new Metrics();
  processMetrics(metrics);
  const dynamo = new Dynamo(config.dynamo);
  await dynamo.check();
  const slab = new Slab();
  const topics = new TopicTable();
  const admission = new Admission({
    accounts: new DynamoAccounts(dynamo),
    records: new DynamoSessionRecords(dynamo, brokerId, clock),
    makeRetained: (tenant) => new DynamoRetained(dynamo, tenant.id, tenant.limits, clock, log),
    clock,
    slab,
    log,
    metrics,
    keepAliveSecondsMax: config.keepAliveSecondsMax,
  });
  const lease = new Lease(dynamo, brokerId, clock, log);
  const controlLog = new ControlLog(dynamo, clock, log, (entry) => admission.apply(entry));
  const transport = new Transport({ admission, topics, clock, log, metrics, connectionsMax: config.connectionsMax });
  let stopping = false;
  await lease.start();
  controlLog.start();
  const health = await serveHealth(config.health, () => (stopping ? 'stopping' : undefined), metrics);
  const ports: Record<string, number> = { health: health.port };
  for (const kind of ['mqtt', 'mqtts', 'ws', 'wss'] as const) {
    const port = config.ports[kind];
    if (port !== undefined)
      ports[kind] = await transport
        .listen({ kind, host: config.host, port, tls: config.tls })
        .catch(refusing(kind, port));
  }
  return {
    ports,
    async stop() {
      stopping = true;
      transport.stopAccepting();
      controlLog.stop();
      await admission.stop();
      transport.stop();
      await lease.stop();
      health.close();
      dynamo.close();
    },
  };
}

const refusing = (kind: string, port: number) => (error: NodeJS.ErrnoException) => {
  const what = error.code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on (${error.code ?? error.message})`;
  throw new ConfigError(`port ${port} for ${kind} ${what}; choose another with SHOAL_${kind.toUpperCase()}_PORT`);
};
