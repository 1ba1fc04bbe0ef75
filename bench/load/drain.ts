/**
 * A durable session comes back to a long queue: how long the queue takes, and how much of it the broker holds in memory.
 * What the broker asks of its database is counted until it has been quiet for a while, for it deletes what was
 * acknowledged after that.
 */
import { readCpuSeconds, readMachineCpuSeconds, readRssBytes } from '../proc.js';
import type { Drain } from '../scenarios.js';
import { AcknowledgingSubscriber } from './acknowledge.js';
import { Connection, openAll, type Target } from './connection.js';
import { readDatabaseUse, usedSince, type DatabaseUse } from './database.js';
import type { Job, Measurement } from './job.js';
import { newDurable } from './pairs.js';
import { PublishRing } from './packets.js';
import { WindowPublisher } from './window.js';

const clientId = 'drained';
const topic = 'bench/drain';
const sampleMs = 5;
const quietMs = 1500;
const quietAttempts = 20;
/** Messages that stop coming for so long do not come any more. */
const stalledMs = 10_000;

export async function drain(scenario: Drain, job: Job, fail: (why: string) => void): Promise<Measurement> {
  const { target, brokerPid, metricsUrl } = job;
  await fill(scenario, target, fail);
  const databaseBefore = await untilWrittenOut(metricsUrl);
  const before = { rss: readRssBytes(brokerPid), cpu: readCpuSeconds(brokerPid), machine: readMachineCpuSeconds() };
  const loadBefore = process.cpuUsage();

  if (job.isProfiled) process.kill(brokerPid, 'SIGUSR2');
  const drained = await receiveAll(scenario, target, brokerPid, fail);
  const load = process.cpuUsage(loadBefore);
  const brokerCpuSeconds = readCpuSeconds(brokerPid) - before.cpu;
  const machineCpuSeconds = readMachineCpuSeconds() - before.machine;
  if (job.isProfiled) process.kill(brokerPid, 'SIGUSR2');

  const database = usedSince(databaseBefore, await untilWrittenOut(metricsUrl));
  drained.connection.close();
  return {
    messages: drained.received,
    seconds: drained.seconds,
    brokerCpuSeconds,
    loadCpuSeconds: (load.user + load.system) / 1e6,
    machineCpuSeconds,
    sent: scenario.messages,
    lost: scenario.messages - drained.received,
    rssBytes: { before: before.rss, peak: drained.rssPeak },
    ...(database && { database }),
  };
}

async function fill(scenario: Drain, target: Target, fail: (why: string) => void): Promise<void> {
  const session = await Connection.open(target, clientId, newDurable);
  await session.subscribe(topic, 1);
  session.close();
  const names = Array.from({ length: scenario.publishers }, (_, index) => `pub-${index}`);
  const connections = await openAll(target, names);
  const ring = new PublishRing(topic, Buffer.alloc(scenario.payloadBytes, 'x'), target.version, scenario.window);
  const share = scenario.messages / scenario.publishers;
  const publishers = connections.map((connection) => {
    connection.onLost = fail;
    return new WindowPublisher(connection, ring, scenario.window, share);
  });
  publishers.forEach((publisher) => publisher.start());
  while (publishers.some(({ acked }) => acked < share)) await pause(sampleMs);
  connections.forEach((connection) => connection.close());
}

async function receiveAll(scenario: Drain, target: Target, brokerPid: number, fail: (why: string) => void) {
  let subscriber: AcknowledgingSubscriber | undefined;
  const startedMs = performance.now();
  let lastMs = startedMs;
  const connection = await Connection.open(target, clientId, { ...newDurable, resumes: true }, (opening) => {
    subscriber = new AcknowledgingSubscriber(opening);
    subscriber.onMessage = () => (lastMs = performance.now());
  });
  connection.onLost = fail;
  let rssPeak = 0;
  while (subscriber!.received < scenario.messages && performance.now() - lastMs < stalledMs) {
    rssPeak = Math.max(rssPeak, readRssBytes(brokerPid));
    await pause(sampleMs);
  }
  return { connection, rssPeak, received: subscriber!.received, seconds: (lastMs - startedMs) / 1000 };
}

/** Until nothing more is put or deleted. */
async function untilWrittenOut(metricsUrl: string | undefined): Promise<DatabaseUse | undefined> {
  for (let attempt = 0, last = -1; ; attempt++) {
    const use = await readDatabaseUse(metricsUrl);
    if (!use || use.itemWrites === last || attempt >= quietAttempts) return use;
    last = use.itemWrites;
    await pause(quietMs);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
