/** The brokers behind their load balancer, and the names that devices find them by. */
import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import type { IVpc } from 'aws-cdk-lib/aws-ec2';
import type { NetworkLoadBalancer, NetworkTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { ARecord, RecordTarget } from 'aws-cdk-lib/aws-route53';
import { LoadBalancerTarget } from 'aws-cdk-lib/aws-route53-targets';
import type { FargateService, ICluster } from 'aws-cdk-lib/aws-ecs';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { BrokerListeners } from '../constructs/broker-listeners.js';
import { clientPorts, webSocketPath } from '../constructs/broker-ports.js';
import { BrokerService } from '../constructs/broker-service.js';
import { BrokerTargets } from '../constructs/broker-targets.js';
import { BrokerTask } from '../constructs/broker-task.js';
import { hostedZone } from '../constructs/hosted-zone.js';
import { retainedLogGroup } from '../constructs/log-group.js';
import type { Tables } from '../constructs/table-access.js';
import type { Stage } from '../stages.js';

export interface BrokerStackProps extends StackProps {
  readonly stage: Stage;
  readonly vpc: IVpc;
  readonly data: Tables;
}

export class BrokerStack extends Stack {
  readonly cluster: ICluster;
  readonly service: FargateService;
  readonly loadBalancer: NetworkLoadBalancer;
  readonly targetGroups: readonly NetworkTargetGroup[];
  readonly certificate: ICertificate;
  readonly logGroup: LogGroup;
  /** Of brokers that stand by; those of a service of one task are ECS's. */
  readonly targets: BrokerTargets | undefined;
  /** What devices connect to. */
  readonly endpoints: { readonly mqtts: string; readonly wss: string };

  constructor(scope: Construct, id: string, { stage, vpc, data, ...props }: BrokerStackProps) {
    super(scope, id, props);
    const zone = hostedZone(this, stage);
    this.logGroup = retainedLogGroup(this, 'log', stage);
    const listeners = new BrokerListeners(this, 'listeners', { stage, vpc, zone });
    const task = new BrokerTask(this, 'task', { stage, vpc, data, logGroup: this.logGroup });
    const brokers = new BrokerService(this, 'brokers', { stage, vpc, task });
    listeners.open(brokers.securityGroup);
    if (stage.clustered) {
      const { cluster, service } = brokers;
      this.targets = new BrokerTargets(this, 'targets', { stage, cluster, service, groups: listeners.targetGroups });
    } else listeners.attach(brokers.service, task.container.containerName);
    this.cluster = brokers.cluster;
    this.service = brokers.service;
    this.loadBalancer = listeners.loadBalancer;
    this.targetGroups = listeners.targetGroups;
    this.certificate = listeners.certificate;
    if (zone && stage.domainName !== undefined)
      new ARecord(this, 'name', {
        zone,
        recordName: `${stage.domainName}.`,
        target: RecordTarget.fromAlias(new LoadBalancerTarget(this.loadBalancer)),
      });
    const host = stage.domainName ?? this.loadBalancer.loadBalancerDnsName;
    this.endpoints = {
      mqtts: `mqtts://${host}:${clientPorts.mqtts}`,
      wss: `wss://${host}:${clientPorts.wss}${webSocketPath}`,
    };
    this.#tell('MqttEndpoint', this.endpoints.mqtts, 'MQTT over TLS');
    this.#tell('WebSocketEndpoint', this.endpoints.wss, 'MQTT over WebSocket');
    this.#tell('LoadBalancerName', this.loadBalancer.loadBalancerDnsName, 'Target for your own CNAME record');
    this.#tell('Cluster', brokers.cluster.clusterName, 'ECS cluster');
    this.#tell('Service', this.service.serviceName, 'ECS service');
    this.#tell('LogGroup', this.logGroup.logGroupName, 'Log of the brokers');
  }

  #tell(name: string, value: string, description: string): void {
    new CfnOutput(this, name, { value, description });
  }
}
