/**
 * `storm`: all devices of one tenant lose their connections at once and come back without a pause, half of them to stored
 * sessions, while pairs of another tenant go on.
 */
import { type RunningShoal, signUp } from '../brokers/shoal.js';
import { sparse } from '../load/sparse.js';
import type { Traffic } from '../load/traffic.js';
import { readCpuSeconds } from '../proc.js';
import type { Sparse } from '../scenarios.js';
import { Crowd } from './crowd.js';
import { ms, pause, percentile, table, type Trial, type TrialOptions, withShoal } from './trial.js';

const pairs: Sparse = { kind: 'sparse', title: '', pairs: 100, messagesPerSecond: 1000, payloadBytes: 64 };
const patienceMs = 120_000;

export const storm: Trial = async (options) => {
  const result = await withShoal(options, (running) => measured(running, options));
  table(`storm: ${options.devices} devices come back at once`, { storm: result });
  return result;
};

async function measured(running: RunningShoal, { devices, quotas, seconds }: TrialOptions) {
  const { target, pid } = running;
  const other = await signUp(running.endpoints(), 'other', { quotas }, true);
  const lost: string[] = [];
  const traffic = await sparse(pairs, { ...target, credentials: other }, (why) => lost.push(why));
  const crowd = await Crowd.gather({
    port: target.port,
    version: 5,
    credentials: [target.credentials!],
    name: 'device',
    count: devices,
    stored: 'half',
  });
  try {
    await crowd.come();
    traffic.start();
    await pause(seconds * 1000);
    traffic.takeLatencies!();
    const quietUs = await latencies(traffic, () => pause(seconds * 1000));
    const database = running.endpoints().pids.dynamodb;
    const cpu = { broker: readCpuSeconds(pid), load: crowd.cpuSeconds, database: readCpuSeconds(database) };
    const own = process.cpuUsage();
    let took = 0;
    const startedMs = performance.now();
    let came!: Awaited<ReturnType<Crowd['storm']>>;
    const profile = (): unknown => running.isProfiled && process.kill(pid, 'SIGUSR2');
    const stormUs = await latencies(traffic, async () => {
      profile();
      came = await crowd.storm(patienceMs);
      profile();
      took = (performance.now() - startedMs) / 1000;
    });
    const pairsCpu = process.cpuUsage(own);
    traffic.stop();
    const share = (seconds: number): string => `${Math.round((100 * seconds) / took)} %`;
    return {
      'CONNACK/s': Math.round(came.ms.length / (Math.max(...came.ms) / 1000)),
      'p50 ms': ms(percentile(came.ms, 0.5)),
      'p99 ms': ms(percentile(came.ms, 0.99)),
      'last ms': ms(Math.max(...came.ms)),
      'longest wait ms': ms(came.longestWaitMs),
      refusals: JSON.stringify(came.refusals),
      'not in': came.left,
      'pairs lost': lost.length,
      'quiet p99 ms': ms(percentile(quietUs, 0.99) / 1000),
      'storm p99 ms': ms(percentile(stormUs, 0.99) / 1000),
      'storm max ms': ms(percentile(stormUs, 1) / 1000),
      'x quiet': ms(percentile(stormUs, 0.99) / percentile(quietUs, 0.99)),
      'broker CPU': share(readCpuSeconds(pid) - cpu.broker),
      'CPU us a CONNACK': Math.round(((readCpuSeconds(pid) - cpu.broker) / came.ms.length) * 1e6),
      'devices CPU': share(crowd.cpuSeconds - cpu.load),
      'database CPU': share(readCpuSeconds(database) - cpu.database),
      'pairs CPU': share((pairsCpu.user + pairsCpu.system) / 1e6),
    };
  } finally {
    crowd.disperse();
    traffic.close();
  }
}

/** Of the messages that arrive while something happens. */
async function latencies(traffic: Traffic, run: () => Promise<void>): Promise<number[]> {
  traffic.takeLatencies!();
  await run();
  return traffic.takeLatencies!();
}
