/**
 * The tables of docs/cost.md between its markers, `<!-- cost:name -->` and `<!-- /cost:name -->`; the words around them
 * are written by hand. Called by `cost.ts`, which writes them, and by the test that they are current.
 */
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { assumptions, type Figure, measured, reckonings, service } from './figures.js';
import { fleetSizes, type Workload, workloads } from './fleets.js';
import { plans } from '../../services/tenancy/tenancy.js';
import {
  type Bill,
  dearestTenant,
  emqxUsd,
  iotCoreUsd,
  type MqttTls,
  secondBroker,
  type SecondBroker,
  shoalBill,
} from './model.js';
import { prices } from './prices.js';

export const documentFile = join(import.meta.dirname, '../../docs/cost.md');

const count = (value: number): string => value.toLocaleString('en-US').replaceAll(',', ' ');

/** To three digits: more would claim more than the inputs are worth. */
function usd(value: number): string {
  const digits = Math.max(0, Math.floor(Math.log10(Math.max(value, 1))) - 2);
  const unit = 10 ** digits;
  return `$${count(Math.round(value / unit) * unit)}`;
}

/** `numbers`: the columns that hold numbers. */
function markdown(head: readonly string[], rows: readonly (readonly string[])[], numbers: readonly number[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const ruler = head.map((_, column) => (numbers.includes(column) ? '---:' : '---'));
  return [line(head), line(ruler), ...rows.map(line)].join('\n');
}

function fleetTable(workload: Workload): string {
  const bills = (mqttTls: MqttTls): readonly Bill[] => fleetSizes.map((size) => shoalBill(workload, size, mqttTls));
  const part = (title: string, of: readonly Bill[], value: (bill: Bill) => string): readonly string[] => [
    title,
    ...of.map(value),
  ];
  const shoal = (title: string, of: readonly Bill[]): readonly (readonly string[])[] => [
    part(`**Shoal, ${title}**`, of, ({ total }) => `**${usd(total)}**`),
    part('broker tasks', of, ({ tasks }) => count(tasks)),
    part('Fargate', of, ({ fargate }) => usd(fargate)),
    part('load balancer', of, ({ loadBalancer }) => usd(loadBalancer)),
    part('data transfer', of, ({ transfer }) => usd(transfer)),
    part('DynamoDB', of, ({ database }) => usd(database)),
    part('the rest', of, ({ fixed }) => usd(fixed)),
  ];
  const others = (title: string, cost: (size: number) => number): readonly string[] => [
    `**${title}**`,
    ...fleetSizes.map((size) => `**${usd(cost(size))}**`),
  ];
  const iotCore =
    workload.telemetryPerDay === 0
      ? [others('AWS IoT Core', (size) => iotCoreUsd(workload, size, 'subscriber'))]
      : [
          others('AWS IoT Core, the back end subscribes', (size) => iotCoreUsd(workload, size, 'subscriber')),
          others('AWS IoT Core, a rule forwards to the back end', (size) => iotCoreUsd(workload, size, 'rule')),
        ];
  const head = ['a month', ...fleetSizes.map((size) => (size === 0 ? 'nobody' : `${count(size)} devices`))];
  return markdown(
    head,
    [
      ...shoal('TLS at the load balancer', bills('nlb')),
      ...shoal('TLS in the broker', bills('broker')),
      ...iotCore,
      others('EMQX Serverless, if it accepted so many', (size) => emqxUsd(workload, size)),
    ],
    [1, 2, 3, 4],
  );
}

const figureTable = (figures: Readonly<Record<string, Figure>>): string =>
  markdown(
    ['what', 'value', 'from'],
    Object.values(figures).map(({ of, value, unit, from }) => [of, `${count(value)} ${unit}`, from]),
    [1],
  );

const priceTable = (): string =>
  markdown(
    ['price of', '$', 'published at', 'our source'],
    Object.values(prices).map(({ of, usd: price, page, read }) => [of, String(price), `<${page}>`, read]),
    [1],
  );

function tenantTable(): string {
  const dearest = Object.values(plans).map(({ quotas }) => dearestTenant(quotas));
  const row = (title: string, value: (one: (typeof dearest)[number]) => number): readonly string[] => [
    title,
    ...dearest.map((one) => usd(value(one))),
  ];
  return markdown(
    ['a month, at most', ...Object.keys(plans).map((name) => `plan \`${name}\``)],
    [
      row('database units: the whole monthly quota', ({ evenly }) => evenly),
      row('**database units: the quota at once, then its average rate**', ({ database }) => database),
      row('storage for everything they write, if it all stays', ({ storage }) => storage),
      row('data transfer to the internet at `bytesPerSecond`, day and night', ({ transfer }) => transfer),
      row('load balancer for these bytes, in and out', ({ loadBalancer }) => loadBalancer),
    ],
    dearest.map((_, i) => i + 1),
  );
}

function secondBrokerTable(): string {
  const [nlb, broker] = (['nlb', 'broker'] as const).map(secondBroker) as [SecondBroker, SecondBroker];
  const row = (title: string, value: (bill: SecondBroker) => number): readonly string[] => [
    title,
    ...[nlb, broker].map((bill) => usd(value(bill))),
  ];
  return markdown(
    ['a month, besides one broker', 'TLS at the load balancer', 'TLS in the broker'],
    [
      row('the second task', ({ fargate }) => fargate),
      row('endpoint for Secrets Manager', ({ endpoint }) => endpoint),
      row('DynamoDB: its lease, and reading those of others', ({ database }) => database),
      row('two keys, three alarms', ({ watched }) => watched),
      row('**total**', ({ total }) => total),
    ],
    [1, 2],
  );
}

const workload = (one: Workload): string => `${one.words}\n\n${fleetTable(one)}`;

const sections: Readonly<Record<string, () => string>> = {
  silent: () => workload(workloads.silent),
  telemetry: () => workload(workloads.telemetry),
  tenants: tenantTable,
  'second-broker': secondBrokerTable,
  measured: () => figureTable(measured),
  reckoned: () => figureTable(reckonings),
  service: () => figureTable({ ...service, ...assumptions }),
  prices: priceTable,
};

/** `text` with each section filled in anew. Throws when one has no place in it. */
export async function withTables(text: string): Promise<string> {
  let made = text;
  for (const [name, section] of Object.entries(sections)) {
    const place = new RegExp(`(<!-- cost:${name} -->)[^]*?(<!-- /cost:${name} -->)`);
    if (!place.test(made)) throw new Error(`docs/cost.md has no place for the section ${name}`);
    made = made.replace(place, (_, begin: string, end: string) => `${begin}\n\n${section()}\n\n${end}`);
  }
  return format(made, { ...(await resolveConfig(documentFile)), parser: 'markdown' });
}
