import { readFileSync } from 'node:fs';
import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { taskMetrics } from '../../services/broker/ops/task-metrics.js';
import type { Context } from '../../infra/settings.js';
import { only, type Resource, resources, stageNames, synthesise } from './synthesis.js';

const alarm = 'AWS::CloudWatch::Alarm';

/** Headings of the runbook that name an alarm. */
const runbook = [...readFileSync('docs/runbook.md', 'utf8').matchAll(/^## ([a-z]+(?:-[a-z]+)*)$/gm)].map(
  ([, name]) => name!,
);

/** Only where several brokers run. */
const ofClusters = ['brokers-missing', 'links-down', 'targets-not-kept'];

describe.each(stageNames)('the alarms of %s', (name) => {
  const { templates } = synthesise({ stage: name });
  const template = templates.observability;
  const alarms = resources(template, alarm).map(({ Properties }) => Properties);
  const names = alarms.map(({ AlarmName }) => String(AlarmName).replace(`shoal-${name}-`, ''));

  it('are in the runbook, each with its section, and the runbook has no other', () => {
    expect(names.length).toBeGreaterThan(15);
    expect([...names, ...ofClusters, 'deployment-failed', 'broker-died'].toSorted()).toEqual(runbook.toSorted());
  });

  it('say what they mean and where to read on, and tell somebody', () => {
    const topic = Object.keys(template.findResources('AWS::SNS::Topic'))[0];
    for (const properties of alarms) {
      expect(properties['AlarmDescription']).toContain('docs/runbook.md');
      expect(properties['AlarmActions']).toEqual([{ Ref: topic }]);
      expect(properties['OKActions']).toEqual([{ Ref: topic }]);
    }
  });

  it('watch metrics that brokers print', () => {
    const printed = taskMetrics.map((metric) => metric.name);
    const own = alarms.filter(({ Namespace }) => Namespace === 'Shoal');
    expect(own.length).toBeGreaterThan(8);
    for (const { MetricName, Dimensions } of own) {
      expect(printed).toContain(MetricName);
      expect(Dimensions).toEqual([
        { Name: 'Service', Value: 'broker' },
        { Name: 'Stage', Value: name },
      ]);
    }
    const dashboard = JSON.stringify(only(template, 'AWS::CloudWatch::Dashboard').Properties);
    const shown = [...dashboard.matchAll(/\\"Shoal\\",\\"(\w+)\\"/g)].map(([, metric]) => metric);
    expect(shown.length).toBeGreaterThan(10);
    for (const metric of shown) expect(printed).toContain(metric);
  });

  it('take silence for trouble where it means that nobody serves', () => {
    template.hasResourceProperties(alarm, {
      AlarmName: `shoal-${name}-no-broker`,
      TreatMissingData: 'breaching',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 1,
    });
  });

  it('come over TLS to a topic that CloudWatch may publish to', () => {
    template.hasResourceProperties('AWS::SNS::TopicPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
          Match.objectLike({ Effect: 'Allow', Principal: { Service: 'cloudwatch.amazonaws.com' } }),
        ]),
      },
    });
  });
});

describe('the alarms of a cluster', () => {
  const { templates } = synthesise({ stage: 'prod', clustered: 'true', brokersMin: '3' });
  const template = templates.observability;
  const names = resources(template, alarm).map(({ Properties }) => String(Properties['AlarmName']));

  it('are those of a single broker, and those of its own', () => {
    const single = synthesise({ stage: 'prod' }).templates.observability;
    const known = resources(single, alarm).map(({ Properties }) => String(Properties['AlarmName']));
    expect(names.toSorted()).toEqual([...known, ...ofClusters.map((name) => `shoal-prod-${name}`)].toSorted());
  });

  it('tell when a broker has no link to another one for minutes', () => {
    template.hasResourceProperties(alarm, {
      AlarmName: 'shoal-prod-links-down',
      MetricName: 'LinksDown',
      Statistic: 'Maximum',
      Period: 60,
      Threshold: 1,
      EvaluationPeriods: 5,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
    });
  });

  it('tell when one of three brokers is missing, and not when a line comes late', () => {
    // In five minutes three brokers tell fifteen times and two ten times; a line at an edge may fall on either side.
    template.hasResourceProperties(alarm, {
      AlarmName: 'shoal-prod-brokers-missing',
      MetricName: 'LeaseHeld',
      Statistic: 'Sum',
      Period: 300,
      Threshold: 12.5,
      ComparisonOperator: 'LessThanThreshold',
    });
  });

  it('look at the task that is busiest, for those that stand by have nothing to do', () => {
    for (const name of ['cpu-high', 'memory-high'])
      template.hasResourceProperties(alarm, { AlarmName: `shoal-prod-${name}`, Statistic: 'Maximum' });
  });

  it('know that one thread cannot use more than one vCPU', () => {
    const thresholdOf = (context: Context): unknown =>
      resources(synthesise(context).templates.observability, alarm).find(({ Properties }) =>
        String(Properties['AlarmName']).endsWith('cpu-high'),
      )!.Properties['Threshold'];
    expect(thresholdOf({ stage: 'dev' })).toBe(21); // A quarter of a vCPU.
    expect(thresholdOf({ stage: 'prod' })).toBe(85);
    expect(thresholdOf({ stage: 'prod', brokerCpu: '4096', brokerMemoryMiB: '8192' })).toBe(85);
  });

  it('have a row of the dashboard', () => {
    const body = JSON.stringify(only(template, 'AWS::CloudWatch::Dashboard').Properties);
    expect(body).toContain('LinksDown');
    expect(JSON.stringify(synthesise({ stage: 'prod' }).templates.observability.toJSON())).not.toContain('LinksDown');
  });
});

