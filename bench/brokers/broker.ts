/** A broker that can be measured: a way to start it and the table of those we know. */
import type { ChildProcess } from 'node:child_process';
import { createServer, connect, type AddressInfo } from 'node:net';
import type { Target } from '../load/connection.js';

export interface StartOptions {
  readonly version: Target['version'];
  /** A folder of its own, removed after the run. */
  readonly folder: string;
  readonly shoal: ShoalOptions;
  /** However much waits for a session: none of it is dropped. */
  readonly unboundedQueues: boolean;
}

export interface ShoalOptions {
  /** `high`: every quota is a number, so that each meter counts; `none`: every quota is null. */
  readonly quotas: 'high' | 'none';
  /** Where the broker process writes a CPU profile when it stops. */
  readonly profileFolder?: string;
  readonly database: DatabaseChoice;
  /** The checkout whose service is started, with its packages; the own one unless given. */
  readonly root?: string;
  /** The checkout that is `shoal-before`. */
  readonly rootBefore?: string;
}

export interface DatabaseChoice {
  /** `fast`: the one in `bench/database`. `dynalite`: what `npm start` has. */
  readonly engine: 'fast' | 'dynalite';
  /** From request to answer, of the fast one. */
  readonly delayMs: number;
}

export interface RunningBroker {
  readonly target: Target;
  /** The process whose CPU time and memory count. */
  readonly pid: number;
  /** Where it counts what it asks of its database, in the text format of Prometheus. */
  readonly metricsUrl?: string;
  /** It starts and stops a CPU profile on SIGUSR2. */
  readonly isProfiled?: boolean;
  /** Why it ended by itself, if it did. */
  readonly died: () => string | undefined;
  /** Also after it died: what it started besides the measured process ends, too. */
  readonly stop: () => Promise<void>;
}

export interface Broker {
  /** Why this machine or these options cannot run it. */
  readonly unavailable: (options: Pick<StartOptions, 'version'>) => string | undefined;
  readonly start: (options: StartOptions) => Promise<RunningBroker>;
}

export const host = '127.0.0.1';
const portOpensMs = 10_000;
const stopMs = 10_000;

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function untilPortOpen(port: number, died: () => string | undefined): Promise<void> {
  for (const deadlineMs = performance.now() + portOpensMs; ;) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host, port }, () => (socket.destroy(), resolve(true)));
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    if (died() !== undefined || performance.now() > deadlineMs) throw new Error(died() ?? `port ${port} does not open`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Remembers the end of a child process and the last line it wrote to stderr. */
export function watch(child: ChildProcess): Pick<RunningBroker, 'died' | 'stop'> {
  let words = '';
  let died: string | undefined;
  child.stderr?.on('data', (chunk: Buffer) => (words = (words + String(chunk)).slice(-4000)));
  const ended = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      const lastError = words
        .split('\n')
        .findLast((line) => /error|exception/i.test(line))
        ?.trim();
      died = `process ended with ${signal ?? `code ${code}`}${lastError === undefined ? '' : `: ${lastError}`}`;
      resolve();
    });
  });
  const stop = async (): Promise<void> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), stopMs);
    child.kill('SIGTERM');
    await ended;
    clearTimeout(timer);
  };
  return { died: () => died, stop };
}
