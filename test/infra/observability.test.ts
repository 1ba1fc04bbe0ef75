import { readFileSync } from 'node:fs';
import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { taskMetrics } from '../../services/broker/ops/task-metrics.js';
import { only, resources, stageNames, synthesise } from './synthesis.js';

const alarm = 'AWS::CloudWatch::Alarm';

/** Headings of the runbook that name an alarm. */
const runbook = [...readFileSync('docs/runbook.md', 'utf8').matchAll(/^## `?([\w-]+)`?$/gm)].map(([, name]) => name!);

describe.each(stageNames)('the alarms of %s', (name) => {
  const { templates } = synthesise({ stage: name });
  const template = templates.observability;
  const alarms = resources(template, alarm).map(({ Properties }) => Properties);
  const names = alarms.map(({ AlarmName }) => String(AlarmName).replace(`shoal-${name}-`, ''));

  it('are in the runbook, each with its section, and the runbook has no other', () => {
    expect(names.length).toBeGreaterThan(15);
    expect([...names, 'deployment-failed'].toSorted()).toEqual(runbook.toSorted());
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

describe('an e-mail address', () => {
  it('hears of alarms', () => {
    const { templates } = synthesise({ stage: 'prod', alarmEmail: 'ops@example.com' });
    templates.observability.hasResourceProperties('AWS::SNS::Subscription', {
      Protocol: 'email',
      Endpoint: 'ops@example.com',
    });
  });
});
