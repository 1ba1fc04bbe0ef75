/** Starts what `npm start` starts, as a process group of its own like a terminal does, and reads what it prints. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoints } from '../../services/local/endpoints.js';
import { until } from '../support/until.js';

const root = join(import.meta.dirname, '../..');
const startWithinMs = 30_000;

const startCommand: readonly string[] = [process.execPath, 'services/local/start.mjs'];
export const freePorts = ['mqtt', 'mqtts', 'ws', 'wss', 'api'].flatMap((listener) => [`--${listener}-port`, '0']);

export class Shoal {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly exited: Promise<number | string>;
  #hasExited = false;

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}, command = startCommand) {
    const [program = '', ...before] = command;
    this.process = spawn(program, [...before, ...args], {
      cwd: root,
      env: { ...cleanEnv(), ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    this.process.stdout?.on('data', (data) => (this.stdout += String(data)));
    this.process.stderr?.on('data', (data) => (this.stderr += String(data)));
    this.exited = new Promise((resolve) =>
      this.process.once('close', (code, signal) => {
        this.#hasExited = true;
        resolve(code ?? signal ?? 'unknown');
      }),
    );
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  /** Resolves when the banner is complete; fails with what was printed when the process ends instead. */
  async ready(): Promise<this> {
    const complete = (): boolean => this.stdout.includes('Ctrl-C stops Shoal');
    await until(() => complete() || this.hasExited, 'the banner', startWithinMs);
    if (!complete()) throw new Error(`Shoal ended: ${this.stdout}${this.stderr}`);
    return this;
  }

  /** What a person types, where `command` makes a terminal. */
  type(keys: string): void {
    this.process.stdin?.write(keys);
  }

  /** A signal to the whole process group, as Ctrl-C in a terminal sends it. */
  signalGroup(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal);
    } catch {
      // nobody is left
    }
  }

  async stop(): Promise<number | string> {
    if (!this.hasExited) this.process.kill('SIGTERM');
    return await this.exited;
  }

  /** The commands of the banner, as they are printed. */
  get commands(): string {
    return this.stdout
      .split('\n')
      .filter((line) => /^ {2}(SHOAL_\w+=|echo |mosquitto_)/.test(line))
      .join('\n');
  }
}

export const cleanEnv = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SHOAL_')));

/** Folders and processes of one test file; `clean` leaves nothing behind, whatever failed. */
export class Workshop {
  readonly #folders: string[] = [];
  readonly #started: Shoal[] = [];

  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'shoal-test-'));
    this.#folders.push(folder);
    return folder;
  }

  start(args: readonly string[], env: Readonly<Record<string, string>> = {}, command = startCommand): Shoal {
    const shoal = new Shoal(args, env, command);
    this.#started.push(shoal);
    return shoal;
  }

  async clean(): Promise<void> {
    for (const shoal of this.#started.splice(0)) {
      shoal.signalGroup('SIGKILL');
      await shoal.exited;
    }
    for (const folder of this.#folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  }
}

export function endpointsIn(folder: string): Endpoints {
  return JSON.parse(readFileSync(join(folder, 'endpoints.json'), 'utf8')) as Endpoints;
}

export function isRunning(pid: number): boolean {
  if (existsSync('/proc/self')) {
    // A zombie that nobody has waited for is not running.
    if (!readdirSync('/proc').includes(String(pid))) return false;
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The status and the JSON of one call of the API; an answer without a body is an empty object. */
export async function call(
  url: string,
  options: { method?: string; key?: string; body?: unknown } = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(url, {
    method: options.method ?? (options.body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(options.key === undefined ? {} : { authorization: `Bearer ${options.key}` }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
}
