/**
 * `npm run explore -- --minutes 10`: the random suites with new seeds, one after the other, until the time is over. Tells
 * of each failure how to have it again, and what to add to `support/seeds.ts`. Ends with 1 when there was one.
 */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { suites } from './support/seeds.js';

type Name = keyof typeof suites;

interface Failure {
  readonly suite: Name;
  readonly seed: number;
  readonly test: string;
  readonly message: string;
}

/** What vitest writes with `--reporter=json`, as far as it is read here. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message?: string;
    readonly assertionResults: readonly { status: string; fullName: string; failureMessages?: readonly string[] }[];
  }[];
}

const names = Object.keys(suites) as Name[];

function readOptions(): { minutes: number; chosen: readonly Name[] } {
  const program = new Command('npm run explore --')
    .option('--minutes <n>', 'how long runs are begun', '10')
    .addOption(new Option('--suite <name...>', 'these only').choices(names));
  const { minutes, suite } = program.parse().opts<{ minutes: string; suite?: Name[] }>();
  if (!(Number(minutes) > 0)) program.error(`--minutes ${minutes}: a number above 0 is needed`);
  return { minutes: Number(minutes), chosen: suite ?? names };
}

/** One run of all files of a suite. */
async function run(suite: Name, seed: number, folder: string): Promise<Failure[]> {
  const { files, runs } = suites[suite];
  const path = join(folder, 'report.json');
  rmSync(path, { force: true });
  const env = { ...process.env, SHOAL_TEST_SEED: String(seed), ...(runs && { SHOAL_TEST_RUNS: String(runs) }) };
  const report = ['--reporter=json', `--outputFile=${path}`];
  // More cases than usual, on a machine that does other things: what hangs is ended all the same.
  const child = spawn('npx', ['vitest', 'run', ...files, ...report, '--testTimeout=600000'], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await new Promise<void>((resolve) => child.once('close', () => resolve()));
  const { testResults } = JSON.parse(readFileSync(path, 'utf8')) as Report;
  return testResults.flatMap(({ name, message, assertionResults }) => {
    const failed = assertionResults.filter(({ status }) => status === 'failed');
    const told = failed.map(({ fullName, failureMessages = [] }) => ({
      test: fullName,
      message: failureMessages.join('\n'),
    }));
    // A file that could not be loaded, or whose hooks failed, has no test that did.
    if (told.length === 0 && message) told.push({ test: name, message });
    return told.map((one) => ({ suite, seed, ...one }));
  });
}

function tell({ suite, seed, test, message }: Failure): void {
  const { files, runs } = suites[suite];
  const again = `SHOAL_TEST_SEED=${seed} ${runs ? `SHOAL_TEST_RUNS=${runs} ` : ''}npx vitest run ${files.join(' ')}`;
  console.log(`\n${suite}, seed ${seed}: ${test}\n${message.slice(0, 4000)}\n  again: ${again}`);
  console.log(
    `  test/support/seeds.ts, when it is mended: ${suite}: seeds: [${[...suites[suite].seeds, seed].join(', ')}]`,
  );
}

const { minutes, chosen } = readOptions();
const folder = mkdtempSync(join(tmpdir(), 'shoal-explore-'));
const endMs = Date.now() + minutes * 60_000;
const failures: Failure[] = [];
const counts = new Map<Name, number>();
try {
  for (let turn = 0; Date.now() < endMs; turn++) {
    const suite = chosen[turn % chosen.length]!;
    const seed = randomInt(2 ** 31);
    process.stdout.write(`${suite} ${seed}\n`);
    const found = await run(suite, seed, folder);
    found.forEach(tell);
    failures.push(...found);
    counts.set(suite, (counts.get(suite) ?? 0) + 1);
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(`\n${[...counts].map(([suite, count]) => `${suite} ${count}`).join(', ')}: ${failures.length} failures`);
for (const { suite, seed, test } of failures) console.log(`  ${suite}, seed ${seed}: ${test}`);
process.exitCode = failures.length > 0 ? 1 : 0;
