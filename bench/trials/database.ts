/** `database`: what a call costs the fast database, beside dynalite. */
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTables, Dynamo } from '../../services/dynamo/dynamo.js';
import { buildDatabase } from '../database/build.js';
import { cores } from '../measure.js';
import { pin, readCpuSeconds } from '../proc.js';
import { table, type Trial, us } from './trial.js';

const root = join(import.meta.dirname, '../..');
const connections = 16;
const warmUpCalls = 2000;

export const database: Trial = async ({ seconds }) => {
  execFileSync(process.execPath, ['services/local/bundle.mjs'], { cwd: root });
  const programs = {
    fast: fileURLToPath(await buildDatabase()),
    dynalite: join(root, 'dist/dynamodb.js'),
  };
  const rows: Record<string, { '/s': number; 'CPU us a call': number }> = {};
  for (const [name, program] of Object.entries(programs)) {
    const child = fork(program, ['', '0'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    try {
      rows[name] = await measured(child, seconds);
    } finally {
      child.kill('SIGKILL');
    }
  }
  table('database: UpdateItem with a condition', rows);
  return rows;
};

async function measured(child: ChildProcess, seconds: number) {
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  if (cores) pin(child.pid!, cores.broker);
  const dynamo = new Dynamo({ endpoint: `http://127.0.0.1:${port}`, region: 'local', tablePrefix: 'bench-' });
  await createTables(dynamo);
  let calls = 0;
  const claim = (): Promise<unknown> =>
    dynamo.update(
      'sessions',
      { pk: `bench#${calls % 16}`, sk: `device-${calls++ % 1000}` },
      {
        update: 'SET #owner = :owner, connectedAt = :now ADD #epoch :one',
        condition: 'attribute_not_exists(#owner) OR #owner = :owner',
        names: { '#owner': 'owner', '#epoch': 'epoch' },
        values: { ':owner': 'broker-1', ':now': 1_700_000_000_000, ':one': 1 },
        returns: 'new',
      },
    );
  const callUntil = (isOver: () => boolean): Promise<unknown> =>
    Promise.all(
      Array.from({ length: connections }, async () => {
        while (!isOver()) await claim();
      }),
    );
  await callUntil(() => calls >= warmUpCalls);
  calls = 0;
  const cpuSeconds = readCpuSeconds(child.pid!);
  const endMs = performance.now() + seconds * 1000;
  await callUntil(() => performance.now() > endMs);
  const row = {
    '/s': Math.round(calls / seconds),
    'CPU us a call': us((readCpuSeconds(child.pid!) - cpuSeconds) / calls),
  };
  dynamo.close();
  return row;
}
