/**
 * The load balancer that devices connect to, and what it does with a connection. Time-outs, health checks and what
 * happens to connections of a task that stops are chosen together; docs/decisions/0010-deployment.md says why.
 */
import { Annotations, CfnParameter, Duration } from 'aws-cdk-lib';
import { Certificate, CertificateValidation, type ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import { type IVpc, Peer, Port, SecurityGroup, SubnetType } from 'aws-cdk-lib/aws-ec2';
import type { FargateService } from 'aws-cdk-lib/aws-ecs';
import {
  type BaseNetworkListenerProps,
  NetworkLoadBalancer,
  NetworkTargetGroup,
  Protocol,
  SslPolicy,
  TargetType,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import type { IHostedZone } from 'aws-cdk-lib/aws-route53';
import { Construct } from 'constructs';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';
import { brokerPorts, clientPorts, healthPath } from './broker-ports.js';
import { isProtected } from './removal.js';

/** A task that is to stop gets no new clients after this; ECS tells it to stop only then, so it is short. */
const deregistrationSeconds = 15;
/** The least that a load balancer can do; a new task is found healthy after two. */
const healthCheckSeconds = 10;
const healthyAfter = 2;
/** 30 s: longer than the deregistration, so that a broker that drains is never cut off as unhealthy. */
const unhealthyAfter = 3;

export interface BrokerListenersProps {
  readonly stage: Stage;
  readonly vpc: IVpc;
  readonly zone: IHostedZone | undefined;
}

interface Target {
  readonly what: string;
  /** Of the container. */
  readonly port: number;
  readonly group: NetworkTargetGroup;
}

export class BrokerListeners extends Construct {
  readonly loadBalancer: NetworkLoadBalancer;
  readonly certificate: ICertificate;
  readonly #securityGroup: SecurityGroup;
  readonly #targets: readonly Target[];

  constructor(scope: Construct, id: string, { stage, vpc, zone }: BrokerListenersProps) {
    super(scope, id);
    this.#securityGroup = this.#clients(stage, vpc);
    this.loadBalancer = new NetworkLoadBalancer(this, 'load-balancer', {
      vpc,
      internetFacing: true,
      vpcSubnets: { subnetType: SubnetType.PUBLIC },
      securityGroups: [this.#securityGroup],
      crossZoneEnabled: true, // one task serves the addresses of all zones
      deletionProtection: isProtected(stage),
    });
    acknowledge(this.loadBalancer, {
      'AwsSolutions-ELB2':
        'It would log only TLS connections, hourly and without the client; the broker logs and counts every connection',
    });
    this.certificate = this.#certificate(stage, zone);
    const isPassing = stage.mqttTls === 'broker';
    const mqtt = this.#target('mqtt', vpc, isPassing ? brokerPorts.mqtts : brokerPorts.mqtt);
    const ws = this.#target('ws', vpc, brokerPorts.ws);
    this.#targets = [mqtt, ws];
    this.loadBalancer.addListener('mqtts', {
      port: clientPorts.mqtts,
      ...(isPassing
        ? { protocol: Protocol.TCP, tcpIdleTimeout: Duration.seconds(stage.mqttIdleSeconds) }
        : this.#tls()),
      defaultTargetGroups: [mqtt.group],
    });
    this.loadBalancer.addListener('wss', { port: clientPorts.wss, ...this.#tls(), defaultTargetGroups: [ws.group] });
  }

  get targetGroups(): readonly NetworkTargetGroup[] {
    return this.#targets.map(({ group }) => group);
  }

  /** Opens the ways between load balancer and tasks: these and no others. */
  open(tasks: SecurityGroup): void {
    for (const { what, port } of [...this.#targets, { what: 'health', port: brokerPorts.health }]) {
      tasks.addIngressRule(this.#securityGroup, Port.tcp(port), `${what} from the load balancer`);
      this.#securityGroup.addEgressRule(tasks, Port.tcp(port), `${what} to brokers`);
    }
  }

  /** Lets ECS make the tasks of a service targets, and replace those that are not healthy as such. */
  attach(service: FargateService, container: string): void {
    for (const { group, port } of this.#targets)
      service.loadBalancerTarget({ containerName: container, containerPort: port }).attachToNetworkTargetGroup(group);
  }

  #clients(stage: Stage, vpc: IVpc): SecurityGroup {
    const group = new SecurityGroup(this, 'clients', {
      vpc,
      description: 'Load balancer: in from clients, out to brokers',
      allowAllOutbound: false,
    });
    for (const cidr of stage.clientCidrs)
      for (const [what, port] of Object.entries(clientPorts))
        group.addIngressRule(Peer.ipv4(cidr), Port.tcp(port), `${what} from clients`);
    acknowledge(group, {
      'AwsSolutions-EC23': 'Devices may be anywhere; clientCidrs narrows it. Only the two ports with TLS are open',
    });
    return group;
  }

  #tls(): Omit<BaseNetworkListenerProps, 'port'> {
    // TLS 1.2 and 1.3 with forward secrecy; no AES-CBC.
    return { protocol: Protocol.TLS, certificates: [this.certificate], sslPolicy: SslPolicy.TLS13_RES };
  }

  #certificate(stage: Stage, zone: IHostedZone | undefined): ICertificate {
    if (stage.certificateArn !== undefined)
      return Certificate.fromCertificateArn(this, 'certificate', stage.certificateArn);
    if (zone && stage.domainName !== undefined)
      return new Certificate(this, 'certificate', {
        domainName: stage.domainName,
        validation: CertificateValidation.fromDns(zone),
      });
    const parameter = new CfnParameter(this, 'certificate-arn', {
      type: 'String',
      allowedPattern: '^arn:aws:acm:[a-z0-9-]+:\\d{12}:certificate/.+$',
      description: 'ACM certificate for the name that devices connect to (see docs/deploy.md)',
    });
    parameter.overrideLogicalId('CertificateArn');
    Annotations.of(this).addInfoV2(
      'shoal:certificate',
      `certificateArn is not set: deploy with --parameters shoal-${stage.name}-broker:CertificateArn=<ARN>, or it stops at the third stack`,
    );
    return Certificate.fromCertificateArn(this, 'certificate', parameter.valueAsString);
  }

  #target(what: string, vpc: IVpc, port: number): Target {
    const group = new NetworkTargetGroup(this, `${what}-targets`, {
      vpc,
      port,
      protocol: Protocol.TCP,
      targetType: TargetType.IP,
      // Whose connection it is comes in a header before the first byte, that of TLS included.
      proxyProtocolV2: true,
      preserveClientIp: false,
      deregistrationDelay: Duration.seconds(deregistrationSeconds),
      connectionTermination: false, // the broker sends its clients away itself, paced, once it is told to stop
      healthCheck: {
        protocol: Protocol.HTTP,
        port: String(brokerPorts.health),
        path: healthPath,
        healthyHttpCodes: '200',
        interval: Duration.seconds(healthCheckSeconds),
        timeout: Duration.seconds(5),
        healthyThresholdCount: healthyAfter,
        unhealthyThresholdCount: unhealthyAfter,
      },
    });
    // A host that is gone answers nobody: its clients are told at once instead of waiting for their keep alive.
    group.setAttribute('target_health_state.unhealthy.connection_termination.enabled', 'true');
    return { what, port, group };
  }
}
