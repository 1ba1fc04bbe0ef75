/**
 * `npm run bench:connect-path -- [--devices 2000] [--rounds 7] [--profile]`: CPU of the broker's thread for each step of a client,
 * without sockets of clients and without another process that is measured. The least of the rounds counts, so it can tell two
 * checkouts apart on a machine that has other work. `npm run bench -- --only connect` measures the whole.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { buildDatabase } from './database/build.js';
import { topFunctions } from './profile.js';

/** As `npm start` and tasks have it. */
const semiSpaceMiB = 8;

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '7' },
    profile: { type: 'boolean', default: false },
  },
});

/** As it is deployed, without what tsx adds to keep the names of functions. */
async function buildProgram(): Promise<string> {
  const outfile = 'dist/bench-connect-path.mjs';
  const options = { bundle: true, platform: 'node', format: 'esm', packages: 'external', logLevel: 'silent' } as const;
  await build({ ...options, entryPoints: ['bench/connect-path-main.ts'], outfile });
  return outfile;
}

async function startDatabase(): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(fileURLToPath(await buildDatabase()), ['', '0', '0'], { execArgv: [] });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return { child, port };
}

const program = await buildProgram();
const { child: database, port } = await startDatabase();
const folder = 'dist/bench-connect-path';
const name = `${process.pid}.cpuprofile`;
const profiler = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}`] : [];
const run = fork(program, [String(port), values.devices, values.rounds], {
  execArgv: [`--max-semi-space-size=${semiSpaceMiB}`, ...profiler],
});
const [code] = (await once(run, 'exit')) as [number | null];
database.kill('SIGKILL');
if (code === 0 && values.profile) process.stdout.write(`${topFunctions([`${folder}/${name}`])}\n`);
process.exit(code ?? 1);
