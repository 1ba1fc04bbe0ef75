/** What tells operators how Shoal is: alarms, who hears of them, and a dashboard. */
import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { Alarm, type IAlarm, type IAlarmAction } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { EventField, Rule, RuleTargetInput } from 'aws-cdk-lib/aws-events';
import { SnsTopic } from 'aws-cdk-lib/aws-events-targets';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import type { Construct } from 'constructs';
import { type AlarmRow, alarmRows, type Watched } from '../constructs/alarm-rows.js';
import { alarmTopic } from '../constructs/alarm-topic.js';
import { addDashboard } from '../constructs/dashboard.js';
import { settingsMark } from '../constructs/settings-mark.js';
import type { Stage } from '../stages.js';

export interface ObservabilityStackProps extends StackProps, Watched {}

export class ObservabilityStack extends Stack {
  constructor(scope: Construct, id: string, { stage, broker, tenantsApi, ...props }: ObservabilityStackProps) {
    super(scope, id, props);
    const watched: Watched = { stage, broker, tenantsApi };
    const topic = alarmTopic(this, stage);
    const action = new SnsAction(topic);
    const alarms = alarmRows(watched).map((row) => this.#alarm(row, stage, action));
    this.#tellFailedDeployments(watched, topic);
    this.#tellDeadBrokers(watched, topic);
    addDashboard(this, watched, alarms);
    new CfnOutput(this, 'AlarmTopic', { value: topic.topicArn, description: 'Subscribe to it to get alarms' });
  }

  #alarm({ name, meaning, metric, ...row }: AlarmRow, stage: Stage, action: IAlarmAction): IAlarm {
    const alarm = new Alarm(this, name, {
      alarmName: `shoal-${stage.name}-${name}`,
      alarmDescription: `${meaning}. What to do: docs/runbook.md, ${name} (settings ${settingsMark(stage)})`,
      metric,
      comparisonOperator: row.comparison,
      threshold: row.threshold,
      evaluationPeriods: row.periods,
      treatMissingData: row.missing,
    });
    alarm.addAlarmAction(action);
    alarm.addOkAction(action);
    return alarm;
  }

  /** One that ended by itself, or was killed for its memory. A crash loop with short lives would reach no other alarm. */
  #tellDeadBrokers({ stage, broker: { cluster, service } }: Watched, topic: ITopic): void {
    new Rule(this, 'broker-died', {
      description: `A broker has ended without being told to (settings ${settingsMark(stage)})`,
      eventPattern: {
        source: ['aws.ecs'],
        detailType: ['ECS Task State Change'],
        detail: {
          clusterArn: [cluster.clusterArn],
          group: [`service:${service.serviceName}`],
          lastStatus: ['STOPPED'],
          stopCode: ['EssentialContainerExited', 'TaskFailedToStart'],
        },
      },
      targets: [
        new SnsTopic(topic, {
          message: RuleTargetInput.fromText(
            `A broker has ended: ${EventField.fromPath('$.detail.stoppedReason')} (${EventField.fromPath('$.detail.taskArn')}). ` +
              'See docs/runbook.md, broker-died',
          ),
        }),
      ],
    });
  }

  /** ECS has gone back to the version before; there is no metric for it. */
  #tellFailedDeployments({ stage, broker }: Watched, topic: ITopic): void {
    new Rule(this, 'deployment-failed', {
      description: `A deployment of the brokers has failed (settings ${settingsMark(stage)})`,
      eventPattern: {
        source: ['aws.ecs'],
        detailType: ['ECS Deployment State Change'],
        resources: [broker.service.serviceArn],
        detail: { eventName: ['SERVICE_DEPLOYMENT_FAILED'] },
      },
      targets: [
        new SnsTopic(topic, {
          message: RuleTargetInput.fromText(
            'A deployment of the brokers has failed. See docs/runbook.md, deployment-failed',
          ),
        }),
      ],
    });
  }
}
