/**
 * The load process: takes one job over IPC, runs it, answers once and exits. It is started anew for each measurement, so
 * that every broker meets the same load, compiled by the same warm-up.
 */
import { readCpuSeconds, readMachineCpuSeconds } from '../proc.js';
import { readDatabaseUse, usedSince } from './database.js';
import { drain } from './drain.js';
import { flood } from './flood.js';
import { measureIdle } from './idle.js';
import type { Job, Measurement, Outcome } from './job.js';
import { offline } from './offline.js';
import { sparse } from './sparse.js';
import type { Traffic } from './traffic.js';
import { trickle } from './trickle.js';
import { windowed } from './window.js';

process.once('message', (job: Job) => {
  run(job).then((measured) => answer({ measured }), broken);
});
process.on('uncaughtException', broken);

async function run(job: Job): Promise<Measurement> {
  const { scenario, target } = job;
  switch (scenario.kind) {
    case 'flood':
      return measure(await flood(scenario, target, broken), job);
    case 'window':
      return measure(await windowed(scenario, target, broken), job);
    case 'offline':
      return measure(await offline(scenario, target, broken), job);
    case 'drain':
      return drain(scenario, job, broken);
    case 'sparse':
      return measure(await sparse(scenario, target, broken), job);
    case 'trickle':
      return measure(await trickle(scenario, target, broken), job);
    case 'idle':
      return measureIdle(scenario, job);
  }
}

async function measure(traffic: Traffic, job: Job): Promise<Measurement> {
  traffic.start();
  await pause(job.warmUpSeconds * 1000);
  if (job.isProfiled) process.kill(job.brokerPid, 'SIGUSR2');
  const databaseBefore = await readDatabaseUse(job.metricsUrl);
  const before = read(traffic, job.brokerPid);
  traffic.takeLatencies?.();
  await pause(job.seconds * 1000);
  const after = read(traffic, job.brokerPid);
  const database = usedSince(databaseBefore, await readDatabaseUse(job.metricsUrl));
  if (job.isProfiled) process.kill(job.brokerPid, 'SIGUSR2');
  const latenciesUs = traffic.takeLatencies?.();
  traffic.stop();
  await untilQuiet(traffic);
  if (after.received === before.received)
    throw new Error(`nothing arrived: ${traffic.expected - traffic.received} lost`);
  traffic.close();
  return {
    messages: after.received - before.received,
    seconds: after.seconds - before.seconds,
    brokerCpuSeconds: after.brokerCpuSeconds - before.brokerCpuSeconds,
    loadCpuSeconds: after.loadCpuSeconds - before.loadCpuSeconds,
    machineCpuSeconds: after.machineCpuSeconds - before.machineCpuSeconds,
    sent: traffic.expected,
    lost: traffic.expected - traffic.received,
    ...(latenciesUs && { latencyUs: percentiles(latenciesUs) }),
    ...(job.scenario.durable && database && { database }),
  };
}

function read(traffic: Traffic, brokerPid: number) {
  const { user, system } = process.cpuUsage();
  return {
    received: traffic.received,
    seconds: performance.now() / 1000,
    brokerCpuSeconds: readCpuSeconds(brokerPid),
    machineCpuSeconds: readMachineCpuSeconds(),
    loadCpuSeconds: (user + system) / 1e6,
  };
}

/** What a broker still holds after a flood may take a while to arrive; what has not come after that is lost. */
async function untilQuiet(traffic: Traffic): Promise<void> {
  const quietMs = 700;
  const attempts = 20;
  for (let attempt = 0, last = -1; attempt < attempts && traffic.received !== last; attempt++) {
    last = traffic.received;
    if (last === traffic.expected) return;
    await pause(quietMs);
  }
}

function percentiles(values: number[]): { p50: number; p99: number } {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

let answered = false;

function answer(outcome: Outcome): void {
  if (answered) return;
  answered = true;
  process.send!(outcome, () => process.exit(0));
}

function broken(why: unknown): void {
  answer({ failed: why instanceof Error ? why.message : String(why) });
}
