/**
 * The Lambda that keeps targets and running tasks the same, against servers on this machine that speak as ECS and the load
 * balancer do: JSON and a query with XML.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { beforeAll, afterAll, beforeEach, describe, expect, it } from 'vitest';
import { ECSClient } from '@aws-sdk/client-ecs';
import { ElasticLoadBalancingV2Client } from '@aws-sdk/client-elastic-load-balancing-v2';
import { keepTargets } from '../../infra/broker-targets/index.mjs';

interface Task {
  readonly address: string;
  readonly lastStatus: string;
  readonly desiredStatus: string;
}

const groups = ['arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/mqtt/1', 'arn:…/ws/2'] as const;
const cluster = 'shoal-prod';
const service = 'brokers';

const running = (address: string): Task => ({ address, lastStatus: 'RUNNING', desiredStatus: 'RUNNING' });

/** What AWS has. */
let tasks: Task[] = [];
/** By group: state by address. */
let targets: Record<string, Record<string, string>> = {};
let calls: string[] = [];
let refused: readonly string[] = [];
/** Of what goes on meanwhile: after such a call. */
let after: (call: string) => void = () => undefined;

function asEcs(action: string, input: Record<string, unknown>): string {
  expect(input['cluster']).toBe(cluster);
  if (action === 'ListTasks') {
    expect(input).toMatchObject({ serviceName: service, desiredStatus: 'RUNNING' });
    const from = Number(input['nextToken'] ?? 0);
    const named = tasks.filter(({ desiredStatus }) => desiredStatus === 'RUNNING');
    const next = from + 100 < named.length ? { nextToken: String(from + 100) } : {};
    return JSON.stringify({ taskArns: named.slice(from, from + 100).map(({ address }) => `arn/${address}`), ...next });
  }
  const arns = input['tasks'] as string[];
  expect(arns.length).toBeGreaterThan(0);
  expect(arns.length).toBeLessThanOrEqual(100);
  return JSON.stringify({
    tasks: tasks
      .filter(({ address }) => arns.includes(`arn/${address}`))
      .map(({ address, ...task }) => ({
        ...task,
        attachments: [
          {
            type: 'ElasticNetworkInterface',
            details: [
              { name: 'subnetId', value: 'subnet-1' },
              { name: 'privateIPv4Address', value: address },
            ],
          },
        ],
      })),
    failures: [],
  });
}

function asLoadBalancer(action: string, input: URLSearchParams): string {
  const group = (targets[input.get('TargetGroupArn')!] ??= {});
  const named = [...input].filter(([name]) => /^Targets\.member\.\d+\.Id$/.test(name)).map(([, value]) => value);
  if (action === 'RegisterTargets') for (const address of named) group[address] = 'initial';
  if (action === 'DeregisterTargets') for (const address of named) group[address] = 'draining';
  const members = Object.entries(group).map(
    ([address, state]) =>
      `      <member>\n        <HealthCheckPort>9090</HealthCheckPort>\n        <TargetHealth>\n          <State>${state}</State>\n` +
      `        </TargetHealth>\n        <Target>\n          <Port>1883</Port>\n          <Id>${address}</Id>\n        </Target>\n      </member>\n`,
  );
  return (
    `<${action}Response xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">\n  <${action}Result>\n` +
    `    <TargetHealthDescriptions>\n${members.join('')}    </TargetHealthDescriptions>\n  </${action}Result>\n</${action}Response>`
  );
}

const server = createServer((request, response) => {
  void text(request).then((body) => {
    const target = request.headers['x-amz-target'];
    const query = new URLSearchParams(body);
    const action = typeof target === 'string' ? target.split('.')[1]! : query.get('Action')!;
    calls.push(action);
    if (refused.includes(action)) return response.writeHead(500).end();
    const answer =
      typeof target === 'string'
        ? asEcs(action, JSON.parse(body) as Record<string, unknown>)
        : asLoadBalancer(action, query);
    after(action);
    return response.end(answer);
  });
});

let endpoint = '';
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  tasks = [];
  targets = {};
  calls = [];
  refused = [];
  after = () => undefined;
});

