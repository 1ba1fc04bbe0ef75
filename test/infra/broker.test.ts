import { spawn } from 'node:child_process';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { aliveProgram } from '../../infra/constructs/broker-task.js';
import { readConfig } from '../../services/broker/config.js';
import { serveHealth } from '../../services/broker/ops/ops.js';
import { Metrics } from '../../services/kernel/kernel.js';
import { only, type Resource, resources, stageNames, synthesise } from './synthesis.js';

const taskDefinition = 'AWS::ECS::TaskDefinition';
const service = 'AWS::ECS::Service';
const targetGroup = 'AWS::ElasticLoadBalancingV2::TargetGroup';
const listener = 'AWS::ElasticLoadBalancingV2::Listener';
const loadBalancer = 'AWS::ElasticLoadBalancingV2::LoadBalancer';

const secret = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shoal-tls-a1B2c3';
const passing = { mqttTls: 'broker', tlsSecretArn: secret, mqttIdleSeconds: '6000', connectionsMax: '20000' };

interface Container {
  readonly Environment: readonly { readonly Name: string; readonly Value: unknown }[];
  readonly Secrets?: readonly { readonly Name: string; readonly ValueFrom: unknown }[];
  readonly [name: string]: unknown;
}

function containerOf(task: Resource): Container {
  const containers = task.Properties['ContainerDefinitions'] as Container[];
  expect(containers).toHaveLength(1);
  return containers[0]!;
}

function environmentOf(task: Resource): Record<string, unknown> {
  return Object.fromEntries(containerOf(task).Environment.map(({ Name, Value }) => [Name, Value]));
}

/** As the process would find them: what only AWS knows is a word here. */
function settingsOf(task: Resource): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environmentOf(task)).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : 'eu-central-1',
    ]),
  );
}

function attributesOf({ Properties }: Resource, list: string): Record<string, string> {
  const attributes = Properties[list] as { Key: string; Value: string }[];
  return Object.fromEntries(attributes.map(({ Key, Value }) => [Key, Value]));
}

