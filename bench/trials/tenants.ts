/** `tenants`: many tenants with one client each come from cold, stay, and leave. */
import { type RunningShoal, signUp } from '../brokers/shoal.js';
import type { Credentials } from '../load/packets.js';
import { readCpuSeconds } from '../proc.js';
import { Crowd } from './crowd.js';
import { kb, ms, pause, percentile, table, type Trial, type TrialOptions, us, used, withShoal } from './trial.js';

const signUpsAtOnce = 8;

export const tenants: Trial = async (options) => {
  const result = await withShoal(options, (running) => measured(running, options));
  table(`tenants: ${options.tenants} with one client each, from cold`, result);
  return result;
};

async function measured(running: RunningShoal, { tenants: count, quotas, seconds }: TrialOptions) {
  const { target, pid } = running;
  const warm = await Crowd.gather({
    port: target.port,
    version: 5,
    credentials: [target.credentials!],
    name: 'warm',
    count: 300,
    stored: 'none',
  });
  await warm.come();
  await warm.leave('disconnect');
  warm.disperse();

  const credentials: Credentials[] = [];
  const endpoints = running.endpoints();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++)
      credentials[index] = await signUp(endpoints, `tenant-${index}`, { quotas }, true);
  };
  await Promise.all(Array.from({ length: signUpsAtOnce }, worker));

  const crowd = await Crowd.gather({
    port: target.port,
    version: 5,
    credentials,
    name: 'only',
    count,
    stored: 'none',
  });
  const rows: Record<string, Record<string, number | string>> = {};
  const step = async (what: string, atOnce: number): Promise<void> => {
    let came: number[] = [];
    const { cpuSeconds, seconds, rssBytes, database } = await used(running, async () => {
      came = (await crowd.come(atOnce)).ms;
    });
    rows[what] = {
      '/s': Math.round(count / seconds),
      'p50 ms': ms(percentile(came, 0.5)),
      'p99 ms': ms(percentile(came, 0.99)),
      'CPU us': us(cpuSeconds / count),
      'RSS KB': kb(rssBytes / count),
      calls: ms(database!.calls / count),
      'read units': ms(database!.readUnits / count),
      'write units': ms(database!.writeUnits / count),
    };
  };
  await step('from cold', 64);
  const before = readCpuSeconds(pid);
  await pause(seconds * 1000);
  const idleCpuShare = (readCpuSeconds(pid) - before) / seconds;
  rows['stay and do nothing'] = { '% of a core': ms(idleCpuShare * 100) };
  await crowd.leave('disconnect');
  await step('again at once', 64);
  crowd.disperse();
  return rows;
}
