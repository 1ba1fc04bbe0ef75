/**
 * `npm run bench:broker-start -- [--rounds 10]`: from the start of the process to the moment at which the broker takes
 * clients, measured from the bundle that the image has, with all that a start does: reading it, checking each table and
 * action, the lease, the control log. The database is embedded, on this machine.
 */
import { execFileSync, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startDynalite } from '../test/support/dynalite.js';
import { answers, freePort } from '../test/support/ports.js';

const root = join(import.meta.dirname, '..');
const bundle = join(root, 'dist/broker.mjs');
const lookEveryMs = 2;

async function measure(env: NodeJS.ProcessEnv): Promise<number> {
  const port = await freePort();
  const startedMs = performance.now();
  const broker = spawn(process.execPath, ['--enable-source-maps', bundle], {
    env: { ...env, SHOAL_MQTT_PORT: String(port) },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const exited = new Promise((resolve) => broker.once('exit', resolve));
  while (!(await answers(port))) {
    if (broker.exitCode !== null) throw new Error(`the broker ended with ${broker.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
  const tookMs = performance.now() - startedMs;
  broker.kill('SIGTERM');
  await exited;
  return tookMs;
}

const { rounds } = parseArgs({ options: { rounds: { type: 'string', default: '10' } } }).values;
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
execFileSync(process.execPath, ['services/local/bundle.mjs'], { cwd: root });
const dynalite = await startDynalite();
const dynamo = await dynalite.open();
const took: number[] = [];
for (let n = 0; n < Number(rounds); n++)
  took.push(
    await measure({
      PATH: process.env['PATH'],
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'any',
      AWS_SECRET_ACCESS_KEY: 'any',
      SHOAL_DYNAMODB_ENDPOINT: dynalite.endpoint,
      SHOAL_TABLE_PREFIX: dynamo.tableName('sessions').replace(/sessions$/, ''),
      SHOAL_LOG_LEVEL: 'warn',
    }),
  );
await dynalite.stop();
took.sort((a, b) => a - b);
const ms = (value: number): string => `${Math.round(value)} ms`;
const size = (statSync(bundle).size / (1 << 20)).toFixed(1);
process.stdout.write(
  `dist/broker.mjs, ${size} MiB, ${rounds} starts on Node.js ${process.versions.node}, ${cpus().length} cores: ` +
    `median ${ms(took[Math.floor(took.length / 2)]!)}, fastest ${ms(took[0]!)}, slowest ${ms(took.at(-1)!)}\n`,
);
