/**
 * What all tenants of a broker come to, for the operator. Each tenant counts for itself (`Meters`); the sums are brought up to date
 * before they are read, by what has become of those tenants that have been touched since (`activity.ts`).
 */
import type { Metrics } from '../../kernel/kernel.js';
import type { BrokerLoad } from '../../tenancy/tenancy.js';
import { type Meters, newMeters } from '../message/message.js';
import type { Tenant } from './local-tenant.js';

/** CONNECTs are counted with those that are refused. */
const meterTotals: Readonly<Record<Exclude<keyof Meters, 'connects'>, readonly [name: string, help: string]>> = {
  packetsReceived: ['shoal_packets_received_total', 'Packets of every type from clients that are in'],
  packetsSent: ['shoal_packets_sent_total', 'Packets of every type to clients that are in'],
  packetBytesReceived: ['shoal_packet_bytes_received_total', 'Bytes of these packets, without TLS and WebSocket'],
  packetBytesSent: ['shoal_packet_bytes_sent_total', 'Bytes of these packets, without TLS and WebSocket'],
  expiredSessions: ['shoal_sessions_expired_total', 'Sessions whose clients did not come back in time'],
  messagesReceived: ['shoal_messages_received_total', 'PUBLISH packets from clients'],
  messagesSent: ['shoal_messages_sent_total', 'PUBLISH packets to clients'],
  bytesReceived: ['shoal_payload_bytes_received_total', 'Payload bytes from clients'],
  bytesSent: ['shoal_payload_bytes_sent_total', 'Payload bytes to clients'],
  droppedSlowSubscriber: [
    'shoal_messages_dropped_slow_subscriber_total',
    'QoS 0 messages to clients that read too slowly',
  ],
  droppedOverQuota: ['shoal_messages_dropped_over_quota_total', 'Messages over a queue, memory or delivery limit'],
  heldBack: ['shoal_messages_held_back_total', 'QoS 1 and 2 messages whose publishers waited for a slower subscriber'],
  refusedPublishes: ['shoal_messages_refused_total', 'Messages that access rules refused'],
  refusedSubscriptions: ['shoal_subscriptions_refused_total', 'Topic filters of SUBSCRIBE that were refused'],
  refusedOverMemory: [
    'shoal_memory_refusals_total',
    'Sessions and subscriptions refused because the memory of their tenant was used up',
  ],
  droppedOffline: ['shoal_messages_dropped_offline_total', 'QoS 0 messages for sessions whose client is away'],
  expiredMessages: ['shoal_messages_expired_total', 'Messages that expired before delivery'],
};

/** What is summed, and read from each tenant. */
const numbers = {
  connections: (tenant: Tenant) => tenant.connections,
  sessions: (tenant: Tenant) => tenant.residences.size,
  subscriptions: (tenant: Tenant) => tenant.subscriptions,
  memoryBytes: (tenant: Tenant) => tenant.memory.bytes,
} as const;
type NumberName = keyof typeof numbers;
const meterNames = Object.keys(newMeters()) as (keyof Meters)[];
const readers: readonly ((tenant: Tenant) => number)[] = [
  ...Object.values(numbers),
  ...meterNames.map(
    (name) =>
      ({ meters }: Tenant) =>
        meters[name],
  ),
];
const at = (name: NumberName | keyof Meters): number => [...Object.keys(numbers), ...meterNames].indexOf(name);
const memoryAt = at('memoryBytes');

/** Steps of a tenth: the number of those on each is enough to know which is the largest, to within one. */
class Largest {
  readonly #counts: number[] = [];

  /** Undefined: it was not there before, or is not after that. */
  move(from: number | undefined, to: number | undefined): void {
    if (from !== undefined) this.#counts[stepOf(from)]!--;
    if (to === undefined) return;
    const step = stepOf(to);
    while (this.#counts.length <= step) this.#counts.push(0);
    this.#counts[step]!++;
  }

  /** Not less than it is. */
  get value(): number {
    while (this.#counts.at(-1) === 0) this.#counts.pop();
    return this.#counts.length === 0 ? 0 : Math.round(stepFactor ** (this.#counts.length - 1));
  }
}

const stepFactor = 1.1;
const stepOf = (value: number): number => Math.ceil(Math.log(Math.max(value, 1)) / Math.log(stepFactor));

const loadEveryMs = 10_000;

export class Totals {
  readonly #recent: () => Iterable<Tenant>;
  readonly #sums = new Float64Array(readers.length);
  /** Of each tenant what is in the sums. */
  readonly #counted = new Map<Tenant, number[]>();
  readonly #largest = new Largest();
  #loadAtMs = -Infinity;

  /** `recent`: who has been touched since the last call. */
  constructor(recent: () => Iterable<Tenant>, metrics: Metrics) {
    this.#recent = recent;
    metrics.beforeSamples(() => this.#update());
    const gauge = (metric: string, help: string, name: NumberName): void =>
      metrics.gauge(metric, help, () => this.#sums[at(name)]!);
    gauge('shoal_connections', 'Clients connected', 'connections');
    gauge('shoal_sessions', 'Sessions, connected or not', 'sessions');
    gauge('shoal_subscriptions', 'Subscriptions', 'subscriptions');
    gauge('shoal_tenant_memory_bytes', 'Memory that tenants hold, as their quotas count it', 'memoryBytes');
    const most = 'The same of the tenant that holds most, to within a tenth';
    metrics.gauge('shoal_tenant_memory_max_bytes', most, () => this.#largest.value);
    for (const [meter, [name, help]] of Object.entries(meterTotals) as [keyof Meters, readonly [string, string]][])
      metrics.total(name, help, () => this.#sums[at(meter)]!);
  }

  #update(): void {
    for (const tenant of this.#recent()) this.#count(tenant);
  }

  /** As it was at most ten seconds ago: with ten thousand tenants at work to count is 3 ms. */
  load(monotonicMs: number): BrokerLoad {
    if (monotonicMs - this.#loadAtMs >= loadEveryMs) {
      this.#loadAtMs = monotonicMs;
      this.#update();
    }
    return { connections: this.#sums[at('connections')]!, sessions: this.#sums[at('sessions')]! };
  }

  add(tenant: Tenant): void {
    const counted = Array<number>(readers.length).fill(0);
    this.#counted.set(tenant, counted);
    this.#largest.move(undefined, counted[memoryAt]);
    this.#count(tenant);
  }

  #count(tenant: Tenant): void {
    const counted = this.#counted.get(tenant);
    if (!counted) return; // It is not here yet, or not any more, and something of it was still under way.
    const memoryBefore = counted[memoryAt]!;
    readers.forEach((read, i) => {
      const value = read(tenant);
      this.#sums[i]! += value - counted[i]!;
      counted[i] = value;
    });
    this.#largest.move(memoryBefore, counted[memoryAt]);
  }

  /** The tenant is not here any more: what it has counted stays, for totals never go back. */
  forget(tenant: Tenant): void {
    this.#count(tenant);
    const counted = this.#counted.get(tenant);
    if (!counted) return; // It was deleted while it was being opened.
    this.#counted.delete(tenant);
    this.#largest.move(counted[memoryAt], undefined);
    for (const name of Object.keys(numbers) as NumberName[]) this.#sums[at(name)]! -= counted[at(name)]!;
  }
}
