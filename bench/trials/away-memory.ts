/**
 * `away-memory`: what a stored session with one subscription takes of the heap while its client is away. In a process of its
 * own and without sockets, so that nothing else is in the figures.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { AwayJob, AwayResult } from './away-memory-main.js';
import { table, type Trial } from './trial.js';

const program = fileURLToPath(new URL('away-memory-main.ts', import.meta.url));
/** Fewer, and what the process takes for itself is a part of each. */
const sessionsMin = 20_000;

export const awayMemory: Trial = async ({ sessions: wanted }) => {
  const sessions = Math.max(wanted, sessionsMin);
  const base = { sessions, hasWill: false, hasMessage: false, expirySeconds: 86_400 };
  const jobs: Readonly<Record<string, AwayJob>> = {
    'its client has left': { ...base, come: 'left' },
    'a message waits': { ...base, come: 'left', hasMessage: true },
    'a will waits': { ...base, come: 'left', hasWill: true },
    'without an end': { ...base, come: 'left', expirySeconds: 0xffff_ffff },
    'taken over from a broker that has gone': { ...base, come: 'restored' },
    'the same with a will': { ...base, come: 'restored', hasWill: true },
  };
  const rows: Record<string, { readonly [of in keyof AwayResult]: number }> = {};
  for (const [name, job] of Object.entries(jobs)) rows[name] = await run(job);
  table(`away-memory: ${sessions} stored sessions of one subscription each, bytes a session`, { ...rows });
  return rows;
};

async function run(job: AwayJob): Promise<AwayResult> {
  const child = fork(program, [JSON.stringify(job)], { execArgv: ['--expose-gc', '--import', 'tsx'] });
  const [result] = (await once(child, 'message')) as [AwayResult];
  return result;
}
