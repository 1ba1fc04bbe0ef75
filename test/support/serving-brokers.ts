/**
 * Brokers that serve together in one process: real listeners, links, sessions and routing, and a store in memory for each. What they
 * share is accounts and retained messages.
 */
import { Admission } from '../../services/broker/admission/admission.js';
import { Cluster } from '../../services/broker/cluster/cluster.js';
import { clusterKey, Mesh } from '../../services/broker/mesh/mesh.js';
import type { Member } from '../../services/broker/mesh/ports.js';
import { Thread, UnitLedger } from '../../services/broker/tenant/tenant.js';
import { Transport } from '../../services/broker/transport/transport.js';
import { Slab, TopicTable } from '../../services/broker/wire/wire.js';
import {
  type BrokerId,
  Metrics,
  silentLog,
  systemClock,
  type TenantId,
  type TenantScope,
} from '../../services/kernel/kernel.js';
import { hashSecret, quotaKinds } from '../../services/tenancy/tenancy.js';
import { MemoryAccounts } from './memory/accounts.js';
import { MemoryCommitLog } from './memory/commit-log.js';
import { MemoryRetained } from './memory/retained.js';
import { MemorySessionStore } from './memory/session-store.js';
import { MemorySharedStore } from './memory/shared-store.js';
import { SessionTables } from './memory/session-tables.js';
import { MemoryUsage } from './memory/usage.js';
import { until } from './until.js';

const clock = systemClock;
export const password = 'correct horse';
const secretHash = await hashSecret(password, 'generated');
export const key = clusterKey('a key for the tests of the cluster, long enough');
const gate = { leave: () => 'all' as const, onLapsed: () => undefined };
const tlsOfNobody = undefined as never;

function makeAccounts(): MemoryAccounts {
  const accounts = new MemoryAccounts();
  // Tests are about brokers: rates would only slow them down.
  const kept = ['messageBytesMax', 'sessionExpirySecondsMax', 'queuedMessagesPerSession', 'credentials'];
  const quotaOverrides = Object.fromEntries(
    quotaKinds.filter(({ kind }) => !kept.includes(kind)).map(({ kind }) => [kind, null]),
  );
  for (const name of ['acme', 'other']) {
    const id = name as TenantId;
    accounts.tenants.set(id, { id, plan: 'free', status: 'active', quotaOverrides, createdAtMs: 0 });
    accounts.put({ scope: name as TenantScope, name: 'device', secretHash, createdAtMs: 0, revision: 1 });
  }
  return accounts;
}

export class ServingBroker {
  readonly id: string;
  readonly metrics = new Metrics();
  readonly mesh: Mesh;
  readonly cluster: Cluster;
  readonly admission: Admission;
  readonly commits: MemoryCommitLog;
  readonly retained: MemoryRetained;
  readonly #transport: Transport;
  address = '';
  port = 0;

  constructor(id: string, accounts: MemoryAccounts, retained: MemoryRetained, isPrompt: boolean) {
    this.id = id;
    this.retained = retained;
    const { metrics } = this;
    const world = { clock, log: silentLog, metrics };
    const topics = new TopicTable();
    const place = { host: '127.0.0.1', port: 0 };
    this.mesh = new Mesh({ brokerId: id, cluster: 'test-', keys: [key], ...place, gate, ...world, chance: () => 0 });
    this.cluster = new Cluster({ links: this.mesh, topics, clock, metrics });
    const tables = new SessionTables();
    this.commits = new MemoryCommitLog({ tables, nowMs: () => clock.nowMs(), prompt: isPrompt });
    const thread = new Thread(clock);
    this.admission = new Admission({
      memory: { limitBytes: 1e9, usedBytes: 0, liveBytes: 0, collections: 0 },
      accounts,
      records: new MemorySessionStore(tables, id as BrokerId, clock),
      shared: new MemorySharedStore(tables),
      brokerId: id as BrokerId,
      remotes: (tenant) => this.cluster.enter(tenant),
      commitLog: this.commits,
      unsafeBytesMax: 1 << 26,
      holdBackMs: 5000,
      inFlightMax: 16_383,
      topicLevelsMax: 128,
      lease: { state: 'held', whenAwake: (listener: () => void) => listener() },
      units: new UnitLedger({ store: new MemoryUsage(), ...world }),
      thread,
      leaseEndedAtMs: () => Promise.resolve(undefined),
      makeRetained: () => retained,
      slab: new Slab(),
      keepAliveSecondsMax: 0,
      publishesRevokedWills: false,
      ...world,
    });
    this.#transport = new Transport({
      ...{ admission: this.admission, thread, topics, gate, ...world },
      ...{ connectionsMax: 1000, newcomersPercentMax: 100, newcomersPerAddressPercentMax: 100 },
      ...{ trustedProxies: undefined, isWebSocketAtRoot: true },
    });
  }

  async stop(): Promise<void> {
    this.#transport.stop();
    this.cluster.stop();
    this.mesh.stop();
    await this.admission.stop();
  }

  async listen(): Promise<void> {
    this.address = await this.mesh.listen();
    this.port = await this.#transport.listen({ kind: 'mqtt', host: '127.0.0.1', port: 0, tls: tlsOfNobody });
  }

  member(hasEnded = false, address = this.address): Member {
    return { brokerId: this.id, address, hasEnded };
  }

  hear(...members: readonly Member[]): void {
    this.mesh.heard(members, clock.monotonicMs());
  }

  metric(name: string, label?: string): number {
    let sum = 0;
    for (const sample of this.metrics.samples(new Set([name])))
      if (label === undefined || Object.values(sample.labels).includes(label)) sum += sample.value;
    return sum;
  }
}

/** They serve together, and each has a link to each other. `via`: where the first dials the second. */
export async function serving(
  ids: readonly string[],
  { isPrompt = true, via }: { isPrompt?: boolean; via?: (address: string) => Promise<string> } = {},
): Promise<ServingBroker[]> {
  const accounts = makeAccounts();
  const table = new Map<string, never>();
  const brokers = ids.map((id) => new ServingBroker(id, accounts, new MemoryRetained({ clock, table }), isPrompt));
  for (const broker of brokers) await broker.listen();
  const [first, second] = brokers;
  const between = via && second ? await via(second.address) : undefined;
  for (const broker of brokers)
    broker.hear(
      ...brokers.map((other) => other.member(false, broker === first && other === second ? between : other.address)),
    );
  await until(() => brokers.every(({ mesh }) => mesh.links.up === brokers.length - 1), 'links');
  await Promise.all(brokers.map(({ cluster }) => new Promise<void>((resolve) => cluster.serve(resolve))));
  return brokers;
}
