/** One broker as a task: its image, size, settings, limits and rights. */
import { Duration, Stack } from 'aws-cdk-lib';
import type { IVpc } from 'aws-cdk-lib/aws-ec2';
import {
  AwsLogDriverMode,
  Capability,
  type ContainerDefinition,
  CpuArchitecture,
  FargateTaskDefinition,
  type HealthCheck,
  LinuxParameters,
  LogDriver,
  OperatingSystemFamily,
  Secret as TaskSecret,
  UlimitName,
} from 'aws-cdk-lib/aws-ecs';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import { type ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { brokerAccess } from '../../services/dynamo/dynamo.js';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';
import { brokerImage } from './broker-image.js';
import { brokerPorts, drainSeconds, healthPath, linksPort, stopTimeoutSeconds } from './broker-ports.js';
import { generatedSecret } from './generated-secret.js';
import { grantAccess, type Tables, tablesKeyReasons } from './table-access.js';

/** A socket is a descriptor; the default of 65 535 would be too near to 50 000 connections. */
const openFilesMax = 1_048_576;
/** The rest is for buffers outside V8's heap, of which each connection has some. */
const heapShare = 0.6;
/**
 * Whatever is alive in the young generation is copied while everybody waits. With V8's own size that is 20 to 30 ms when a tenant
 * has hundreds of thousands of messages to store, and with this one a third; other traffic takes the same time with both.
 */
const semiSpaceMiB = 8;

/**
 * Whether the process answers at all: one that stands by says 503, and is well. The first check comes after a minute. By then the
 * load balancer knows the task and asks it, so that whoever is stopped for it has somebody to hand over to.
 */
const aliveCheck: HealthCheck = {
  command: ['CMD', '/usr/local/bin/node', '-e', aliveProgram(brokerPorts.health)],
  interval: Duration.seconds(60),
  timeout: Duration.seconds(10),
  retries: 3,
};

/** The image has no shell and no curl. */
export function aliveProgram(port: number): string {
  return `require('node:http').get('http://127.0.0.1:${port}${healthPath}',()=>process.exit(0)).on('error',()=>process.exit(1))`;
}

export interface BrokerTaskProps {
  readonly stage: Stage;
  readonly vpc: IVpc;
  readonly data: Tables;
  readonly logGroup: LogGroup;
}

export class BrokerTask extends Construct {
  readonly definition: FargateTaskDefinition;
  readonly container: ContainerDefinition;

  constructor(scope: Construct, id: string, { stage, vpc, data, logGroup }: BrokerTaskProps) {
    super(scope, id);
    this.definition = new FargateTaskDefinition(this, 'definition', {
      cpu: stage.brokerCpu,
      memoryLimitMiB: stage.brokerMemoryMiB,
      runtimePlatform: {
        cpuArchitecture: CpuArchitecture.ARM64,
        operatingSystemFamily: OperatingSystemFamily.LINUX,
      },
    });
    this.container = this.definition.addContainer('broker', {
      image: brokerImage(this, stage),
      environment: brokerEnvironment(this, stage, vpc),
      secrets: { ...this.#certificate(stage), ...this.#clusterKeys(stage, data) },
      logging: LogDriver.awsLogs({
        logGroup,
        streamPrefix: 'broker',
        // A broker never waits for its log: what does not fit into the buffer is lost before a client is.
        mode: AwsLogDriverMode.NON_BLOCKING,
      }),
      portMappings: portsOf(stage).map((containerPort) => ({ containerPort })),
      readonlyRootFilesystem: !stage.executeCommand, // the shell's agent writes to it
      linuxParameters: this.#noCapabilities(),
      privileged: false,
      ...(stage.clustered && { healthCheck: aliveCheck }),
      stopTimeout: Duration.seconds(stopTimeoutSeconds),
      ulimits: [{ name: UlimitName.NOFILE, softLimit: openFilesMax, hardLimit: openFilesMax }],
    });
    grantAccess(this.definition.taskRole, data, brokerAccess, { describes: true });
    acknowledge(this.definition, {
      'AwsSolutions-ECS2':
        'Ports, limits and names are not secret; the certificate of the broker is in Secrets Manager',
      'AwsSolutions-IAM5[Resource::*]': 'ecr:GetAuthorizationToken has no resource; a shell in dev has none either',
      ...(data.key && tablesKeyReasons),
    });
  }

  #noCapabilities(): LinuxParameters {
    // Node.js does not become process 1, for which a SIGTERM does not exist until somebody listens to it.
    const parameters = new LinuxParameters(this, 'linux', { initProcessEnabled: true });
    parameters.dropCapabilities(Capability.ALL); // all its ports are above 1024
    return parameters;
  }

  /** Made by AWS, seen by nobody. Both are valid at any time, so that either can be renewed while brokers run. */
  #clusterKeys(stage: Stage, { key }: Tables): Record<string, TaskSecret> {
    if (!stage.clustered) return {};
    const [a, b] = (['a', 'b'] as const).map((letter) =>
      generatedSecret(this, `cluster-key-${letter}`, {
        ...{ stage, tablesKey: key, what: `key ${letter} of the links between brokers` },
        renewal: 'Brokers have to be restarted for it: docs/runbook.md says how',
      }),
    ) as [ISecret, ISecret];
    const [first, second] = stage.clusterKeyFirst === 'a' ? [a, b] : [b, a];
    return {
      SHOAL_CLUSTER_KEY: TaskSecret.fromSecretsManager(first),
      SHOAL_CLUSTER_KEY_2: TaskSecret.fromSecretsManager(second),
    };
  }

  #certificate(stage: Stage): Record<string, TaskSecret> {
    if (stage.tlsSecretArn === undefined) return {};
    const secret = Secret.fromSecretCompleteArn(this, 'certificate', stage.tlsSecretArn);
    return {
      SHOAL_TLS_CERT: TaskSecret.fromSecretsManager(secret, 'cert'),
      SHOAL_TLS_KEY: TaskSecret.fromSecretsManager(secret, 'key'),
    };
  }
}

