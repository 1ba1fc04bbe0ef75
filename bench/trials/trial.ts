/** What the trials share: a broker that is started, what it has used between two moments, and tables. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseChoice, RunningBroker, ShoalOptions } from '../brokers/broker.js';
import { brokers } from '../brokers/brokers.js';
import { type RunningShoal, shoal } from '../brokers/shoal.js';
import { readDatabaseUse, usedSince, type DatabaseUse } from '../load/database.js';
import { cores } from '../measure.js';
import { pin, readCpuSeconds, readRssBytes } from '../proc.js';

/** Sizes are counts of what a trial is about. */
export interface TrialOptions {
  readonly database: DatabaseChoice;
  readonly quotas: ShoalOptions['quotas'];
  /** A checkout whose service is measured; the own one unless given. */
  readonly root?: string;
  readonly brokers: readonly string[];
  readonly seconds: number;
  readonly devices: number;
  readonly sessions: number;
  readonly tenants: number;
  readonly profileFolder?: string;
}

/** Prints as it goes. Returns what `--json` keeps. */
export type Trial = (options: TrialOptions) => Promise<unknown>;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function withShoal<T>(options: TrialOptions, run: (running: RunningShoal) => Promise<T>): Promise<T> {
  const { database, quotas, root, profileFolder } = options;
  const choices = { database, quotas, ...(root !== undefined && { root }), ...(profileFolder && { profileFolder }) };
  return withFolder('shoal', async (folder) => {
    const running = await shoal.start({ version: 5, folder, shoal: choices, unboundedQueues: true });
    const { broker, dynamodb } = running.endpoints().pids;
    if (cores) {
      pin(broker, cores.broker);
      pin(dynamodb, cores.load);
    }
    return await run(running).finally(() => running.stop());
  });
}

export async function withBroker<T>(
  name: string,
  options: TrialOptions,
  run: (running: RunningBroker) => Promise<T>,
): Promise<T> {
  if (name === 'shoal') return withShoal(options, run);
  const { database, quotas } = options;
  return withFolder(name, async (folder) => {
    const choices = { version: 5, folder, shoal: { database, quotas }, unboundedQueues: true } as const;
    const running = await brokers[name]!.start(choices);
    if (cores) pin(running.pid, cores.broker);
    return await run(running).finally(() => running.stop());
  });
}

async function withFolder<T>(name: string, run: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), `shoal-bench-${name}-`));
  try {
    return await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface Use {
  readonly cpuSeconds: number;
  readonly seconds: number;
  readonly rssBytes: number;
  readonly database: DatabaseUse | undefined;
}

const quietShare = 0.03;
const lookMs = 300;
const looksMax = 100;
const quietLooks = 2;

/** Until the broker has nothing more to do, so that all that belongs to a step is counted in it. */
export async function settled(pid: number): Promise<void> {
  for (let look = 0, quiet = 0; look < looksMax && quiet < quietLooks; look++) {
    const before = readCpuSeconds(pid);
    await pause(lookMs);
    quiet = readCpuSeconds(pid) - before <= (quietShare * lookMs) / 1000 ? quiet + 1 : 0;
  }
}

type Metered = Pick<RunningBroker, 'pid' | 'metricsUrl' | 'isProfiled'>;

/** What a broker uses for a step and for what follows from it. RSS is the growth. */
export async function used({ pid, metricsUrl, isProfiled }: Metered, step: () => Promise<unknown>): Promise<Use> {
  await settled(pid);
  const database = await readDatabaseUse(metricsUrl);
  const rssBytes = readRssBytes(pid);
  const cpuSeconds = readCpuSeconds(pid);
  if (isProfiled) process.kill(pid, 'SIGUSR2');
  const startedMs = performance.now();
  await step();
  const seconds = (performance.now() - startedMs) / 1000;
  await settled(pid);
  if (isProfiled) process.kill(pid, 'SIGUSR2');
  return {
    cpuSeconds: readCpuSeconds(pid) - cpuSeconds,
    seconds,
    rssBytes: readRssBytes(pid) - rssBytes,
    database: usedSince(database, await readDatabaseUse(metricsUrl)),
  };
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

export const us = (seconds: number): number => Math.round(seconds * 1e6);
export const kb = (bytes: number): number => Number((bytes / 1024).toFixed(1));
export const ms = (value: number): number => Number(value.toPrecision(3));

/** A row an entry. */
export function table(title: string, rows: Readonly<Record<string, Readonly<Record<string, unknown>>>>): void {
  console.log(`\n${title}`);
  console.table(rows);
}
