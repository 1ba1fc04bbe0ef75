/** `connect`: what it costs the broker that a client comes, subscribes and leaves. */
import type { RunningBroker } from '../brokers/broker.js';
import type { RunningShoal } from '../brokers/shoal.js';
import { Crowd } from './crowd.js';
import type { DevicesJob } from './devices.js';
import { kb, table, type Trial, type TrialOptions, type Use, us, used, withBroker } from './trial.js';

type Row = Readonly<Record<string, number | string>>;

/** V8 goes on compiling for some thousands of them: with 300 that was a fifth of what the first 4000 CONNECTs took. */
const warmUpDevices = 2000;

export const connect: Trial = async (options) => {
  const results: Record<string, Record<string, Row>> = {};
  for (const name of options.brokers) {
    results[name] = await withBroker(name, options, async (running) => ({
      ...(await overTcp(running, options)),
      ...('endpoints' in running ? await overTls(running as RunningShoal, options) : {}),
    }));
    table(`connect: ${options.devices} devices, ${name}`, results[name]);
  }
  return results;
};

type Plain = Pick<DevicesJob, 'port' | 'version' | 'credentials' | 'count'>;

async function overTcp(running: RunningBroker, { devices: count }: TrialOptions): Promise<Record<string, Row>> {
  const { port, credentials = { username: 'any', password: 'any' } } = running.target;
  const plain: Plain = { port, version: 5, credentials: [credentials], count };
  await warmUp(plain);
  const rows: Record<string, Row> = {};
  const step = async (what: string, run: () => Promise<unknown>): Promise<void> => {
    rows[what] = rowOf(await used(running, run), count);
  };
  const clean = await Crowd.gather({ ...plain, name: 'clean', stored: 'none' });
  await step('CONNECT, clean session', () => clean.come());
  await step('leaves, clean session', () => clean.leave('disconnect'));
  clean.disperse();
  const stored = await Crowd.gather({ ...plain, name: 'stored', stored: 'all' });
  await step('CONNECT, new stored session', () => stored.come());
  await step('SUBSCRIBE, stored session', () => stored.subscribe());
  await step('is cut off, stored session', () => stored.leave('cut'));
  await step('CONNECT, stored session comes back', () => stored.come());
  await step('all leave at once, stored session', () => stored.leave('disconnect', count));
  stored.disperse();
  return rows;
}

async function overTls(running: RunningShoal, { devices: count }: TrialOptions): Promise<Record<string, Row>> {
  const { mqtts, caFile } = running.endpoints();
  const credentials = [running.target.credentials!];
  const rows: Record<string, Row> = {};
  const base = { port: mqtts.port, caFile, version: 5 as const, credentials, count, stored: 'none' as const };
  await warmUp(base);
  const crowd = await Crowd.gather({ ...base, resumesTls: true, name: 'tls' });
  const step = async (what: string, run: () => Promise<unknown>): Promise<void> => {
    rows[what] = rowOf(await used(running, run), count);
  };
  await step('CONNECT, clean session, TLS', () => crowd.come());
  await crowd.leave('disconnect');
  await step('the same, TLS session resumed', () => crowd.come());
  crowd.disperse();
  return rows;
}

/** What is compiled when it first happens is no cost of a connection. */
async function warmUp(job: Plain): Promise<void> {
  for (const stored of ['none', 'all'] as const) {
    const crowd = await Crowd.gather({ ...job, name: `warm-${stored}`, count: warmUpDevices, stored });
    for (let round = 0; round < 2; round++) {
      await crowd.come();
      if (round === 0) await crowd.subscribe();
      await crowd.leave('disconnect');
    }
    crowd.disperse();
  }
}

function rowOf({ cpuSeconds, seconds, rssBytes, database }: Use, count: number): Row {
  return {
    'CPU us': us(cpuSeconds / count),
    '/s': Math.round(count / seconds),
    'RSS KB': kb(rssBytes / count),
    ...(database && {
      calls: Number((database.calls / count).toFixed(2)),
      'write units': Number((database.writeUnits / count).toFixed(2)),
      'read units': Number((database.readUnits / count).toFixed(2)),
    }),
  };
}
