/** One page that shows how a stage is: what devices see on top, what might be the cause below. */
import {
  AlarmStatusWidget,
  Dashboard,
  GraphWidget,
  type IAlarm,
  type IMetric,
  TextWidget,
} from 'aws-cdk-lib/aws-cloudwatch';
import type { Construct } from 'constructs';
import type { Watched } from './alarm-rows.js';
import { settingsMark } from './settings-mark.js';
import { type BrokerMetric, brokerMetric, type Statistic } from './broker-metrics.js';

const halfPage = 12;

export function addDashboard(
  scope: Construct,
  { stage, broker, tenantsApi }: Watched,
  alarms: readonly IAlarm[],
): Dashboard {
  const metrics = (statistic: Statistic, ...names: BrokerMetric[]): IMetric[] =>
    names.map((name) => brokerMetric(stage, name, statistic));
  const graph = (title: string, left: IMetric[], right: IMetric[] = []): GraphWidget =>
    new GraphWidget({ title, left, right, width: halfPage });
  const { service, loadBalancer, targetGroups } = broker;
  const { api, function: handler } = tenantsApi;
  return new Dashboard(scope, 'dashboard', {
    dashboardName: `shoal-${stage.name}`,
    widgets: [
      [new AlarmStatusWidget({ title: 'Alarms', alarms: [...alarms], width: 2 * halfPage, height: 4 })],
      [
        graph('Connections', metrics('Sum', 'Connections', 'Sessions'), metrics('Maximum', 'ConnectionsUsed')),
        graph('Messages a minute', metrics('Sum', 'MessagesReceived', 'MessagesSent')),
      ],
      [
        graph('Clients that connect', metrics('Sum', 'ConnectsAdmitted', 'ConnectsRefused', 'ConnectsFailed')),
        graph('Not delivered', metrics('Sum', 'MessagesDroppedSlow', 'MessagesDroppedOverQuota')),
      ],
      [
        graph(
          'Broker',
          [service.metricCpuUtilization(), service.metricMemoryUtilization()],
          metrics('Maximum', 'EventLoopDelay'),
        ),
        graph('Serving', [
          ...targetGroups.map((group) => group.metrics.healthyHostCount({ statistic: 'Maximum' })),
          ...metrics('Maximum', 'LeaseHeld'),
        ]),
      ],
      ...(stage.clustered
        ? [
            [
              graph('Brokers that live (each tells once a minute)', metrics('Sum', 'LeaseHeld')),
              graph('Links that are silent or missing, at a broker', metrics('Maximum', 'LinksDown')),
            ],
          ]
        : []),
      [
        graph('DynamoDB units a minute', metrics('Sum', 'DynamoReadUnits', 'DynamoWriteUnits')),
        graph(
          'DynamoDB trouble',
          metrics('Sum', 'DynamoThrottles', 'DynamoErrors', 'CommitFailures', 'CommitsWaiting'),
        ),
      ],
      [
        graph('Load balancer', [loadBalancer.metrics.activeFlowCount()], [loadBalancer.metrics.consumedLCUs()]),
        graph(
          'Tenant API',
          [api.metricCount(), api.metricClientError(), api.metricServerError()],
          [handler.metricDuration()],
        ),
      ],
      [
        new TextWidget({
          markdown: `What to do about an alarm: \`docs/runbook.md\` (settings ${settingsMark(stage)})`,
          width: 2 * halfPage,
          height: 1,
        }),
      ],
    ],
  });
}