describe.each(stageNames)('the brokers of %s', (name) => {
  const { templates, stage } = synthesise({ stage: name });
  const template = templates.broker;
  const task = only(template, taskDefinition);

  it('are one ARM64 task of the size that the stage says', () => {
    template.hasResourceProperties(taskDefinition, {
      RequiresCompatibilities: ['FARGATE'],
      NetworkMode: 'awsvpc',
      RuntimePlatform: { CpuArchitecture: 'ARM64', OperatingSystemFamily: 'LINUX' },
      Cpu: String(stage.brokerCpu),
      Memory: String(stage.brokerMemoryMiB),
    });
  });

  it('have most of the memory for the heap, and a young generation that is collected in short pauses', () => {
    const heapMiB = Math.floor(stage.brokerMemoryMiB * 0.6);
    expect(environmentOf(task)['NODE_OPTIONS']).toBe(`--max-old-space-size=${heapMiB} --max-semi-space-size=8`);
  });

  it('cannot write to their root file system, have no capabilities and enough file descriptors', () => {
    expect(containerOf(task)).toMatchObject({
      ReadonlyRootFilesystem: true,
      Privileged: false,
      LinuxParameters: { Capabilities: { Drop: ['ALL'] }, InitProcessEnabled: true },
      Ulimits: [{ Name: 'nofile', SoftLimit: 1_048_576, HardLimit: 1_048_576 }],
    });
  });

  it('have time to send their clients away before they are killed', () => {
    expect(containerOf(task)['StopTimeout']).toBe(120);
    // Nobody else serves meanwhile: a long drain would be a long gap.
    expect(Number(environmentOf(task)['SHOAL_DRAIN_SECONDS'])).toBe(20);
  });

  it('log to a group that ends, without ever waiting for it', () => {
    expect(containerOf(task)['LogConfiguration']).toMatchObject({
      LogDriver: 'awslogs',
      Options: { mode: 'non-blocking' },
    });
    template.hasResource('AWS::Logs::LogGroup', {
      Properties: { RetentionInDays: stage.logRetentionDays },
      DeletionPolicy: stage.keepsData ? 'RetainExceptOnCreate' : 'Delete',
    });
  });

  it('are replaced one after the other, and go back by themselves when the new version fails', () => {
    template.hasResourceProperties(service, {
      DesiredCount: 1,
      LaunchType: 'FARGATE',
      AvailabilityZoneRebalancing: 'DISABLED',
      DeploymentConfiguration: {
        MinimumHealthyPercent: 0,
        MaximumPercent: 100,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      },
    });
    template.resourceCountIs('AWS::ApplicationAutoScaling::ScalableTarget', 0);
  });

  it('are not taken for dead while they wait for the one before', () => {
    const { HealthCheckGracePeriodSeconds } = only(template, service).Properties;
    expect(HealthCheckGracePeriodSeconds).toBeGreaterThanOrEqual(120 + 15 + 30);
  });

  it('have no public address and no shell', () => {
    template.hasResourceProperties(service, {
      EnableExecuteCommand: false,
      NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: 'DISABLED' } },
    });
  });

  it('take nothing but what the load balancer sends', () => {
    const ingress = resources(template, 'AWS::EC2::SecurityGroupIngress');
    expect(ingress.map(({ Properties }) => Properties['FromPort']).toSorted()).toEqual([1883, 8080, 9090]);
    for (const { Properties } of ingress) expect(Properties).toHaveProperty('SourceSecurityGroupId');
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: 'Brokers: in from the load balancer, out to AWS',
      SecurityGroupIngress: Match.absent(),
      SecurityGroupEgress: [Match.objectLike({ FromPort: 443, ToPort: 443, IpProtocol: 'tcp' })],
    });
  });

  it('believe PROXY headers of the subnets of the load balancer alone', () => {
    const subnets = resources(templates.network, 'AWS::EC2::Subnet')
      .filter(({ Properties }) => JSON.stringify(Properties['Tags']).includes('"Public"'))
      .map(({ Properties }) => Properties['CidrBlock']);
    expect(subnets).toHaveLength(2);
    expect(environmentOf(task)['SHOAL_TRUST_PROXY']).toBe(subnets.join(','));
  });

  it('have settings that they take', () => {
    const config = readConfig(settingsOf(task));
    expect(config.ports).toEqual({ mqtt: 1883, mqtts: undefined, ws: 8080, wss: undefined });
    expect(config).toMatchObject({ emfStage: name, keepAliveSecondsMax: 300, connectionsMax: stage.connectionsMax });
    expect(config.dynamo.tablePrefix).toBe(stage.tablePrefix);
    expect(config.health).toEqual({ host: '0.0.0.0', port: 9090 });
    expect(config.drainMsMax + 15_000).toBeLessThan(120_000);
  });

  it('keep no secret in their settings', () => {
    for (const variable of Object.keys(environmentOf(task))) expect(variable).not.toMatch(/KEY$|CERT|SECRET|PASSWORD/);
  });

  it('say where they are', () => {
    for (const output of ['MqttEndpoint', 'WebSocketEndpoint', 'LoadBalancerName', 'Cluster', 'Service', 'LogGroup'])
      template.hasOutput(output, {});
  });
});

