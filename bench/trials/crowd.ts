/** Devices in as many processes as they need. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { cores } from '../measure.js';
import { pin, readCpuSeconds } from '../proc.js';
import type { Came, DevicesJob } from './devices.js';
import type { Order, Report } from './devices-main.js';

const program = fileURLToPath(new URL('devices-main.ts', import.meta.url));
/** Below what a process may have open. */
const devicesPerProcess = 2500;
const atOnceDefault = 64;

export class Crowd {
  readonly #processes: readonly ChildProcess[];

  private constructor(processes: readonly ChildProcess[]) {
    this.#processes = processes;
  }

  /** `perProcess`: of devices that visit, a process has more than it could keep connected. */
  static async gather(job: Omit<DevicesJob, 'first'>, perProcess = devicesPerProcess): Promise<Crowd> {
    const processes: ChildProcess[] = [];
    const crowd = new Crowd(processes);
    for (let first = 0; first < job.count; first += perProcess) {
      const child = fork(program, { execArgv: ['--import', 'tsx'] });
      if (cores) pin(child.pid!, cores.load);
      processes.push(child);
      const count = Math.min(perProcess, job.count - first);
      await order(child, { do: 'be', job: { ...job, first, count } });
    }
    return crowd;
  }

  /** User and system time so far. */
  get cpuSeconds(): number {
    return this.#processes.reduce((sum, { pid }) => sum + readCpuSeconds(pid!), 0);
  }

  come(atOnce = atOnceDefault): Promise<Came> {
    return this.#came({ do: 'come', atOnce: this.#share(atOnce) });
  }

  storm(patienceMs: number): Promise<Came> {
    return this.#came({ do: 'storm', patienceMs });
  }

  async subscribe(atOnce = atOnceDefault): Promise<void> {
    await this.#all({ do: 'subscribe', atOnce: this.#share(atOnce) });
  }

  async visit(atOnce = atOnceDefault): Promise<void> {
    await this.#all({ do: 'visit', atOnce: this.#share(atOnce) });
  }

  async leave(how: 'disconnect' | 'cut', atOnce = atOnceDefault): Promise<void> {
    await this.#all({ do: 'leave', how, atOnce: this.#share(atOnce) });
  }

  disperse(): void {
    for (const child of this.#processes) child.kill('SIGKILL');
  }

  #share(atOnce: number): number {
    return Math.max(1, Math.ceil(atOnce / this.#processes.length));
  }

  #all(what: Order): Promise<unknown[]> {
    return Promise.all(this.#processes.map((child) => order(child, what)));
  }

  async #came(what: Order): Promise<Came> {
    const all = (await this.#all(what)) as Came[];
    const refusals: Record<string, number> = {};
    for (const one of all)
      for (const [why, times] of Object.entries(one.refusals)) refusals[why] = (refusals[why] ?? 0) + times;
    return {
      ms: all.flatMap(({ ms }) => ms),
      refusals,
      longestWaitMs: Math.max(...all.map(({ longestWaitMs }) => longestWaitMs)),
      left: all.reduce((sum, { left }) => sum + left, 0),
    };
  }
}

async function order(child: ChildProcess, what: Order): Promise<unknown> {
  const answered = Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => [{ failed: 'a process with devices ended' } satisfies Report]),
  ]);
  child.send(what);
  const [report] = (await answered) as [Report];
  if ('failed' in report) throw new Error(report.failed);
  return report.done;
}
