/** Runs the smoke test as a process, as people do. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { cleanEnv } from '../local/shoal.js';

const root = join(import.meta.dirname, '../..');

export interface Run {
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly stderr: string;
}

interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each line and the id of the process, as it comes. */
  readonly onLine?: (line: string, pid: number) => void;
  /** As `npm run smoke`, in a process group of its own like in a terminal. */
  readonly npm?: boolean;
}

export function smoke(args: readonly string[], { env = {}, onLine, npm = false }: RunOptions = {}): Promise<Run> {
  const [program, before] = npm
    ? ['npm', ['--silent', 'run', 'smoke', '--']]
    : [process.execPath, ['--import', 'tsx', 'smoke/main.ts']];
  const child = spawn(program, [...before, ...args], {
    detached: npm,
    cwd: root,
    env: { ...cleanEnv(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let stderr = '';
  let told = 0;
  child.stdout.on('data', (data) => {
    out += String(data);
    const whole = out.split('\n').slice(0, -1);
    for (const line of whole.slice(told)) onLine?.(line, child.pid ?? 0);
    told = whole.length;
  });
  child.stderr.on('data', (data) => (stderr += String(data)));
  return new Promise((resolve) =>
    child.once('close', (code) => resolve({ code, lines: out.trimEnd().split('\n'), stderr })),
  );
}
