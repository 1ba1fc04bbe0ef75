/** Connections that do nothing: how fast they are accepted and what each costs in memory. */
import { readCpuSeconds, readMachineCpuSeconds, readRssBytes } from '../proc.js';
import type { Idle } from '../scenarios.js';
import { openAll } from './connection.js';
import type { Job, Measurement } from './job.js';

/** Connected and closed before the first reading: code that is compiled on first use is not a cost of a connection. */
const warmUpConnections = 500;
const settledCpuShare = 0.02;
const settleMs = 1000;
const settleAttempts = 15;

export async function measureIdle(scenario: Idle, { target, brokerPid, isProfiled }: Job): Promise<Measurement> {
  const first = await openAll(target, clientIds('warm', warmUpConnections));
  first.forEach((connection) => connection.close());
  await settle(brokerPid);

  if (isProfiled) process.kill(brokerPid, 'SIGUSR2');
  const rssBefore = readRssBytes(brokerPid);
  const cpuBefore = readCpuSeconds(brokerPid);
  const machineCpuBefore = readMachineCpuSeconds();
  const loadCpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  const connections = await openAll(target, clientIds('idle', scenario.connections));
  const seconds = (performance.now() - startedMs) / 1000;
  const loadCpu = process.cpuUsage(loadCpuBefore);
  if (isProfiled) process.kill(brokerPid, 'SIGUSR2');
  const machineCpuSeconds = readMachineCpuSeconds() - machineCpuBefore;
  let lost = 0;
  for (const connection of connections) connection.onLost = () => lost++;
  const brokerCpuSeconds = readCpuSeconds(brokerPid) - cpuBefore;
  await settle(brokerPid);
  const rssBytesPerConnection = (readRssBytes(brokerPid) - rssBefore) / scenario.connections;
  const messages = scenario.connections;
  const loadCpuSeconds = (loadCpu.user + loadCpu.system) / 1e6;
  connections.forEach((connection) => connection.close());
  const cpu = { brokerCpuSeconds, loadCpuSeconds, machineCpuSeconds };
  return { messages, seconds, ...cpu, sent: messages, lost, rssBytesPerConnection };
}

function clientIds(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
}

/** Until the broker has been quiet for a second: what it still writes or frees belongs to the connections before. */
async function settle(brokerPid: number): Promise<void> {
  for (let attempt = 0; attempt < settleAttempts; attempt++) {
    const before = readCpuSeconds(brokerPid);
    await new Promise((resolve) => setTimeout(resolve, settleMs));
    if (readCpuSeconds(brokerPid) - before < (settledCpuShare * settleMs) / 1000) return;
  }
}
