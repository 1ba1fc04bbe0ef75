/**
 * The few metrics that go to CloudWatch, where each costs money: what alarms, scaling and a dashboard need. Each row is
 * read from metrics of the registry; `docs/metrics.md` lists the same rows. Used by `emf.ts`; `/metrics` has everything.
 */
import type { MetricSample } from '../../kernel/kernel.js';

/** Those that CloudWatch knows and that are used here. */
export type Unit = 'Count' | 'Percent' | 'Bytes' | 'Milliseconds' | 'None';

export interface TaskMetric {
  readonly name: string;
  readonly unit: Unit;
  readonly meaning: string;
  /** `now`: as it stands. `change`: what was added since the line before. */
  readonly read: 'now' | 'change';
  /** Family in the registry; its members are added up. */
  readonly from: string;
  readonly where?: (labels: MetricSample['labels']) => boolean;
}

/** Refusals that are not the client's doing. `server-busy` is not among them: who floods the door would raise the alarm. */
const ownRefusals = new Set(['server-unavailable', 'unspecified-error']);

const now = (name: string, unit: Unit, from: string, meaning: string, where?: TaskMetric['where']): TaskMetric => ({
  ...{ name, unit, from, meaning },
  read: 'now',
  ...(where && { where }),
});

const change = (name: string, from: string, meaning: string, where?: TaskMetric['where']): TaskMetric => ({
  ...{ name, from, meaning },
  unit: 'Count',
  read: 'change',
  ...(where && { where }),
});

export const taskMetrics: readonly TaskMetric[] = [
  now('Connections', 'Count', 'shoal_connections', 'clients connected'),
  now('ConnectionsUsed', 'Percent', 'shoal_sockets_used_percent', 'open sockets of `SHOAL_CONNECTIONS_MAX`'),
  now('Sessions', 'Count', 'shoal_sessions', 'sessions, their clients connected or not'),
  now('CommitsWaiting', 'Count', 'shoal_commits_waiting', 'sessions that wait for something to be stored'),
  now('LeaseHeld', 'None', 'shoal_lease_held', '1 while the broker holds its lease, otherwise 0'),
  now(
    'LinksDown',
    'Count',
    'shoal_links',
    'links to other brokers that are silent or missing',
    ({ state }) => state !== 'up',
  ),
  now('EventLoopDelay', 'Milliseconds', 'shoal_minute_event_loop_delay_ms', 'how late timers ran, 99th percentile'),
  now(
    'EventLoopUsed',
    'Percent',
    'shoal_minute_event_loop_used_percent',
    'share of time in which the event loop was busy',
  ),
  now('CpuUsed', 'Percent', 'shoal_minute_cpu_percent', 'CPU time, of one vCPU'),
  now('MemoryUsed', 'Bytes', 'process_resident_memory_bytes', 'resident memory'),
  change('MessagesReceived', 'shoal_messages_received_total', 'PUBLISH packets from clients'),
  change('MessagesSent', 'shoal_messages_sent_total', 'PUBLISH packets to clients'),
  { ...change('PayloadReceived', 'shoal_payload_bytes_received_total', 'payload bytes from clients'), unit: 'Bytes' },
  { ...change('PayloadSent', 'shoal_payload_bytes_sent_total', 'payload bytes to clients'), unit: 'Bytes' },
  change(
    'MessagesDroppedSlow',
    'shoal_messages_dropped_slow_subscriber_total',
    'QoS 0 messages to clients that read too slowly',
  ),
  change(
    'MessagesDroppedOverQuota',
    'shoal_messages_dropped_over_quota_total',
    'messages over a queue, memory or delivery limit',
  ),
  change('MessagesRefused', 'shoal_messages_refused_total', 'messages that access rules refused'),
  change(
    'PublishesLost',
    'shoal_publishes_lost_total',
    'PUBLISH packets received but not handled when their connection ended',
  ),
  change('ConnectsAdmitted', 'shoal_connects_admitted_total', 'CONNECTs admitted'),
  change('ConnectsRefused', 'shoal_connects_refused_total', 'CONNECTs refused, whatever the reason'),
  change(
    'ConnectsFailed',
    'shoal_connects_refused_total',
    'of these, refused because of the broker or DynamoDB',
    ({ reason }) => ownRefusals.has(reason ?? ''),
  ),
  change(
    'ConnectionsFailed',
    'shoal_connections_closed_total',
    'connections closed because of a fault of the broker',
    ({ fault }) => fault === 'server',
  ),
  change(
    'SocketsRefused',
    'shoal_sockets_refused_total',
    'sockets closed: no place was free, or no usable PROXY protocol header came',
  ),
  change('InternalErrors', 'shoal_internal_errors_total', 'faults of the broker itself that were caught'),
  change('TlsFailures', 'shoal_tls_failures_total', 'failed TLS handshakes with the broker'),
  change('DynamoReadUnits', 'shoal_dynamodb_units_total', 'read request units', ({ kind }) => kind === 'read'),
  change('DynamoWriteUnits', 'shoal_dynamodb_units_total', 'write request units', ({ kind }) => kind === 'write'),
  change(
    'DynamoThrottles',
    'shoal_dynamodb_errors_total',
    'calls that DynamoDB throttled',
    ({ kind }) => kind === 'throttled',
  ),
  change(
    'DynamoErrors',
    'shoal_dynamodb_errors_total',
    'calls to DynamoDB that failed otherwise',
    ({ kind }) => kind !== 'throttled',
  ),
  change('CommitFailures', 'shoal_commit_failures_total', 'failed writes of messages and states, which were repeated'),
  change('RecordsUnreadable', 'shoal_records_unreadable_total', 'stored records that could not be read'),
  change(
    'LeaseRenewalFailures',
    'shoal_lease_renewals_total',
    'failed renewals of the lease',
    ({ result }) => result !== 'renewed',
  ),
];
