/** How many tasks run, where, and how a new version takes over from the old. docs/decisions/0010-deployment.md says why. */
import { Annotations, Duration } from 'aws-cdk-lib';
import { type IVpc, Peer, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import {
  AvailabilityZoneRebalancing,
  type CfnService,
  Cluster,
  ContainerInsights,
  FargatePlatformVersion,
  FargateService,
  type FargateServiceProps,
  type ICluster,
  PropagatedTagSource,
} from 'aws-cdk-lib/aws-ecs';
import { Construct } from 'constructs';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';
import { brokerMetric } from './broker-metrics.js';
import { linksPort } from './broker-ports.js';
import type { BrokerTask } from './broker-task.js';

/**
 * Of a service with one task: a broker that has just started may stand by until the one before has drained (120 s at most) or its lease has run
 * out (4 s); until then it is not healthy, and nobody may replace it for that.
 */
const standbySecondsMax = 180;
/** Of the connections that a task may have: beyond it, another task is started. */
const connectionsShare = 0.7;
const cpuPercent = 60;
/** Devices that are sent away come back elsewhere within seconds; the figures of before need not be acted on. */
const scaleInCooldownMinutes = 15;
const scaleOutCooldownMinutes = 2;

export interface BrokerServiceProps {
  readonly stage: Stage;
  readonly vpc: IVpc;
  readonly task: BrokerTask;
}

export class BrokerService extends Construct {
  readonly cluster: ICluster;
  readonly service: FargateService;
  readonly securityGroup: SecurityGroup;

  constructor(scope: Construct, id: string, { stage, vpc, task }: BrokerServiceProps) {
    super(scope, id);
    this.cluster = this.#cluster(stage, vpc);
    this.securityGroup = new SecurityGroup(this, 'brokers', {
      vpc,
      description: 'Brokers: in from the load balancer, out to AWS',
      allowAllOutbound: false,
    });
    this.securityGroup.addEgressRule(Peer.anyIpv4(), Port.HTTPS, 'DynamoDB, images, logs and secrets');
    if (stage.clustered) {
      const links = Port.tcp(linksPort);
      this.securityGroup.addIngressRule(this.securityGroup, links, 'links from other brokers');
      this.securityGroup.addEgressRule(this.securityGroup, links, 'links to other brokers');
    }
    this.service = new FargateService(this, 'service', {
      cluster: this.cluster,
      taskDefinition: task.definition,
      platformVersion: FargatePlatformVersion.LATEST,
      ...deployment(stage),
      circuitBreaker: { enable: true, rollback: true },
      assignPublicIp: false,
      vpcSubnets: { subnetGroupName: 'brokers' },
      securityGroups: [this.securityGroup],
      enableExecuteCommand: stage.executeCommand,
      enableECSManagedTags: true,
      propagateTags: PropagatedTagSource.SERVICE,
    });
    if (stage.clustered) this.#clustered(stage);
  }

  #cluster(stage: Stage, vpc: IVpc): ICluster {
    const insights = stage.containerInsights ? ContainerInsights.ENABLED : ContainerInsights.DISABLED;
    const cluster = new Cluster(this, 'cluster', { vpc, containerInsightsV2: insights });
    if (!stage.containerInsights)
      acknowledge(cluster, {
        'AwsSolutions-ECS4':
          'containerInsights=false: the metrics of the broker and of ECS, which cost less, are enough',
      });
    return cluster as ICluster;
  }

  #clustered(stage: Stage): void {
    Annotations.of(this).addWarningV2(
      'shoal:clustered',
      'clustered=true, but brokers of this release do not form a cluster: one serves, all others stand by',
    );
    if (stage.brokersMax === stage.brokersMin) return;
    // Where their number changes, the template must not set it back to the least with each deployment.
    (this.service.node.defaultChild as CfnService).addPropertyDeletionOverride('DesiredCount');
    const target = this.service.autoScaleTaskCount({ minCapacity: stage.brokersMin, maxCapacity: stage.brokersMax });
    const cooldown = {
      scaleInCooldown: Duration.minutes(scaleInCooldownMinutes),
      scaleOutCooldown: Duration.minutes(scaleOutCooldownMinutes),
    };
    target.scaleOnCpuUtilization('cpu', { targetUtilizationPercent: cpuPercent, ...cooldown });
    // Each task reports its own number, so their average is the connections per task.
    target.scaleToTrackCustomMetric('connections', {
      metric: brokerMetric(stage, 'Connections', 'Average'),
      targetValue: Math.floor(stage.connectionsMax * connectionsShare),
      ...cooldown,
    });
  }
}

/** What ECS may stop and start while it replaces tasks. */
function deployment(stage: Stage): Partial<FargateServiceProps> {
  const { clustered, brokersMin } = stage;
  if (clustered)
    return {
      desiredCount: brokersMin,
      minHealthyPercent: 100, // a new one lives, and stands by, before an old one is stopped ...
      maxHealthyPercent: Math.ceil((100 * (brokersMin + 1)) / brokersMin), // ... and one is replaced at a time
      availabilityZoneRebalancing: AvailabilityZoneRebalancing.ENABLED,
      // Healthy is whose container is (`broker-task.ts`); who gets clients, the load balancer asks.
    };
  return {
    desiredCount: 1,
    minHealthyPercent: 0, // the old one drains and gives up its lease ...
    maxHealthyPercent: 100, // ... before the new one starts, which could only stand by until then
    availabilityZoneRebalancing: AvailabilityZoneRebalancing.DISABLED, // would need a second task at the same time
    healthCheckGracePeriod: Duration.seconds(standbySecondsMax),
  };
}
