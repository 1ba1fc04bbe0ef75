/** Turns outcomes into the printed table: medians, the range, and ratios to a reference taken round by round. */
import type { DatabaseUse } from './load/database.js';
import type { Measurement, Outcome } from './load/job.js';
import type { Scenario } from './scenarios.js';

/** Outcomes of one scenario by broker, one a round, in order of the rounds. */
export type Outcomes = ReadonlyMap<string, readonly Outcome[]>;

interface Column {
  readonly title: string;
  /** Undefined where the scenario does not have it. */
  readonly value: (measurement: Measurement) => number | undefined;
  readonly format: (value: number) => string;
  readonly ratio?: boolean;
  readonly range?: boolean;
}

/** Shares are of one core. From this share on a core has nothing left to give: the process is what limits the rate. */
const saturatedShare = 0.97;

const columns: readonly Column[] = [
  { title: '/s', value: (m) => m.messages / m.seconds, format: rate, ratio: true, range: true },
  {
    title: 'CPU us/msg',
    value: (m) => (m.brokerCpuSeconds / m.messages) * 1e6,
    format: (us) => us.toPrecision(3),
    ratio: true,
    range: true,
  },
  { title: 'RSS B/conn', value: (m) => m.rssBytesPerConnection, format: (b) => b.toFixed(0), ratio: true, range: true },
  ...databaseColumns(),
  { title: 'RSS before', value: (m) => m.rssBytes?.before, format: megabytes },
  { title: 'RSS peak', value: (m) => m.rssBytes?.peak, format: megabytes },
  { title: 'seconds', value: (m) => m.rssBytes && m.seconds, format: (s) => s.toFixed(2) },
  { title: 'p50 ms', value: (m) => m.latencyUs && m.latencyUs.p50 / 1000, format: (ms) => ms.toFixed(2) },
  { title: 'p99 ms', value: (m) => m.latencyUs && m.latencyUs.p99 / 1000, format: (ms) => ms.toFixed(2) },
  { title: 'lost', value: (m) => m.lost / m.sent, format: percent },
  { title: 'broker CPU', value: (m) => m.brokerCpuSeconds / m.seconds, format: percent },
  { title: 'load CPU', value: (m) => m.loadCpuSeconds / m.seconds, format: saturable },
  {
    title: 'other CPU',
    value: (m) => Math.max(0, m.machineCpuSeconds - m.brokerCpuSeconds - m.loadCpuSeconds) / m.seconds,
    format: percent,
  },
];

/** Amazon's price of a million request units, on demand, us-east-1. */
const writeUnitsPrice = 0.625;
const readUnitsPrice = 0.125;

function databaseColumns(): Column[] {
  const perMessage = (title: string, count: (use: DatabaseUse) => number): Column => ({
    title,
    value: (m) => m.database && count(m.database) / m.messages,
    format: small,
  });
  return [
    perMessage('items/msg', (use) => use.itemWrites),
    perMessage('calls/msg', (use) => use.calls),
    perMessage('WRU/msg', (use) => use.writeUnits),
    perMessage('RRU/msg', (use) => use.readUnits),
    perMessage('$/million', (use) => use.writeUnits * writeUnitsPrice + use.readUnits * readUnitsPrice),
  ];
}

export function report(scenario: Scenario, outcomes: Outcomes, reference: string): string {
  const used = columns.filter(({ value }) => all(outcomes).some((m) => value(m) !== undefined));
  const titles = used.flatMap(({ title, ratio }) => (ratio ? [title, `x ${reference}`] : [title]));
  const rows = [...outcomes].map(([broker, of]) => [
    broker,
    ...used.flatMap((column) => cells(column, of, outcomes.get(reference) ?? [])),
  ]);
  const failures = [...outcomes].flatMap(([broker, of]) =>
    of.flatMap((outcome, round) => ('failed' in outcome ? [`  ${broker}, round ${round + 1}: ${outcome.failed}`] : [])),
  );
  return [`\n${scenario.title}`, ...table([['', ...titles], ...rows]), ...failures].join('\n');
}

function cells(column: Column, of: readonly Outcome[], reference: readonly Outcome[]): string[] {
  const values = measured(of).flatMap((m) => column.value(m) ?? []);
  if (values.length === 0) return column.ratio ? ['-', '-'] : ['-'];
  const range = ` (${column.format(Math.min(...values))}..${column.format(Math.max(...values))})`;
  const cell = column.format(median(values)) + (column.range && values.length > 1 ? range : '');
  if (!column.ratio) return [cell];
  const ratios = of.flatMap((outcome, round) => {
    const other = reference[round];
    if (!('measured' in outcome) || !other || !('measured' in other)) return [];
    return (column.value(outcome.measured) ?? NaN) / (column.value(other.measured) ?? NaN);
  });
  return [cell, ratios.length === 0 ? '-' : median(ratios).toPrecision(3)];
}

function all(outcomes: Outcomes): Measurement[] {
  return [...outcomes.values()].flatMap(measured);
}

function measured(of: readonly Outcome[]): Measurement[] {
  return of.flatMap((outcome) => ('measured' in outcome ? [outcome.measured] : []));
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '),
  );
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function rate(perSecond: number): string {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toPrecision(3)} M`;
  return perSecond >= 1e4 ? `${(perSecond / 1e3).toPrecision(3)} k` : perSecond.toFixed(0);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share >= 0.0001 && share < 0.01 ? 2 : 0)} %`;
}

function small(count: number): string {
  return count === 0 || count >= 0.001 ? count.toFixed(3) : count.toExponential(1);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

/** A saturated load measures itself: the broker could do more. */
function saturable(share: number): string {
  return percent(share) + (share >= saturatedShare ? ' !' : '');
}