describe.each(stageNames)('the load balancer of %s', (name) => {
  const { templates, stage } = synthesise({ stage: name });
  const template = templates.broker;

  it('is open to clients on its two ports with TLS alone, and sends to brokers alone', () => {
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: 'Load balancer: in from clients, out to brokers',
      SecurityGroupIngress: [
        Match.objectLike({ CidrIp: '0.0.0.0/0', FromPort: 8883, ToPort: 8883 }),
        Match.objectLike({ CidrIp: '0.0.0.0/0', FromPort: 443, ToPort: 443 }),
      ],
    });
    const egress = resources(template, 'AWS::EC2::SecurityGroupEgress');
    expect(egress.map(({ Properties }) => Properties['FromPort']).toSorted()).toEqual([1883, 8080, 9090]);
    for (const { Properties } of egress) expect(Properties).toHaveProperty('DestinationSecurityGroupId');
  });

  it('serves all zones from any, and is not deleted by mistake', () => {
    const balancer = only(template, loadBalancer);
    expect(balancer.Properties).toMatchObject({ Type: 'network', Scheme: 'internet-facing' });
    expect(attributesOf(balancer, 'LoadBalancerAttributes')).toMatchObject({
      'load_balancing.cross_zone.enabled': 'true',
      'deletion_protection.enabled': String(stage.keepsData),
    });
  });

  it('ends TLS with 1.2 at least', () => {
    expect(resources(template, listener)).toHaveLength(2);
    for (const port of [8883, 443])
      template.hasResourceProperties(listener, {
        Port: port,
        Protocol: 'TLS',
        SslPolicy: 'ELBSecurityPolicy-TLS13-1-2-Res-2021-06',
        Certificates: [Match.anyValue()],
        ListenerAttributes: Match.absent(), // AWS refuses an idle time-out for TLS
      });
  });

  it('tells brokers whose connection it is', () => {
    for (const group of resources(template, targetGroup))
      expect(attributesOf(group, 'TargetGroupAttributes')).toMatchObject({
        'proxy_protocol_v2.enabled': 'true',
        'preserve_client_ip.enabled': 'false',
      });
  });

  it('leaves a broker that stops the time to send its clients away', () => {
    for (const group of resources(template, targetGroup)) {
      const attributes = attributesOf(group, 'TargetGroupAttributes');
      expect(attributes).toMatchObject({
        'deregistration_delay.timeout_seconds': '15',
        'deregistration_delay.connection_termination.enabled': 'false',
        'target_health_state.unhealthy.connection_termination.enabled': 'true',
      });
      // It would be found unhealthy, and its connections cut, only after it is no target any more.
      const { HealthCheckIntervalSeconds: seconds, UnhealthyThresholdCount: times } = group.Properties;
      expect((seconds as number) * (times as number)).toBeGreaterThan(15);
    }
  });

  it('asks the health port of brokers', () => {
    const groups = resources(template, targetGroup);
    expect(groups).toHaveLength(2);
    for (const { Properties } of groups)
      expect(Properties).toMatchObject({
        TargetType: 'ip',
        Protocol: 'TCP',
        HealthCheckProtocol: 'HTTP',
        HealthCheckPort: '9090',
        HealthCheckPath: '/healthz',
        Matcher: { HttpCode: '200' },
      });
  });

  it('grants no keep alive that outlasts its idle time-out', () => {
    const environment = environmentOf(only(template, taskDefinition));
    expect(Number(environment['SHOAL_KEEP_ALIVE_SECONDS_MAX'])).toBeLessThan(350);
  });

  it('asks for a certificate at deployment when the stage has none', () => {
    template.hasParameter('CertificateArn', { Type: 'String' });
  });
});

describe('TLS in the broker', () => {
  const { templates } = synthesise({ stage: 'prod', ...passing });
  const template = templates.broker;

  it('gets the bytes of clients as they are, behind a header with their addresses', () => {
    template.hasResourceProperties(listener, {
      Port: 8883,
      Protocol: 'TCP',
      Certificates: Match.absent(),
      ListenerAttributes: [{ Key: 'tcp.idle_timeout.seconds', Value: '6000' }],
    });
    const group = resources(template, targetGroup).find(({ Properties }) => Properties['Port'] === 8883)!;
    expect(attributesOf(group, 'TargetGroupAttributes')).toMatchObject({
      'proxy_protocol_v2.enabled': 'true',
      'preserve_client_ip.enabled': 'false',
    });
  });

  it('leaves WebSocket as it was', () => {
    template.hasResourceProperties(listener, { Port: 443, Protocol: 'TLS' });
    const group = resources(template, targetGroup).find(({ Properties }) => Properties['Port'] === 8080)!;
    expect(attributesOf(group, 'TargetGroupAttributes')['proxy_protocol_v2.enabled']).toBe('true');
  });

  it('has its certificate from Secrets Manager, by the role that starts the task', () => {
    const task = only(template, taskDefinition);
    expect(containerOf(task).Secrets).toEqual([
      { Name: 'SHOAL_TLS_CERT', ValueFrom: `${secret}:cert::` },
      { Name: 'SHOAL_TLS_KEY', ValueFrom: `${secret}:key::` },
    ]);
    const certificate = { SHOAL_TLS_CERT: 'PEM of the certificate', SHOAL_TLS_KEY: 'PEM of the key' };
    const config = readConfig({ ...settingsOf(task), ...certificate });
    expect(config.ports).toEqual({ mqtt: undefined, mqtts: 8883, ws: 8080, wss: undefined });
    expect(config.tls?.cert.toString()).toBe(certificate.SHOAL_TLS_CERT);
    expect(config.tls?.key.toString()).toBe(certificate.SHOAL_TLS_KEY);
  });
});

