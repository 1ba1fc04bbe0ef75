/** Meshes with real sockets on loopback; their time stands until a test moves it. */
import { onTestFinished } from 'vitest';
import { type Log, Metrics } from '../../../services/kernel/kernel.js';
import { clusterKey, type ClusterKeys, Mesh } from '../../../services/broker/mesh/mesh.js';
import type { Member } from '../../../services/broker/mesh/ports.js';
import { ManualClock } from '../../support/manual-clock.js';

export const key = clusterKey('a key for the tests of links, long enough');
export const otherKey = clusterKey('another key for the tests of links, as long');

export interface TestBroker {
  readonly id: string;
  readonly mesh: Mesh;
  readonly address: string;
  readonly clock: ManualClock;
  readonly metrics: Metrics;
  /** Level and message, with the reason if there is one. */
  readonly lines: string[];
  /** Everything that was logged, as text. */
  readonly logged: string[];
}

interface Given {
  readonly keys?: ClusterKeys;
  readonly cluster?: string;
  /** That others dial. */
  readonly address?: string;
}

export async function broker(
  id: string,
  { keys = [key], cluster = 'test-', address }: Given = {},
): Promise<TestBroker> {
  const [clock, metrics, lines, logged] = [new ManualClock(), new Metrics(), [] as string[], [] as string[]];
  const line = (level: string) => (fields: object, message: string) => {
    const { reason } = fields as { reason?: string };
    lines.push(`${level} ${message}${reason === undefined ? '' : `: ${reason}`}`);
    logged.push(JSON.stringify([fields, message]));
  };
  const log: Log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  const gate = { leave: () => 'all' as const, onLapsed() {} };
  const place = { host: '127.0.0.1', port: 0, ...(address !== undefined && { address }) };
  const mesh = new Mesh({ brokerId: id, cluster, keys, ...place, gate, clock, log, metrics, chance: () => 1 });
  onTestFinished(() => mesh.stop());
  return { id, mesh, address: await mesh.listen(), clock, metrics, lines, logged };
}

export const memberOf = ({ id, address }: Pick<TestBroker, 'id' | 'address'>, hasEnded = false): Member => ({
  ...{ brokerId: id, address, hasEnded },
});

/** They read the leases of all. */
export function hear(readers: readonly TestBroker[], members: readonly Member[]): void {
  for (const { mesh, clock } of readers) mesh.heard(members, clock.monotonicMs());
}

export function metric({ metrics }: Pick<TestBroker, 'metrics'>, name: string, label?: string): number {
  let sum = 0;
  for (const sample of metrics.samples(new Set([name])))
    if (label === undefined || Object.values(sample.labels).includes(label)) sum += sample.value;
  return sum;
}
