/**
 * Makes the tasks of a clustered service targets of the load balancer, and takes those away that have ended. ECS would do that
 * too, and would then kill each broker that stands by: docs/decisions/0049-standby-tasks.md.
 */
import { join } from 'node:path';
import { Duration } from 'aws-cdk-lib';
import type { FargateService, ICluster } from 'aws-cdk-lib/aws-ecs';
import type { NetworkTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { Rule, type RuleProps, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Architecture, Code, Function, Runtime } from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';
import { retainedLogGroup } from './log-group.js';

const code = join(import.meta.dirname, '../broker-targets');
/** Seven calls at most, of 8 s at worst. */
const timeoutSeconds = 60;
/** If an event gets lost, or comes too early. */
const everyMinutes = 1;

export interface BrokerTargetsProps {
  readonly stage: Stage;
  readonly cluster: ICluster;
  readonly service: FargateService;
  readonly groups: readonly NetworkTargetGroup[];
}

export class BrokerTargets extends Construct {
  readonly function: Function;

  constructor(scope: Construct, id: string, { stage, cluster, service, groups }: BrokerTargetsProps) {
    super(scope, id);
    const logGroup = retainedLogGroup(this, 'log', stage);
    const role = new Role(this, 'role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
    logGroup.grantWrite(role);
    const groupArns = groups.map(({ targetGroupArn }) => targetGroupArn);
    this.function = new Function(this, 'function', {
      description: `Shoal (${stage.name}): makes running brokers targets of the load balancer`,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      code: Code.fromAsset(code, { exclude: ['*.d.mts'] }),
      handler: 'index.handler',
      memorySize: 256,
      timeout: Duration.seconds(timeoutSeconds),
      role,
      logGroup,
      environment: {
        SHOAL_CLUSTER: cluster.clusterName,
        SHOAL_SERVICE: service.serviceName,
        SHOAL_TARGET_GROUPS: groupArns.join(','),
      },
    });
    this.#mayLook(role, cluster);
    role.addToPolicy(
      new PolicyStatement({
        actions: ['elasticloadbalancing:RegisterTargets', 'elasticloadbalancing:DeregisterTargets'],
        resources: groupArns,
      }),
    );
    this.#callWhen('changed', {
      description: 'A broker has started or ended',
      eventPattern: {
        source: ['aws.ecs'],
        detailType: ['ECS Task State Change'],
        detail: { clusterArn: [cluster.clusterArn], group: [`service:${service.serviceName}`] },
      },
    });
    this.#callWhen('again', {
      description: 'Whether all brokers are targets',
      schedule: Schedule.rate(Duration.minutes(everyMinutes)),
    });
  }

  #mayLook(role: Role, cluster: ICluster): void {
    role.addToPolicy(
      new PolicyStatement({
        actions: ['ecs:ListTasks', 'ecs:DescribeTasks'],
        resources: ['*'],
        conditions: { ArnEquals: { 'ecs:cluster': cluster.clusterArn } },
      }),
    );
    role.addToPolicy(new PolicyStatement({ actions: ['elasticloadbalancing:DescribeTargetHealth'], resources: ['*'] }));
    acknowledge(role, {
      'AwsSolutions-IAM5[Resource::*]':
        'ListTasks and DescribeTargetHealth have no resource to name; of tasks, the cluster is a condition',
    });
  }

  #callWhen(id: string, props: RuleProps): void {
    new Rule(this, id, { ...props, targets: [new LambdaFunction(this.function)] });
  }
}
