/**
 * The processes of a run: the embedded DynamoDB, which outlives every broker, and brokers as `npm start` and a task start
 * them (the bundles in `dist/`), which can be killed, frozen and thawed. All end with the test, whatever failed.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';

const dist = join(import.meta.dirname, '../../dist');
export const region = 'eu-central-1';
export const tablePrefix = 'crash-';

/** Of the lines that a broker has written, the last ones are kept. */
const linesKept = 40;

const started = new Set<ChildProcess>();

/** Ends what a test has left running. */
export function endProcesses(): void {
  for (const child of started) child.kill('SIGKILL');
  started.clear();
}

/** Without what is meant for the processes of the person who runs the tests. */
const cleanEnv = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(SHOAL|AWS)_(?!SDK_)/.test(name)));

function start(file: string, args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  const child = fork(join(dist, file), args, {
    env: { ...cleanEnv(), ...env },
    execArgv: ['--enable-source-maps'],
    silent: true,
  });
  started.add(child);
  child.once('exit', () => started.delete(child));
  return child;
}

/** What the process says when it is ready; rejects with why it is not. */
function ready<Message>(child: ChildProcess): Promise<Message> {
  return new Promise((resolve, reject) => {
    child.on('message', (message: { type: string; message?: string }) => {
      if (message.type === 'ready') resolve(message as Message);
      else if (message.type === 'failed') reject(new Error(message.message));
    });
    child.once('exit', (code, signal) => reject(new Error(`ended with ${code ?? signal} before it was ready`)));
  });
}

/** In memory, on a free port; returns its endpoint. */
export async function startEngine(): Promise<string> {
  const child = start('dynamodb.js', ['', '0'], {});
  const { port } = await ready<{ port: number }>(child);
  return `http://127.0.0.1:${port}`;
}

export class BrokerProcess {
  readonly name: string;
  readonly exited: Promise<number | string>;
  hasExited = false;
  /** The last lines of its log and of what it complained about. */
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #ready: Promise<{ ports: { mqtt: number; health: number } }>;

  constructor(name: string, endpoint: string, env: Readonly<Record<string, string>> = {}) {
    this.name = name;
    this.#child = start('broker.js', [], {
      AWS_REGION: region,
      SHOAL_DYNAMODB_ENDPOINT: endpoint,
      SHOAL_TABLE_PREFIX: tablePrefix,
      SHOAL_MQTT_PORT: '0',
      SHOAL_LOG_LEVEL: 'info',
      ...env,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (data: Buffer) => {
        this.lines.push(...String(data).trimEnd().split('\n'));
        this.lines.splice(0, this.lines.length - linesKept);
      });
    this.#ready = ready(this.#child);
    this.#ready.catch(() => {}); // who waits for it hears of it
    this.exited = new Promise((resolve) =>
      this.#child.once('exit', (code, signal) => {
        this.hasExited = true;
        resolve(code ?? signal ?? 'unknown');
      }),
    );
  }

  /** The port of plain MQTT, once it takes clients. */
  async port(): Promise<number> {
    return (await this.#ready).ports.mqtt;
  }

  async metrics(): Promise<string> {
    const { ports } = await this.#ready;
    return (await fetch(`http://127.0.0.1:${ports.health}/metrics`)).text();
  }

  async healthUrl(): Promise<string> {
    return `http://127.0.0.1:${(await this.#ready).ports.health}/healthz`;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited;
  }

  /** A clean stop; fails unless it ends as it should. */
  async stop(): Promise<void> {
    this.signal('SIGTERM');
    const code = await this.exited;
    if (code !== 0) throw new Error(`${this.name} ended with ${code}:\n${this.lines.join('\n')}`);
  }
}
