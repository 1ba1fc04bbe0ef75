/**
 * One process of the machine, kept running: started with an IPC channel, ready when it says so, started again when it
 * ends by itself (at once, unless it does so again and again), and stopped when asked: the database, brokers, the front door.
 * A child ends by itself when its parent goes away, because its IPC channel closes.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { StartFailure } from './failure.js';

export interface ChildOptions<Ready> {
  /** For people: `the broker`, `broker 2`. */
  readonly name: string;
  /** The bundle that is run. */
  readonly file: string;
  /** Arguments and environment of the next start; after the first one it gets what the first one reported. */
  launch(before: Ready | undefined): { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv };
  /** The type of its message when it is up; by default `ready`. */
  readonly readyType?: string;
  /** The report in the child's ready message; undefined when it has not the agreed shape. */
  readReady(message: object): Ready | undefined;
  /** Asks the process to end cleanly. */
  askToStop(process: ChildProcess): void;
  /** The child prints its own line when it cannot start. */
  readonly explainsItself: boolean;
  /** When given, a process that ends by itself is not started again, and this is called instead. */
  onLost?(): void;
  /** Any other message of it. */
  onMessage?(message: object): void;
  /** Its process is gone, for whatever reason. */
  onExit?(): void;
  /** Awaited between its end and its next start. */
  beforeRestart?(): Promise<void>;
  /** Called when it runs again after it had ended by itself, with another process id. */
  onRestarted?(): void;
  /** Called with one line for every event that an operator should know. */
  log(line: string): void;
}

const readyWithinMs = 30_000;
/** Ends by itself within a minute after which it is started again at once; then there is a delay, which doubles. */
const promptRestarts = 2;
const restartsWithinMs = 60_000;
const restartMsMin = 250;
const restartMsMax = 8000;
/** Longer than a clean stop with many clients takes; after it the process is killed. */
const stopWithinMs = 10_000;

export class Child<Ready> {
  readonly #options: ChildOptions<Ready>;
  #process: ChildProcess | undefined;
  #ready: Ready | undefined;
  #isReady = false;
  #stopping = false;
  /** When it has ended by itself, in the last minute. */
  #endedAtMs: number[] = [];
  #restartTimer: NodeJS.Timeout | undefined;
  /** Why it ends again and again, as far as that has been told. */
  #told: string | undefined;

  constructor(options: ChildOptions<Ready>) {
    this.#options = options;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  get isStopping(): boolean {
    return this.#stopping;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** The first start. Throws StartFailure when the child does not become ready. */
  async start(): Promise<Ready> {
    this.#ready = await this.#launch();
    return this.#ready;
  }

  /** Rejects when it is not running. */
  send(message: string | object): Promise<void> {
    return new Promise((resolve, reject) => {
      const running = this.#process;
      if (!running) return reject(new Error(`${this.#options.name} is not running`));
      running.send(message, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Resolves when the process is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restartTimer);
    const running = this.#process;
    if (running === undefined) return;
    const gone = new Promise<void>((resolve) => running.once('exit', () => resolve()));
    const killer = setTimeout(() => {
      this.#options.log(`${this.#options.name} did not stop within ${stopWithinMs / 1000} s; killing it`);
      running.kill('SIGKILL');
    }, stopWithinMs);
    this.#options.askToStop(running);
    await gone;
    clearTimeout(killer);
  }

  /** At once. Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restartTimer);
    const running = this.#process;
    if (running === undefined) return;
    const gone = new Promise<void>((resolve) => running.once('exit', () => resolve()));
    running.kill('SIGKILL');
    await gone;
  }

  #launch(): Promise<Ready> {
    if (this.#stopping)
      return Promise.reject(new StartFailure(`${this.#options.name} is not started because Shoal is stopping`));
    const { name, file, explainsItself, readyType = 'ready' } = this.#options;
    const { args, env } = this.#options.launch(this.#ready);
    const running = fork(file, args, { env, execArgv: ['--enable-source-maps'] });
    this.#process = running;
    let why: string | undefined;
    return new Promise((resolve, reject) => {
      const tooLate = setTimeout(() => {
        running.kill('SIGKILL');
        reject(new StartFailure(`${name} was not ready within ${readyWithinMs / 1000} s`));
      }, readyWithinMs);
      running.on('message', (message: unknown) => {
        if (typeof message !== 'object' || message === null || !('type' in message)) return;
        if (message.type === readyType) {
          clearTimeout(tooLate);
          const ready = this.#options.readReady(message);
          if (ready === undefined) return reject(new StartFailure(`${name} sent an unknown message`));
          this.#isReady = true;
          resolve(ready);
        } else if (message.type === 'failed') {
          why = 'message' in message ? String(message.message) : `${name} failed`;
          reject(new StartFailure(why, explainsItself || this.#ready !== undefined));
        } else this.#options.onMessage?.(message);
      });
      running.once('error', (error) => {
        if (running.pid === undefined) this.#process = undefined; // There will be no exit of what has not begun.
        reject(new StartFailure(`cannot start ${name}: ${error.message}`));
      });
      running.once('exit', (code, signal) => {
        clearTimeout(tooLate);
        this.#isReady = false;
        this.#process = undefined;
        this.#options.onExit?.();
        const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
        reject(new StartFailure(`${name} exited before it was ready (${how})`));
        if (this.#stopping || this.#ready === undefined) return;
        if (this.#options.onLost !== undefined) return this.#options.onLost();
        const delayMs = this.#restartDelayMs();
        this.#tell(how, explainsItself ? undefined : why, delayMs);
        void (this.#options.beforeRestart?.() ?? Promise.resolve()).then(() => {
          if (!this.#stopping) this.#restartTimer = setTimeout(() => this.#restart(), delayMs);
        });
      });
    });
  }

  #restartDelayMs(): number {
    const nowMs = performance.now();
    this.#endedAtMs = [...this.#endedAtMs.filter((atMs) => nowMs - atMs < restartsWithinMs), nowMs];
    const delayed = this.#endedAtMs.length - promptRestarts;
    return delayed <= 0 ? 0 : Math.min(restartMsMin * 2 ** (delayed - 1), restartMsMax);
  }

  /** A reason that lasts, such as a full disk, is told once and not at each attempt. */
  #tell(how: string, why: string | undefined, delayMs: number): void {
    const { name, log } = this.#options;
    const when = delayMs === 0 ? '' : ` in ${delayMs} ms`;
    // Somebody has asked it, who is not its parent: the operator by the API, or a signal.
    if (how === 'exit code 0') log(`${name} has stopped as it was asked to; starting it again${when}`);
    else if (why === undefined) log(`${name} exited unexpectedly (${how}); restarting it${when}`);
    else if (why !== this.#told) log(`${why}. Trying again until it works; acknowledged messages are kept`);
    this.#told = why;
  }

  #restart(): void {
    this.#launch().then(
      () => {
        this.#told = undefined;
        this.#options.log(`${this.#options.name} is running again`);
        this.#options.onRestarted?.();
      },
      (error: unknown) => {
        if (error instanceof StartFailure && !error.alreadySaid && !this.#stopping) this.#options.log(error.message);
      },
    );
  }
}