describe('TLS in the broker', () => {
  it('is watched where it ends', () => {
    const tlsSecretArn = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shoal-tls-a1B2c3';
    const { templates } = synthesise({ stage: 'prod', mqttTls: 'broker', tlsSecretArn, brokerMemoryMiB: '8192' });
    templates.observability.hasResourceProperties(alarm, {
      AlarmName: 'shoal-prod-tls-failures',
      Metrics: Match.arrayWith([
        Match.objectLike({ Expression: 'FILL(balancer, 0) + FILL(brokers, 0)' }),
        Match.objectLike({ MetricStat: Match.objectLike({ Metric: Match.objectLike({ MetricName: 'TlsFailures' }) }) }),
      ]),
    });
    expect(taskMetrics.map((metric) => metric.name)).toContain('TlsFailures');
  });
});

describe('a deployment that fails', () => {
  it('is told', () => {
    const { templates } = synthesise({ stage: 'prod' });
    templates.observability.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: Match.objectLike({ detail: { eventName: ['SERVICE_DEPLOYMENT_FAILED'] } }),
    });
  });
});

describe('a broker that ends without being told to', () => {
  it('is told, with its reason', () => {
    const { templates } = synthesise({ stage: 'prod' });
    templates.observability.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: Match.objectLike({
        'detail-type': ['ECS Task State Change'],
        detail: Match.objectLike({ lastStatus: ['STOPPED'], stopCode: Match.arrayWith(['EssentialContainerExited']) }),
      }),
      Targets: [
        Match.objectLike({
          InputTransformer: Match.objectLike({ InputTemplate: Match.stringLikeRegexp('broker-died') }),
        }),
      ],
    });
  });
});

describe('what names something of another stack', () => {
  /** As CloudFormation compares it: by the properties of each resource. */
  const propertiesOf = (context: Context): Map<string, string> => {
    const { observability, tenantsApi } = synthesise(context).templates;
    const all = [observability, tenantsApi].flatMap((template) =>
      Object.entries(template.toJSON().Resources as Record<string, Resource>),
    );
    return new Map(all.map(([id, { Type, Properties }]) => [`${Type} ${id}`, JSON.stringify(Properties)]));
  };

  it('is another resource whenever a setting is, for a setting may replace what it names', () => {
    const before = propertiesOf({ stage: 'prod' });
    const after = propertiesOf({ stage: 'prod', connectionsMax: '40000' });
    const named = [...before].filter(([, properties]) => /GetStackOutput[^}]*(broker|tenants-api)/.test(properties));
    expect(named.length).toBeGreaterThan(10);
    const isMarked = /^AWS::(CloudWatch::(Alarm|Dashboard)|Events::Rule|Lambda::Function) /;
    for (const [id, properties] of named) if (isMarked.test(id)) expect(after.get(id), id).not.toBe(properties);
    expect(named.map(([id]) => id).filter((id) => !isMarked.test(id))).toEqual([]);
  });
});

describe('an e-mail address', () => {
  it('hears of alarms', () => {
    const { templates } = synthesise({ stage: 'prod', alarmEmail: 'ops@example.com' });
    templates.observability.hasResourceProperties('AWS::SNS::Subscription', {
      Protocol: 'email',
      Endpoint: 'ops@example.com',
    });
  });
});
