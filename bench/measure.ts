/** One measurement: a fresh load process against a running broker, each on a core of its own where that is possible. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { RunningBroker } from './brokers/broker.js';
import type { Job, Outcome } from './load/job.js';
import { chooseCores, pin } from './proc.js';

const loadProgram = fileURLToPath(new URL('load/main.ts', import.meta.url));
/** For connecting thousands of clients and for waiting until a flood has drained. */
const overheadSeconds = 120;
const exitIsSeenMs = 300;

export const cores = chooseCores();

export async function measure(
  broker: RunningBroker,
  job: Omit<Job, 'target' | 'brokerPid' | 'metricsUrl' | 'isProfiled'>,
): Promise<Outcome> {
  if (broker.died() !== undefined) return { failed: broker.died()! };
  const load = fork(loadProgram, { execArgv: ['--import', 'tsx'] });
  if (cores) {
    pin(broker.pid, cores.broker);
    pin(load.pid!, cores.load);
  }
  const patienceMs = (job.warmUpSeconds + job.seconds + overheadSeconds) * 1000;
  const outcome = await new Promise<Outcome>((resolve) => {
    const timer = setTimeout(() => resolve({ failed: `no result after ${patienceMs / 1000} s` }), patienceMs);
    const done = (answer: Outcome): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    load.once('message', (message) => done(message as Outcome));
    load.once('exit', (code) => done({ failed: `the load process ended with code ${code}` }));
    const { target, pid: brokerPid, metricsUrl, isProfiled = false } = broker;
    load.send({ ...job, target, brokerPid, ...(metricsUrl && { metricsUrl }), isProfiled } satisfies Job);
  });
  load.kill('SIGKILL');
  if ('measured' in outcome) return outcome;
  // The end of a broker shows first as closed connections; say the cause, not the symptom.
  await new Promise((resolve) => setTimeout(resolve, exitIsSeenMs));
  return { failed: broker.died() ?? outcome.failed };
}
