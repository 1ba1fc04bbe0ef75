/** What tells operators how Shoal is: alarms, who hears of them, and a dashboard. */
import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { Alarm, type IAlarm, type IAlarmAction } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Rule, RuleTargetInput } from 'aws-cdk-lib/aws-events';
import { SnsTopic } from 'aws-cdk-lib/aws-events-targets';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import type { Construct } from 'constructs';
import { type AlarmRow, alarmRows, type Watched } from '../constructs/alarm-rows.js';
import { alarmTopic } from '../constructs/alarm-topic.js';
import { addDashboard } from '../constructs/dashboard.js';

export interface ObservabilityStackProps extends StackProps, Watched {}

export class ObservabilityStack extends Stack {
  constructor(scope: Construct, id: string, { stage, broker, tenantsApi, ...props }: ObservabilityStackProps) {
    super(scope, id, props);
    const watched: Watched = { stage, broker, tenantsApi };
    const topic = alarmTopic(this, stage);
    const action = new SnsAction(topic);
    const alarms = alarmRows(watched).map((row) => this.#alarm(row, stage.name, action));
    this.#tellFailedDeployments(broker.service.serviceArn, topic);
    addDashboard(this, watched, alarms);
    new CfnOutput(this, 'AlarmTopic', { value: topic.topicArn, description: 'Subscribe to it to get alarms' });
  }

  #alarm({ name, meaning, metric, ...row }: AlarmRow, stageName: string, action: IAlarmAction): IAlarm {
    const alarm = new Alarm(this, name, {
      alarmName: `shoal-${stageName}-${name}`,
      alarmDescription: `${meaning}. What to do: docs/runbook.md, ${name}`,
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

  /** ECS has gone back to the version before; there is no metric for it. */
  #tellFailedDeployments(serviceArn: string, topic: ITopic): void {
    new Rule(this, 'deployment-failed', {
      description: 'A deployment of the brokers has failed',
      eventPattern: {
        source: ['aws.ecs'],
        detailType: ['ECS Deployment State Change'],
        resources: [serviceArn],
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
