/** Lines in CloudWatch's embedded metric format, held to the rules that CloudWatch documents for them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { type BrokerId, Metrics } from '../../../services/kernel/kernel.js';
import { EmfReporter } from '../../../services/broker/ops/ops.js';
import { taskMetrics } from '../../../services/broker/ops/task-metrics.js';
import { emfFaults } from '../../support/emf.js';
import { ManualClock } from '../../support/manual-clock.js';

let metrics: Metrics;
let clock: ManualClock;
let written: string[];
let reporter: EmfReporter;
beforeEach(() => {
  metrics = new Metrics();
  clock = new ManualClock();
  written = [];
  const write = (line: string): void => void written.push(line);
  reporter = new EmfReporter({ metrics, clock, brokerId: 'broker-1' as BrokerId, stage: 'prod', write });
});

const lines = (): Record<string, number>[] => written.map((line) => JSON.parse(line) as Record<string, number>);

test('a line a minute, each in the form that CloudWatch takes', () => {
  clock.advance(59_999);
  expect(written).toEqual([]);
  clock.advance(1 + 2 * 60_000);
  expect(written).toHaveLength(3);
  reporter.stop();
  clock.advance(10 * 60_000);
  expect(written).toHaveLength(4);
  for (const line of written) {
    expect(line).toMatch(/^[^\n]+\n$/);
    expect(emfFaults(line, clock.nowMs())).toEqual([]);
  }
  expect(lines()[0]).toMatchObject({ Stage: 'prod', Service: 'broker', Broker: 'broker-1' });
});

test('all metrics are in it, with one set of dimensions', () => {
  clock.advance(60_000);
  const { _aws } = JSON.parse(written[0]!) as { _aws: { Timestamp: number; CloudWatchMetrics: object[] } };
  expect(_aws.Timestamp).toBe(clock.nowMs());
  expect(_aws.CloudWatchMetrics).toEqual([
    {
      Namespace: 'Shoal',
      Dimensions: [['Stage', 'Service']],
      Metrics: taskMetrics.map(({ name, unit }) => ({ Name: name, Unit: unit })),
    },
  ]);
});

test('values as they stand, and what was added since the line before', () => {
  let connections = 5;
  metrics.gauge('shoal_connections', '', () => connections);
  const received = metrics.counter('shoal_messages_received_total', '');
  received.add(10);
  clock.advance(60_000);
  received.add(3);
  connections = 4;
  clock.advance(60_000);
  clock.advance(60_000);
  expect(lines().map(({ Connections, MessagesReceived }) => [Connections, MessagesReceived])).toEqual([
    [5, 10],
    [4, 3],
    [4, 0],
  ]);
});

test('members of a family are added up, those that a metric is about', () => {
  const refused = (reason: string) => metrics.counter('shoal_connects_refused_total', '', { reason });
  refused('not-authorized').add(7);
  refused('server-unavailable').add(2);
  refused('server-busy').add(1);
  const errors = (kind: string, table: string) => metrics.counter('shoal_dynamodb_errors_total', '', { kind, table });
  errors('throttled', 'inbox').add(4);
  errors('throttled', 'routes').add(1);
  errors('unavailable', 'inbox').add(2);
  clock.advance(60_000);
  expect(lines()[0]).toMatchObject({ ConnectsRefused: 10, ConnectsFailed: 2, DynamoThrottles: 5, DynamoErrors: 2 });
});

test('the last line has what was counted, and not again what stands', () => {
  const received = metrics.counter('shoal_messages_received_total', '');
  metrics.gauge('shoal_connections', '', () => 9);
  received.add(10);
  clock.advance(60_000);
  received.add(2);
  reporter.stop();
  expect(lines()[1]).toMatchObject({ MessagesReceived: 2 });
  expect(lines()[1]).not.toHaveProperty('Connections');
});

test('the process is measured over the time since the last line', () => {
  clock.advance(60_000);
  const busyUntilMs = performance.now() + 60;
  while (performance.now() < busyUntilMs);
  clock.advance(60_000);
  for (const { CpuUsed, EventLoopUsed, EventLoopDelay, MemoryUsed } of lines()) {
    expect(CpuUsed).toBeGreaterThanOrEqual(0);
    expect(EventLoopUsed).toBeGreaterThanOrEqual(0);
    expect(EventLoopUsed).toBeLessThanOrEqual(100);
    expect(EventLoopDelay).toBeGreaterThanOrEqual(0);
    expect(MemoryUsed).toBe(0); // Of the registry, which is not filled here.
  }
  expect(lines()[1]!['CpuUsed']).toBeGreaterThan(20);
});

test('a scrape does not begin the minute of this reader anew, nor the other way round', () => {
  let looks = 0;
  metrics.gauge('nodejs_eventloop_lag_p99_seconds', '', () => ++looks);
  clock.advance(60_000);
  expect(looks).toBe(0);
});

test.each<[fault: string, change: (line: Record<string, unknown>, metric: Record<string, unknown>) => void]>([
  ['Connections has numbers at the root', (line) => delete line['Connections']],
  ['Connections has numbers at the root', (line) => (line['Connections'] = '5')],
  ['Connections has a unit that is known', (_, metric) => (metric['Unit'] = 'Clients')],
  ['a definition has no other member', (_, metric) => (metric['Help'] = 'clients')],
  ['dimension Stage is a text at the root', (line) => delete line['Stage']],
])('a line that breaks a rule is found: %s', (fault, change) => {
  clock.advance(60_000);
  const line = lines()[0] as unknown as Record<string, unknown>;
  const { CloudWatchMetrics } = line['_aws'] as { CloudWatchMetrics: { Metrics: Record<string, unknown>[] }[] };
  change(line, CloudWatchMetrics[0]!.Metrics[0]!);
  expect(emfFaults(JSON.stringify(line), clock.nowMs())).toEqual([fault]);
});

test('docs/metrics.md has the same table', () => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/metrics.md'), 'utf8');
  const [atCloudWatch = ''] = text.split('\n## ');
  const rows = atCloudWatch.split('\n').filter((line) => line.startsWith('| `'));
  const cells = rows.map((row) =>
    row
      .split('|')
      .map((cell) => cell.trim())
      .slice(1, -1),
  );
  expect(cells).toEqual(taskMetrics.map(({ name, unit, read, meaning }) => [`\`${name}\``, unit, read, meaning]));
});
