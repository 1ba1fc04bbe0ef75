/** The table of `--only neighbours`: under attack beside quiet, and what of it is worse than the goal. */
import { attacks, type AttackName } from '../../test/neighbours/attacks/attacks.js';
import type { Measured } from '../../test/neighbours/duel.js';
import { streams, type Stream } from '../../test/neighbours/neighbour.js';
import type { Duelled, Failed } from './neighbours.js';

/** What nobody may do to a neighbour. */
const goal = {
  timesQuiet: 2,
  /** Allowed in any case: what is quicker than that is not felt. */
  p99Ms: 25,
  connectMsMax: 1000,
  /** Of an acknowledgement that waits for the database. */
  storedMsMax: 1000,
  /** The quota `memoryBytes` of the free plan, and as much again for what is collected later. */
  rssGrowthBytesMax: 512 << 20,
  /** The quota `databaseUnitsPerSecond` of the free plan; a minute of it is saved up for bursts, and ten seconds are lent. */
  writeUnitsPerSecond: 500,
  writeUnitsBurst: 35_000,
};

const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)}`;
const ms = (value: number): string => (Number.isNaN(value) ? '-' : value >= 100 ? value.toFixed(0) : value.toFixed(1));

const columns: readonly (readonly [title: string, value: (measured: Measured) => string])[] = [
  ...(['qos0', 'qos1', 'stored'] as const).map(
    (stream) => [`${stream} p50/p99/max ms`, ({ served }: Measured) => trio(served[stream])] as const,
  ),
  ['CONNECT p50/max ms', ({ served: { connects } }) => `${ms(connects.p50)}/${ms(connects.max)}`],
  ['lost', ({ served }) => streams.map((stream) => served[stream].lost).join('/')],
  ['RSS/heap MB', ({ broker }) => (broker ? `${mb(broker.rssBytesMax)}/${mb(broker.heapBytesMax)}` : 'no answer')],
  ['loop', ({ broker }) => (broker ? `${(broker.loopShare * 100).toFixed(0)} %` : '-')],
  [
    'WRU/RRU per s',
    ({ broker, seconds }) =>
      broker ? `${(broker.writeUnits / seconds).toFixed(0)}/${(broker.readUnits / seconds).toFixed(0)}` : '-',
  ],
  ['x p99', () => ''],
];

const trio = ({ p50, p99, max }: { p50: number; p99: number; max: number }): string =>
  `${ms(p50)}/${ms(p99)}/${ms(max)}`;

const nameWidth = Math.max(...Object.keys(attacks).map((name) => name.length));
const widths = columns.map(([title]) => Math.max(title.length, 20));
const line = (name: string, cells: readonly string[]): string =>
  [name.padEnd(nameWidth), ...cells.map((cell, n) => cell.padStart(widths[n]!))].join('  ').trimEnd();

/** Lost: QoS 0, QoS 1, stored, CONNECT. */
export const heading = line(
  '',
  columns.map(([title]) => title),
);

export function row(name: AttackName, result: Duelled | Failed): string {
  if ('failed' in result) return `${name.padEnd(nameWidth)}  ${result.failed}`;
  const { quiet, attacked } = result;
  const cells = (measured: Measured): string[] => columns.map(([, value]) => value(measured));
  const times = worstP99(attacked) / worstP99(quiet);
  return [
    attacks[name].title,
    line(`  quiet`, cells(quiet)),
    line(`  ${name}`, [...cells(attacked).slice(0, -1), times.toFixed(1)]),
  ].join('\n');
}

/** Of the round trips that wait for nothing but the broker. */
const worstP99 = ({ served: { qos0, qos1 } }: Measured): number => Math.max(qos0.p99, qos1.p99);

/** What is worse than the goal. */
export function misses({ quiet, attacked }: Duelled): string[] {
  const { served, broker, seconds } = attacked;
  const found: string[] = [];
  const p99Max = Math.max(goal.p99Ms, goal.timesQuiet * worstP99(quiet));
  const p99 = worstP99(attacked);
  // Nothing that came at all has no p99.
  if (!(p99 <= p99Max)) found.push(`p99 ${ms(p99)} ms, above ${ms(p99Max)} ms`);
  if (!(served.stored.p99 <= Math.max(goal.storedMsMax, goal.timesQuiet * quiet.served.stored.p99)))
    found.push(`stored p99 ${ms(served.stored.p99)} ms`);
  if (!(served.connects.max <= goal.connectMsMax)) found.push(`CONNECT max ${ms(served.connects.max)} ms`);
  for (const stream of streams) if (served[stream].lost > 0) found.push(`${served[stream].lost} ${word[stream]}`);
  if (!broker) return [...found, 'the broker has died or does not answer'];
  const growth = broker.rssBytesMax - (quiet.broker?.rssBytesMax ?? 0);
  if (growth > goal.rssGrowthBytesMax) found.push(`memory grew by ${mb(growth)} MB`);
  const units = broker.writeUnits + broker.readUnits / 5 - (quiet.broker?.writeUnits ?? 0);
  if (units > goal.writeUnitsPerSecond * seconds + goal.writeUnitsBurst)
    found.push(`${(units / seconds).toFixed(0)} write units/s`);
  return found;
}

const word: Readonly<Record<Stream, string>> = {
  qos0: 'QoS 0 lost',
  qos1: 'QoS 1 lost',
  stored: 'stored not acknowledged',
  connects: 'CONNECTs failed',
};

export function verdicts(results: Partial<Record<AttackName, Duelled | Failed>>): string {
  const lines = Object.entries(results).map(([name, result]) => {
    const found = 'failed' in result ? [result.failed] : misses(result);
    return `${name.padEnd(nameWidth)}  ${found.length === 0 ? 'within the goal' : found.join('; ')}`;
  });
  return ['', ...lines].join('\n');
}