const keys = (order: string): Record<string, string> => ({
  SHOAL_CLUSTER_KEY: `generated key ${order[0]} of the cluster, 48 characters`,
  SHOAL_CLUSTER_KEY_2: `generated key ${order[1]} of the cluster, 48 characters`,
});

describe.each(stageNames)('a cluster in %s', (name) => {
  const { templates, stacks } = synthesise({ stage: name, clustered: 'true' });
  const template = templates.broker;
  const task = only(template, taskDefinition);

  it('is said to have one broker that serves', () => {
    Annotations.fromStack(stacks.broker).hasWarning(
      '*',
      Match.stringLikeRegexp('clustered=true, but .* one serves, all others stand by'),
    );
  });

  it('is two tasks, in the subnets of two zones, of which one at a time is replaced once another lives', () => {
    template.hasResourceProperties(service, {
      DesiredCount: 2,
      AvailabilityZoneRebalancing: 'ENABLED',
      DeploymentConfiguration: {
        MinimumHealthyPercent: 100,
        MaximumPercent: 150,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      },
    });
    const { AwsvpcConfiguration } = only(template, service).Properties['NetworkConfiguration'] as {
      AwsvpcConfiguration: { Subnets: unknown[] };
    };
    expect(AwsvpcConfiguration.Subnets).toHaveLength(2);
    template.resourceCountIs('AWS::ApplicationAutoScaling::ScalableTarget', 0);
  });

  it('has tasks that ECS does not kill while they stand by: it asks whether they live, and not the load balancer', () => {
    const { Properties } = only(template, service);
    expect(Properties).not.toHaveProperty('LoadBalancers');
    expect(Properties).not.toHaveProperty('HealthCheckGracePeriodSeconds');
    expect(containerOf(task)['HealthCheck']).toEqual({
      Command: [
        'CMD',
        '/usr/local/bin/node',
        '-e',
        expect.stringContaining('http://127.0.0.1:9090/healthz') as unknown,
      ],
      Interval: 60,
      Timeout: 10,
      Retries: 3,
    });
    for (const group of resources(template, targetGroup))
      expect(group.Properties).toMatchObject({ HealthCheckPath: '/healthz', Matcher: { HttpCode: '200' } });
  });

  it('lets brokers, and nobody else, reach the port of the links', () => {
    const [groupId] = Object.entries(template.findResources('AWS::EC2::SecurityGroup')).find(([, { Properties }]) =>
      JSON.stringify(Properties).includes('Brokers: in from'),
    )!;
    const brokers = { 'Fn::GetAtt': [groupId, 'GroupId'] };
    const onPort = (type: string): readonly Resource['Properties'][] =>
      resources(template, `AWS::EC2::SecurityGroup${type}`)
        .map(({ Properties }) => Properties)
        .filter(({ FromPort, ToPort }) => (FromPort as number) <= 7883 && (ToPort as number) >= 7883);
    expect(onPort('Ingress')).toEqual([
      expect.objectContaining({ IpProtocol: 'tcp', FromPort: 7883, ToPort: 7883, GroupId: brokers }),
    ]);
    expect(onPort('Ingress')[0]).toMatchObject({ SourceSecurityGroupId: brokers });
    expect(onPort('Egress')).toEqual([
      expect.objectContaining({ FromPort: 7883, ToPort: 7883, GroupId: brokers, DestinationSecurityGroupId: brokers }),
    ]);
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: 'Brokers: in from the load balancer, out to AWS',
      SecurityGroupIngress: Match.absent(),
    });
    expect(containerOf(task)['PortMappings']).toContainEqual({ ContainerPort: 7883, Protocol: 'tcp' });
  });

  it('has two generated keys, of which all brokers show the same and accept both', () => {
    const secrets = Object.entries(template.findResources('AWS::SecretsManager::Secret'));
    expect(secrets).toHaveLength(2);
    for (const [, secretOfTwo] of secrets)
      expect(secretOfTwo).toMatchObject({
        DeletionPolicy: name === 'prod' ? 'RetainExceptOnCreate' : 'Delete',
        Properties: { GenerateSecretString: { PasswordLength: 48, ExcludePunctuation: true } },
      });
    const refs = (letter: string): unknown => ({
      Ref: secrets.find(([, { Properties }]) => JSON.stringify(Properties).includes(`key ${letter} of the links`))![0],
    });
    expect(containerOf(task).Secrets).toEqual([
      { Name: 'SHOAL_CLUSTER_KEY', ValueFrom: refs('a') },
      { Name: 'SHOAL_CLUSTER_KEY_2', ValueFrom: refs('b') },
    ]);
    const swapped = synthesise({ stage: name, clustered: 'true', clusterKeyFirst: 'b' }).templates.broker;
    expect(containerOf(only(swapped, taskDefinition)).Secrets).toEqual([
      { Name: 'SHOAL_CLUSTER_KEY', ValueFrom: refs('b') },
      { Name: 'SHOAL_CLUSTER_KEY_2', ValueFrom: refs('a') },
    ]);
    // The keys themselves are the same: to change the order is no renewal.
    expect(swapped.findResources('AWS::SecretsManager::Secret')).toEqual(Object.fromEntries(secrets));
  });

  it('has settings that brokers take', () => {
    const ecs = { ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/1' };
    const { mesh, drainMsMax } = readConfig({ ...settingsOf(task), ...keys('ab'), ...ecs });
    expect(mesh).toMatchObject({ host: '0.0.0.0', port: 7883, metadataUrl: 'http://169.254.170.2/v4/1' });
    expect(mesh?.keys).toHaveLength(2);
    expect(drainMsMax).toBe(20_000);
  });

  it('has somebody who makes its tasks targets of both groups, and may do nothing else', () => {
    const groupIds = Object.keys(template.findResources(targetGroup));
    expect(groupIds).toHaveLength(2);
    template.hasResourceProperties('AWS::Lambda::Function', { Handler: 'index.handler', MemorySize: 256 });
    const arns = groupIds.map((id) => ({ Ref: id }));
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          {
            Effect: 'Allow',
            Action: ['ecs:ListTasks', 'ecs:DescribeTasks'],
            Resource: '*',
            Condition: { ArnEquals: { 'ecs:cluster': Match.anyValue() } },
          },
          { Effect: 'Allow', Action: 'elasticloadbalancing:DescribeTargetHealth', Resource: '*' },
          {
            Effect: 'Allow',
            Action: ['elasticloadbalancing:RegisterTargets', 'elasticloadbalancing:DeregisterTargets'],
            Resource: arns,
          },
        ]),
      },
    });
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: { source: ['aws.ecs'], 'detail-type': ['ECS Task State Change'], detail: Match.anyValue() },
    });
    template.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(1 minute)' });
  });
});

