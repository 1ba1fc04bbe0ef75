/**
 * The alarms as data: one row each, and one section in docs/runbook.md under the same name, which says what to do. A row
 * is there because somebody should act; what is only good to know is on the dashboard.
 */
import { Duration } from 'aws-cdk-lib';
import { ComparisonOperator, type IMetric, MathExpression, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import type { BrokerStack } from '../stacks/broker.js';
import type { TenantsApiStack } from '../stacks/tenants-api.js';
import type { Stage } from '../stages.js';
import { type BrokerMetric, brokerMetric, type Statistic } from './broker-metrics.js';

export interface AlarmRow {
  /** The heading in the runbook. */
  readonly name: string;
  readonly meaning: string;
  readonly metric: IMetric;
  readonly comparison: ComparisonOperator;
  readonly threshold: number;
  /** How many periods of the metric in a row. */
  readonly periods: number;
  readonly missing: TreatMissingData;
}

export interface Watched {
  readonly stage: Stage;
  readonly broker: BrokerStack;
  readonly tenantsApi: TenantsApiStack;
}

const fiveMinutes = Duration.minutes(5);
/** Longer than a deployment, in which nobody serves for four minutes at worst. */
const withoutBrokerMinutes = 6;
/** ACM renews its own certificates 60 days before their end; one that is still there at 30 has a problem. */
const certificateDays = 30;

export function alarmRows(watched: Watched): readonly AlarmRow[] {
  const { stage } = watched;
  return [
    ...serviceRows(watched),
    ...brokerRows(stage),
    ...storeRows(stage),
    ...apiRows(watched),
    ...(stage.clustered ? clusterRows(watched) : []),
  ];
}

/** Seen from outside the process. */
function serviceRows({ stage, broker: { service, targetGroups, loadBalancer, certificate } }: Watched): AlarmRow[] {
  const balancer = (name: string): Metric =>
    loadBalancer.metrics.custom(name, { statistic: 'Sum', period: fiveMinutes });
  const daysLeft = new Metric({
    namespace: 'AWS/CertificateManager',
    metricName: 'DaysToExpiry',
    dimensionsMap: { CertificateArn: certificate.certificateArn },
    statistic: 'Minimum',
    period: Duration.days(1),
  });
  // The average over tasks would hide the one that serves among those that stand by.
  const busiest = { period: fiveMinutes, statistic: stage.clustered ? 'Maximum' : 'Average' };
  const healthy = targetGroups[0]!.metrics.healthyHostCount({ statistic: 'Maximum', period: Duration.minutes(1) });
  return [
    {
      ...below('no-broker', 'No broker is healthy: devices cannot connect', healthy, 1, withoutBrokerMinutes),
      missing: TreatMissingData.BREACHING,
    },
    above('memory-high', 'A broker may run out of memory', service.metricMemoryUtilization(busiest), 85),
    above(
      'ports-exhausted',
      'The load balancer cannot open more connections to a task',
      balancer('PortAllocationErrorCount'),
      1,
    ),
    above(
      'tls-failures',
      'Many TLS handshakes fail',
      tlsFailures(stage, balancer('ClientTLSNegotiationErrorCount')),
      100,
      2,
    ),
    {
      ...below(
        'certificate-expires',
        `The certificate expires within ${certificateDays} days`,
        daysLeft,
        certificateDays,
      ),
      missing: TreatMissingData.IGNORE, // told once a day
    },
  ];
}

/** Wherever TLS ends. */
function tlsFailures(stage: Stage, atBalancer: Metric): IMetric {
  if (stage.mqttTls === 'nlb') return atBalancer;
  const atBrokers = brokerMetric(stage, 'TlsFailures', 'Sum').with({ period: fiveMinutes });
  return new MathExpression({
    expression: 'FILL(balancer, 0) + FILL(brokers, 0)',
    usingMetrics: { balancer: atBalancer, brokers: atBrokers },
    period: fiveMinutes,
    label: 'TLS failures',
  });
}

/** Of one vCPU, as brokers tell it: one thread does the work, so of a larger task no more than that can be used. */
function cpuPercentMax({ brokerCpu }: Stage): number {
  return Math.round((85 * Math.min(brokerCpu, 1024)) / 1024);
}

/** What brokers tell of themselves. */
function brokerRows(stage: Stage): AlarmRow[] {
  const minute = (name: BrokerMetric, statistic: Statistic): Metric => brokerMetric(stage, name, statistic);
  const sum = (name: BrokerMetric): Metric => brokerMetric(stage, name, 'Sum').with({ period: fiveMinutes });
  return [
    above('cpu-high', 'A broker uses most of its CPU', minute('CpuUsed', 'Maximum'), cpuPercentMax(stage), 15),
    below('lease-not-held', 'No broker holds a lease: none serves', minute('LeaseHeld', 'Maximum'), 1, 5),
    above(
      'connections-near-limit',
      'A broker is near its limit of connections',
      minute('ConnectionsUsed', 'Maximum'),
      80,
      5,
    ),
    above('sockets-refused', 'Brokers close many new connections before CONNECT', sum('SocketsRefused'), 100),
    above('event-loop-slow', 'The event loop of a broker is slow', minute('EventLoopDelay', 'Maximum'), 250, 5),
    above('connects-failed', 'Clients cannot connect because of brokers or DynamoDB', sum('ConnectsFailed'), 10, 2),
    above('connections-failed', 'A fault of the broker closed connections', sum('ConnectionsFailed'), 1),
  ];
}

/** What DynamoDB makes brokers wait for. */
function storeRows(stage: Stage): AlarmRow[] {
  const sum = (name: BrokerMetric): Metric => brokerMetric(stage, name, 'Sum').with({ period: fiveMinutes });
  const waiting = brokerMetric(stage, 'CommitsWaiting', 'Maximum');
  return [
    above('commits-failing', 'Messages are stored only after retries', sum('CommitFailures'), 10, 2),
    above('commits-waiting', 'Many sessions wait for their messages to be stored', waiting, 1000, 5),
    above('dynamodb-throttled', 'DynamoDB throttles brokers', sum('DynamoThrottles'), 10, 2),
    above('dynamodb-errors', 'Calls to DynamoDB fail', sum('DynamoErrors'), 10, 2),
    above('records-unreadable', 'Stored sessions cannot be read', sum('RecordsUnreadable'), 1),
  ];
}

/** Where several brokers run. None of these stops clients yet; each is what makes the next fault one that they notice. */
function clusterRows({ stage, broker: { targets } }: Watched): AlarmRow[] {
  // Each broker adds a line a minute, serving or not. Lines may fall into the next period, so half a broker is left in reserve.
  const alive = brokerMetric(stage, 'LeaseHeld', 'Sum').with({ period: fiveMinutes });
  const failures = targets!.function.metricErrors({ period: fiveMinutes });
  return [
    below('brokers-missing', 'Fewer brokers live than there should be', alive, 5 * (stage.brokersMin - 0.5), 3),
    above(
      'links-down',
      'Brokers that live have no link to each other',
      brokerMetric(stage, 'LinksDown', 'Maximum'),
      1,
      5,
    ),
    above('targets-not-kept', 'Brokers that start may not become targets of the load balancer', failures, 1, 2),
  ];
}

function apiRows({ tenantsApi: { api, function: handler } }: Watched): AlarmRow[] {
  const slowest = api.metricIntegrationLatency({ statistic: 'p99', period: fiveMinutes });
  return [
    above('api-errors', 'The tenant API fails', api.metricServerError({ statistic: 'Sum', period: fiveMinutes }), 5),
    above('api-slow', 'The tenant API takes more than 3 s', slowest, 3000, 3),
    above(
      'api-throttled',
      'Lambda is throttled: the account has reached its concurrency limit',
      handler.metricThrottles({ period: fiveMinutes }),
      1,
    ),
  ];
}

/** At or above. */
function above(name: string, meaning: string, metric: IMetric, threshold: number, periods = 1): AlarmRow {
  const comparison = ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD;
  return { name, meaning, metric, comparison, threshold, periods, missing: TreatMissingData.NOT_BREACHING };
}

function below(name: string, meaning: string, metric: IMetric, threshold: number, periods = 1): AlarmRow {
  const comparison = ComparisonOperator.LESS_THAN_THRESHOLD;
  return { name, meaning, metric, comparison, threshold, periods, missing: TreatMissingData.NOT_BREACHING };
}
