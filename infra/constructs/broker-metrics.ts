/** What brokers print as EMF lines and CloudWatch makes metrics of; docs/metrics.md says what each means. */
import { Duration } from 'aws-cdk-lib';
import { Metric } from 'aws-cdk-lib/aws-cloudwatch';
import type { Stage } from '../stages.js';

/** Each task prints a line so often. */
const periodSeconds = 60;

export type BrokerMetric =
  | 'Connections'
  | 'ConnectionsUsed'
  | 'Sessions'
  | 'CommitsWaiting'
  | 'LeaseHeld'
  | 'LinksDown'
  | 'EventLoopDelay'
  | 'EventLoopUsed'
  | 'CpuUsed'
  | 'MemoryUsed'
  | 'MessagesReceived'
  | 'MessagesSent'
  | 'MessagesDroppedSlow'
  | 'MessagesDroppedOverQuota'
  | 'ConnectsAdmitted'
  | 'ConnectsRefused'
  | 'ConnectsFailed'
  | 'ConnectionsFailed'
  | 'SocketsRefused'
  | 'TlsFailures'
  | 'DynamoThrottles'
  | 'DynamoErrors'
  | 'DynamoReadUnits'
  | 'DynamoWriteUnits'
  | 'CommitFailures'
  | 'RecordsUnreadable';

export type Statistic = 'Sum' | 'Average' | 'Minimum' | 'Maximum';

/** Of values as they stand, `Sum` is that of all tasks and `Average` that of a task; of what is counted use `Sum`. */
export function brokerMetric(stage: Stage, metricName: BrokerMetric, statistic: Statistic): Metric {
  return new Metric({
    namespace: 'Shoal',
    metricName,
    dimensionsMap: { Stage: stage.name, Service: 'broker' },
    statistic,
    period: Duration.seconds(periodSeconds),
  });
}
