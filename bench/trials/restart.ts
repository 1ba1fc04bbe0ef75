/**
 * `restart`: a broker is killed while a tenant has stored sessions, all of them away. How long its clients are shut out,
 * and what letting them in again costs.
 */
import { existsSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import type { RunningShoal } from '../brokers/shoal.js';
import { Connection } from '../load/connection.js';
import { readDatabaseUse } from '../load/database.js';
import { publishPacket } from '../load/packets.js';
import { cores } from '../measure.js';
import { pin, readCpuSeconds, readRssBytes } from '../proc.js';
import { Crowd } from './crowd.js';
import { filterOf } from './devices.js';
import { kb, ms, pause, settled, table, type Trial, type TrialOptions, us, used, withShoal } from './trial.js';

const patienceMs = 15 * 60_000;
const lookMs = 5;
/** Of stored filters, to which something is published as soon as one is in. */
const probes = 100;
/** Processes of devices. */
const visitors = 2;
const deliveryMs = 10_000;
const stored = { sessionExpirySeconds: 3600, resumes: true };

export const restart: Trial = async (options) => {
  const result = await withShoal(options, (running) => measured(running, options));
  const { sessions } = options;
  table(`restart: killed with ${sessions} stored sessions of one subscription each`, { [sessions]: result });
  return result;
};

async function measured(running: RunningShoal, { sessions }: TrialOptions) {
  const { target, pid, metricsUrl, isProfiled } = running;
  const credentials = [target.credentials!];
  const job = { port: target.port, version: 5, credentials, name: 'away', count: sessions, stored: 'all' } as const;
  const crowd = await Crowd.gather(job, Math.ceil(sessions / visitors));
  const away = await used({ ...running, isProfiled: false }, () => crowd.visit());
  crowd.disperse();

  process.kill(pid, 'SIGKILL');
  const killedMs = performance.now();
  const since = (): number => performance.now() - killedMs;
  const next = await untilReplaced(running, pid);
  await untilAccepts(target.port);
  // It listens as soon as it has the lease.
  const acceptsMs = since();
  const startSeconds = readCpuSeconds(next);
  if (isProfiled) process.kill(next, 'SIGUSR2');
  const device = await untilIn(running, 'away-0');
  const connackMs = since();
  const connackSeconds = readCpuSeconds(next);
  const probed = probesOf(sessions);
  await published(device, probed);
  const pubackMs = since();
  const pubackSeconds = readCpuSeconds(next);
  await settled(next);
  if (isProfiled) process.kill(next, 'SIGUSR2');
  const use = (await readDatabaseUse(metricsUrl))!;
  const cpuSeconds = readCpuSeconds(next);
  const rssBytes = readRssBytes(next);
  for (const index of probed) await delivered(running, index);
  device.close();
  return {
    'accepts s': ms(acceptsMs / 1000),
    'from then: CONNACK s': ms((connackMs - acceptsMs) / 1000),
    'PUBACK s': ms((pubackMs - acceptsMs) / 1000),
    'CPU s: start': ms(startSeconds),
    'to CONNACK': ms(connackSeconds - startSeconds),
    'to PUBACK': ms(pubackSeconds - startSeconds),
    'in all': ms(cpuSeconds - startSeconds),
    'us a session': us((cpuSeconds - startSeconds) / sessions),
    'calls a session': ms(use.calls / sessions),
    'write units a session': ms(use.writeUnits / sessions),
    'read units a session': ms(use.readUnits / sessions),
    'RSS MB': Math.round(rssBytes / 1e6),
    'KB a session that left': kb(away.rssBytes / sessions),
    'messages that came': probed.length,
  };
}

/** Spread over all, always the same ones, and without the one that publishes. */
function probesOf(sessions: number): readonly number[] {
  const count = Math.min(probes, sessions - 1);
  return Array.from({ length: count }, (_, i) => 1 + Math.floor((i * (sessions - 1)) / count));
}

/** The process that the service has started instead. */
async function untilReplaced(running: RunningShoal, before: number): Promise<number> {
  for (const deadlineMs = performance.now() + patienceMs; performance.now() < deadlineMs; await pause(lookMs)) {
    const { broker } = running.endpoints().pids;
    if (broker === before || broker === 0 || !existsSync(`/proc/${broker}`)) continue;
    if (cores) pin(broker, cores.broker);
    return broker;
  }
  throw new Error('no broker was started instead of the one that was killed');
}

async function untilAccepts(port: number): Promise<void> {
  for (const deadlineMs = performance.now() + patienceMs; performance.now() < deadlineMs; await pause(lookMs)) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connectTcp({ host: '127.0.0.1', port }, () => (socket.destroy(), resolve(true)));
      socket.on('error', () => resolve(false));
    });
    if (isOpen) return;
  }
  throw new Error('nobody listens');
}

async function untilIn({ target }: RunningShoal, clientId: string): Promise<Connection> {
  for (const deadlineMs = performance.now() + patienceMs; ; await pause(lookMs)) {
    try {
      return await Connection.open(target, clientId, stored);
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
  }
}

/** A message to each of these sessions, until its PUBACK. */
async function published(device: Connection, indices: readonly number[]): Promise<void> {
  const acknowledged = new Promise<void>((resolve, reject) => {
    let left = indices.length;
    device.onLost = (why) => reject(new Error(why));
    device.onFrame = (bytes, body, end, type) => {
      if (type !== 4) return;
      const code = end > body + 2 ? bytes[body + 2]! : 0;
      if (code !== 0) reject(new Error(`PUBACK with code ${code}`));
      if (--left === 0) resolve();
    };
  });
  indices.forEach((index, i) => device.socket.write(publishPacket(filterOf(index), payloadOf(index), 5, i + 1)));
  await acknowledged;
}

const payloadOf = (index: number): Buffer => Buffer.from(`to ${index}`);

/** The client of the session comes back, and gets what was published to it. */
async function delivered({ target }: RunningShoal, index: number): Promise<void> {
  let connection: Connection | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`nothing was delivered to away-${index}`)), deliveryMs);
      const prepare = (opened: Connection): void => {
        opened.onFrame = (bytes, _body, end, type) => {
          if (type !== 3) return;
          const payload = payloadOf(index);
          if (!payload.equals(bytes.subarray(end - payload.length, end)))
            reject(new Error(`something else was delivered to away-${index}`));
          clearTimeout(late);
          resolve();
        };
      };
      Connection.open(target, `away-${index}`, stored, prepare).then((opened) => (connection = opened), reject);
    });
  } finally {
    connection?.close();
  }
}