describe('the key of a cluster', () => {
  it('comes to tasks without a way to the internet through an endpoint, and is encrypted with the key of the tables', () => {
    const { templates } = synthesise({
      ...{ stage: 'prod', clustered: 'true', encryption: 'customer-managed', region: 'eu-central-1' },
    });
    const names = JSON.stringify(
      resources(templates.network, 'AWS::EC2::VPCEndpoint').map(({ Properties }) => Properties['ServiceName']),
    );
    expect(names).toContain('.secretsmanager');
    for (const { Properties } of resources(templates.broker, 'AWS::SecretsManager::Secret'))
      expect(Properties).toHaveProperty('KmsKeyId');
  });

  it('is in no template of a single broker', () => {
    const { templates } = synthesise({ stage: 'prod' });
    templates.broker.resourceCountIs('AWS::SecretsManager::Secret', 0);
    templates.broker.resourceCountIs('AWS::Lambda::Function', 0);
    expect(JSON.stringify(templates.broker.toJSON())).not.toContain('7883');
  });
});

describe('whether a task lives', () => {
  /** The command as ECS runs it, against a broker's health port; resolves with its exit code. */
  const check = (port: number): Promise<number | null> =>
    new Promise((resolve) => spawn(process.execPath, ['-e', aliveProgram(port)]).on('exit', resolve));

  it('is said by any answer of its process, that of a standby included, and by nothing else', async () => {
    let isServing = false;
    const health = await serveHealth(
      { host: '127.0.0.1', port: 0 },
      () => (isServing ? undefined : 'standing by'),
      new Metrics(),
    );
    expect(await check(health.port)).toBe(0);
    isServing = true;
    expect(await check(health.port)).toBe(0);
    health.close();
    expect(await check(health.port)).toBe(1);
  });
});

