/**
 * `npm run soak -- --minutes 10`: rounds of churn, quiet and a look at everything that is held, and a verdict about each
 * series (`verdict.ts`). Ends with 1 when something grows. `--keep-snapshots <folder>` writes heap snapshots of the first
 * and the last round, to find out what it is.
 */
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { Chance } from '../support/chance.js';
import { Churn } from './churn.js';
import { type Holding, Machine } from './machine.js';
import { judge, roundsMin, type Series } from './verdict.js';

const defaultSeed = 20_260_101;
/** Sessions expire after seconds, and wills are late. */
const quietWithinMs = 90_000;
const kB = 1024;
/** Of all steps: more is not the work that was to be done. */
const failuresMax = 0.02;

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly scale: number;
  readonly snapshots: string | undefined;
}

function readOptions(): Options {
  const program = new Command('npm run soak --')
    .option('--minutes <n>', 'how long rounds are begun; at least nine are made', '10')
    .option('--seed <n>', 'of what clients do', String(defaultSeed))
    .option('--scale <n>', 'how much is done in a round', '1')
    .option('--keep-snapshots <folder>', 'heap snapshots of the second and the last round');
  const given = program.parse().opts<{ minutes: string; seed: string; scale: string; keepSnapshots?: string }>();
  const number = (text: string): number => {
    if (!(Number(text) >= 0)) program.error(`${text} is no number`);
    return Number(text);
  };
  return {
    minutes: number(given.minutes),
    seed: number(given.seed),
    scale: number(given.scale),
    snapshots: given.keepSnapshots,
  };
}

/** Growth of a third of the rounds over the one before that may come by chance. */
function toleranceOf(name: string, first: number): number {
  if (name.endsWith(': heap')) return Math.max(256 * kB, first * 0.02);
  if (name.endsWith(': external')) return 64 * kB;
  // Connections of those who look at it, and timers, come and go.
  if (name.endsWith(': descriptors') || name.endsWith(': resources')) return 4;
  // Reasons and errors that are met seldom have their series from then on; one a client would be hundreds.
  if (name === 'metrics: lines') return 12;
  // The tenant that stays is let go by the broker when it has had no session for a minute.
  if (name === 'shoal_tenants' || name === 'shoal_lease_held') return 1;
  return 0;
}

/** Depends on the system's allocator, on LevelDB, or ends by itself after hours: shown, not judged. */
const shownOnly = (name: string): boolean =>
  name.endsWith(': resident') || name.endsWith('time to live') || name.startsWith('dynamodb: ');

async function quiet(machine: Machine): Promise<void> {
  const untilMs = performance.now() + quietWithinMs;
  for (;;) {
    const gauges = await machine.gauges();
    const isQuiet = ['shoal_sockets', 'shoal_sessions', 'shoal_commits_waiting'].every((name) =>
      [...gauges].every(([line, value]) => !line.startsWith(name) || line.includes('percent') || value === 0),
    );
    if (isQuiet || performance.now() > untilMs) return;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

const show = (name: string, value: number): string =>
  /heap|external|resident/.test(name) ? `${(value / kB / kB).toFixed(2)} MB` : String(value);

function report(rounds: readonly Holding[]): boolean {
  const names = Object.keys(rounds[0]!);
  const rows = names.map((name) => {
    const samples = rounds.map((round) => round[name] ?? 0);
    const series: Series = { name, tolerance: toleranceOf(name, samples[0]!), samples };
    return { ...judge(series), first: samples[0]!, last: samples.at(-1)!, isShownOnly: shownOnly(name) };
  });
  const width = Math.max(...names.map((name) => name.length));
  const cell = (text: string): string => text.padStart(12);
  const head = ['first', 'least of 1/3', 'of 2/3', 'of 3/3', 'last'].map(cell).join('');
  process.stdout.write(`\n${'what is held in quiet'.padEnd(width)}${head}\n`);
  for (const { name, first, least, last, isLeak, isShownOnly } of rows) {
    if (isShownOnly ? false : !isLeak && [first, ...least, last].every((value) => value === 0)) continue;
    const cells = [first, ...least, last].map((value) => cell(show(name, value))).join('');
    process.stdout.write(`${name.padEnd(width)}${cells}  ${isShownOnly ? '(not judged)' : isLeak ? 'GROWS' : 'ok'}\n`);
  }
  return rows.some(({ isLeak, isShownOnly }) => isLeak && !isShownOnly);
}

async function soak({ minutes, seed, scale, snapshots }: Options): Promise<boolean> {
  const machine = await Machine.start();
  const rounds: Holding[] = [];
  const takeSnapshots = (): void => {
    if (snapshots !== undefined) writeFileSync(join(machine.folder, 'snapshot'), '');
  };
  const churn = new Churn(machine.endpoints, new Chance(seed));
  try {
    await churn.begin();
    const startedMs = performance.now();
    const elapsedMs = (): number => performance.now() - startedMs;
    for (let isLast = false; !isLast;) {
      isLast = elapsedMs() > minutes * 60_000 && rounds.length >= roundsMin - 1;
      await churn.round(scale);
      await quiet(machine);
      if (rounds.length === 1 || isLast) takeSnapshots();
      const holding = await machine.holding();
      rmSync(join(machine.folder, 'snapshot'), { force: true });
      rounds.push(holding);
      const parts = ['main: heap', 'main: external', 'broker: heap', 'broker: external', 'broker: descriptors'];
      const told = parts.map((name) => `${name} ${show(name, holding[name]!)}`).join(', ');
      process.stdout.write(`round ${rounds.length}, ${Math.round(elapsedMs() / 1000)} s: ${told}\n`);
      if (!machine.isWhole) throw new Error('a process of the machine ended');
    }
    if (snapshots !== undefined) {
      mkdirSync(snapshots, { recursive: true });
      for (const file of readdirSync(machine.folder).filter((name) => name.endsWith('.heapsnapshot')))
        copyFileSync(join(machine.folder, file), join(snapshots, file));
    }
  } finally {
    if (machine.stderr !== '') process.stdout.write(`the machine said:\n${machine.stderr}\n`);
    await machine.stop();
  }
  const isTooBusy = churn.failures.length > churn.steps * failuresMax;
  process.stdout.write(`${churn.failures.length} of ${churn.steps} steps failed\n`);
  for (const error of churn.failures.slice(0, 5)) process.stdout.write(`  ${String(error)}\n`);
  return report(rounds) || isTooBusy;
}

const options = readOptions();
process.stdout.write(`${options.minutes} minutes, seed ${options.seed}\n`);
process.exitCode = (await soak(options)) ? 1 : 0;