const keep = (): Promise<unknown> => {
  const options = {
    ...{ endpoint, region: 'eu-central-1', maxAttempts: 1 },
    credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'a secret' },
  };
  const [ecs, balancer] = [new ECSClient(options), new ElasticLoadBalancingV2Client(options)];
  return keepTargets({ cluster, service, groups, ecs, balancer });
};

/** Of the first group; the other has the same. */
function living(): readonly string[] {
  const [first, second] = groups.map((group) =>
    Object.entries(targets[group] ?? {})
      .filter(([, state]) => state !== 'draining')
      .map(([address]) => address)
      .toSorted(),
  );
  expect(second).toEqual(first);
  return first!;
}

describe('the targets of the load balancer', () => {
  it('are the tasks that run, in each group', async () => {
    tasks = [running('10.0.16.4'), running('10.0.32.4')];
    expect(await keep()).toEqual(groups.map((group) => ({ group, added: ['10.0.16.4', '10.0.32.4'], removed: [] })));
    expect(living()).toEqual(['10.0.16.4', '10.0.32.4']);
  });

  it('are left alone when they are right', async () => {
    tasks = [running('10.0.16.4')];
    await keep();
    calls = [];
    expect(await keep()).toEqual([]);
    expect(calls.toSorted()).toEqual(['DescribeTargetHealth', 'DescribeTargetHealth', 'DescribeTasks', 'ListTasks']);
  });

  it('are not tasks that have yet to start, or are to stop', async () => {
    tasks = [
      { address: '10.0.16.1', lastStatus: 'PENDING', desiredStatus: 'RUNNING' },
      { address: '10.0.16.2', lastStatus: 'RUNNING', desiredStatus: 'STOPPED' },
      running('10.0.16.3'),
    ];
    for (const group of groups) targets[group] = { '10.0.16.2': 'healthy' };
    await keep();
    expect(living()).toEqual(['10.0.16.3']);
  });

  it('become targets again when a task has the address of one that is on its way out', async () => {
    tasks = [running('10.0.16.4')];
    for (const group of groups) targets[group] = { '10.0.16.4': 'draining' };
    await keep();
    expect(living()).toEqual(['10.0.16.4']);
  });

  it('may be more than one answer holds', async () => {
    tasks = Array.from({ length: 250 }, (_, i) => running(`10.0.${i % 200}.${i}`));
    await keep();
    expect(living()).toHaveLength(250);
    expect(calls.filter((call) => call === 'ListTasks')).toHaveLength(3);
  });

  it('stay when ECS names no task: better one that is gone than none', async () => {
    for (const group of groups) targets[group] = { '10.0.16.4': 'healthy' };
    expect(await keep()).toEqual([]);
    expect(living()).toEqual(['10.0.16.4']);
  });

  it('keep a task that starts, and is made a target by another call, while this one reads', async () => {
    tasks = [running('10.0.16.4')];
    for (const group of groups) targets[group] = { '10.0.16.4': 'healthy' };
    let reads = 0;
    after = (call) => {
      if (call !== 'DescribeTargetHealth' || ++reads < groups.length) return;
      tasks.push(running('10.0.32.4'));
      for (const group of groups) targets[group]!['10.0.32.4'] = 'initial';
    };
    await keep();
    expect(living()).toEqual(['10.0.16.4', '10.0.32.4']);
  });

  it('lose by the next call a task that ended after this one had read it', async () => {
    tasks = [running('10.0.16.4'), running('10.0.32.4')];
    after = (call) => {
      if (call === 'DescribeTasks') tasks = [running('10.0.16.4')];
    };
    await keep();
    expect(living()).toEqual(['10.0.16.4', '10.0.32.4']);
    await keep();
    expect(living()).toEqual(['10.0.16.4']);
  });

  it('are right after the next call when one has failed half way', async () => {
    tasks = [running('10.0.32.4')];
    for (const group of groups) targets[group] = { '10.0.16.4': 'unhealthy' };
    refused = ['DeregisterTargets'];
    await expect(keep()).rejects.toThrow();
    refused = [];
    await keep();
    expect(living()).toEqual(['10.0.32.4']);
  });

  it('are not touched by a call that cannot read the tasks', async () => {
    for (const group of groups) targets[group] = { '10.0.16.4': 'healthy' };
    refused = ['ListTasks'];
    await expect(keep()).rejects.toThrow();
    expect(living()).toEqual(['10.0.16.4']);
  });
});