describe('a cluster whose number of tasks changes', () => {
  const { templates } = synthesise({ stage: 'prod', clustered: 'true', brokersMin: '3', brokersMax: '20' });
  const template = templates.broker;

  it('is not set back to the least by a deployment', () => {
    template.hasResourceProperties(service, {
      DesiredCount: Match.absent(),
      DeploymentConfiguration: { MinimumHealthyPercent: 100, MaximumPercent: 134 },
    });
  });

  it('is as many as their connections and CPU need', () => {
    template.hasResourceProperties('AWS::ApplicationAutoScaling::ScalableTarget', { MinCapacity: 3, MaxCapacity: 20 });
    const policies = resources(template, 'AWS::ApplicationAutoScaling::ScalingPolicy').map(
      ({ Properties }) => Properties['TargetTrackingScalingPolicyConfiguration'],
    );
    expect(policies).toHaveLength(2);
    expect(policies).toContainEqual(
      expect.objectContaining({
        PredefinedMetricSpecification: { PredefinedMetricType: 'ECSServiceAverageCPUUtilization' },
      }),
    );
    expect(policies).toContainEqual(
      expect.objectContaining({
        TargetValue: 35_000,
        CustomizedMetricSpecification: {
          Namespace: 'Shoal',
          MetricName: 'Connections',
          Dimensions: expect.arrayContaining([
            { Name: 'Stage', Value: 'prod' },
            { Name: 'Service', Value: 'broker' },
          ]) as unknown,
          Statistic: 'Average',
        },
      }),
    );
  });
});

describe('names', () => {
  const zone = { hostedZoneId: 'Z0123456789ABCDEFGHIJ', hostedZoneName: 'example.com' };

  it('are made in Route 53, with their certificates', () => {
    const { templates } = synthesise({ stage: 'prod', domainName: 'mqtt.example.com', ...zone });
    templates.broker.hasResourceProperties('AWS::Route53::RecordSet', {
      Name: 'mqtt.example.com.',
      Type: 'A',
      HostedZoneId: zone.hostedZoneId,
    });
    templates.broker.hasResourceProperties('AWS::CertificateManager::Certificate', {
      DomainName: 'mqtt.example.com',
      ValidationMethod: 'DNS',
    });
    templates.broker.hasOutput('MqttEndpoint', { Value: 'mqtts://mqtt.example.com:8883' });
    templates.broker.hasOutput('WebSocketEndpoint', { Value: 'wss://mqtt.example.com:443/mqtt' });
    expect(templates.broker.findParameters('CertificateArn')).toEqual({});
  });

  it('may be made elsewhere, with a certificate that is given', () => {
    const certificateArn = 'arn:aws:acm:eu-central-1:123456789012:certificate/0b1c2d3e';
    const { templates } = synthesise({ stage: 'prod', domainName: 'mqtt.example.com', certificateArn });
    templates.broker.resourceCountIs('AWS::Route53::RecordSet', 0);
    templates.broker.resourceCountIs('AWS::CertificateManager::Certificate', 0);
    templates.broker.hasResourceProperties(listener, { Certificates: [{ CertificateArn: certificateArn }] });
    templates.broker.hasOutput('MqttEndpoint', { Value: 'mqtts://mqtt.example.com:8883' });
  });
});

describe('an image in a registry', () => {
  it.each([':1.4.0', `@sha256:${'0f'.repeat(32)}`])('is the one that is named: %s', (version) => {
    const brokerImage = `123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/shoal${version}`;
    const { templates } = synthesise({ stage: 'dev', brokerImage });
    const image = JSON.stringify(containerOf(only(templates.broker, taskDefinition))['Image']);
    expect(image).toContain(`/team/shoal${version}`);
    templates.broker.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({ Action: Match.arrayWith(['ecr:BatchGetImage']), Resource: Match.anyValue() }),
        ]),
      },
    });
  });
});

describe('a shell in a task', () => {
  it('is for stages that keep nothing, and makes the root file system writable', () => {
    const { templates } = synthesise({ stage: 'dev', executeCommand: 'true' });
    templates.broker.hasResourceProperties(service, { EnableExecuteCommand: true });
    expect(containerOf(only(templates.broker, taskDefinition))['ReadonlyRootFilesystem']).toBe(false);
  });
});
