/** The broker as a task runs it: the bundle alone, its settings in the environment, what it writes kept as it is. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';

const bundle = join(import.meta.dirname, '../../dist/broker.js');

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly error?: { readonly type: string; readonly message: string };
}

export interface Ports {
  readonly mqtt: number;
  readonly health: number;
}

const started = new Set<ChildProcess>();

/** Ends what a test has left running. */
export function endBrokers(): void {
  for (const child of started) child.kill('SIGKILL');
  started.clear();
}

/** Nothing of the account or the settings of whoever runs the tests, also not a profile in their home. */
function bareEnv(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(SHOAL|AWS)_/.test(name));
  return { ...Object.fromEntries(kept), HOME: '/nonexistent', AWS_EC2_METADATA_DISABLED: 'true' };
}

export class BrokerProcess {
  readonly process: ChildProcess;
  readonly exited: Promise<number | string>;
  readonly startedMs = performance.now();
  /** How long it ran, once it has exited. */
  ranMs = 0;
  stdout = '';
  stderr = '';
  readonly #ready: Promise<Ports>;

  constructor(env: Readonly<Record<string, string>>) {
    this.process = fork(bundle, [], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: ['--enable-source-maps'],
      env: { ...bareEnv(), AWS_REGION: 'eu-central-1', SHOAL_MQTT_PORT: '0', ...env },
    });
    started.add(this.process);
    this.process.stdout!.on('data', (data) => (this.stdout += String(data)));
    this.process.stderr!.on('data', (data) => (this.stderr += String(data)));
    this.exited = new Promise((resolve) =>
      this.process.once('close', (code, signal) => {
        started.delete(this.process);
        this.ranMs = performance.now() - this.startedMs;
        resolve(code ?? signal ?? 'unknown');
      }),
    );
    this.#ready = new Promise((resolve, reject) => {
      this.process.on('message', (message: { type: string; ports: Ports }) => {
        if (message.type === 'ready') resolve(message.ports);
      });
      void this.exited.then((code) => reject(new Error(`the broker ended with ${code}: ${this.stderr}`)));
    });
    this.#ready.catch(() => {}); // Who waits for it hears of it.
  }

  ready(): Promise<Ports> {
    return this.#ready;
  }

  /** What it has logged so far. */
  lines(): LogLine[] {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** The sum over all label sets that match. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const { health } = await this.#ready;
    const text = await (await fetch(`http://127.0.0.1:${health}/metrics`)).text();
    let sum = 0;
    for (const [, of = '', value] of text.matchAll(new RegExp(`^${name}(\\{.*\\})? (\\S+)$`, 'gm')))
      if (Object.entries(labels).every(([label, wanted]) => of.includes(`${label}="${wanted}"`))) sum += Number(value);
    return sum;
  }
}