const heapMiB = (stage: Stage): number => Math.floor(stage.brokerMemoryMiB * heapShare);

/** What `services/broker/config.ts` reads. */
function brokerEnvironment(scope: Construct, stage: Stage, vpc: IVpc): Record<string, string> {
  const { mqtt, mqtts, ws, health } = brokerPorts;
  return {
    AWS_REGION: Stack.of(scope).region,
    NODE_ENV: 'production',
    NODE_OPTIONS: `--max-old-space-size=${heapMiB(stage)} --max-semi-space-size=${semiSpaceMiB}`,
    SHOAL_STAGE: stage.name,
    SHOAL_TABLE_PREFIX: stage.tablePrefix,
    SHOAL_HOST: '0.0.0.0',
    ...(stage.mqttTls === 'nlb' ? { SHOAL_MQTT_PORT: String(mqtt) } : { SHOAL_MQTTS_PORT: String(mqtts) }),
    SHOAL_WS_PORT: String(ws),
    SHOAL_HEALTH_PORT: String(health),
    // The load balancer is in the public subnets, and nobody else gets through the security group.
    SHOAL_TRUST_PROXY: vpc.publicSubnets.map(({ ipv4CidrBlock }) => ipv4CidrBlock).join(','),
    SHOAL_KEEP_ALIVE_SECONDS_MAX: String(stage.keepAliveSecondsMax),
    SHOAL_CONNECTIONS_MAX: String(stage.connectionsMax),
    SHOAL_DRAIN_SECONDS: String(drainSeconds),
    ...(stage.clustered && { SHOAL_MESH_PORT: String(linksPort), SHOAL_MESH_ADDRESS: 'ecs' }),
    SHOAL_METRICS_EMF: '1',
    SHOAL_LOG_LEVEL: stage.logLevel,
  };
}

/** Those of the listeners that the load balancer sends clients to, the health port, and that for other brokers. */
function portsOf(stage: Stage): readonly number[] {
  const { mqtt, mqtts, ws, health } = brokerPorts;
  return [stage.mqttTls === 'nlb' ? mqtt : mqtts, ws, health, ...(stage.clustered ? [linksPort] : [])];
}
