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

export const restart: Trial = async (options) => {
  const result = await withShoal(options, (running) => measured(running, options));
  const { sessions } = options;
  table(`restart: killed with ${sessions} stored sessions of one subscription each`, { [sessions]: result });
  return result;
};

async function measured(running: RunningShoal, { sessions }: TrialOptions) {
  const { target, pid, metricsUrl } = running;
  const credentials = [target.credentials!];
  const crowd = await Crowd.gather({
    port: target.port,
    version: 5,
    credentials,
    name: 'away',
    count: sessions,
    stored: 'all',
  });
  const away = await used(running, async () => {
    await crowd.come();
    await crowd.subscribe();
    await crowd.leave('disconnect');
  });
  crowd.disperse();

  process.kill(pid, 'SIGKILL');
  const killedMs = performance.now();
  const since = (): number => performance.now() - killedMs;
  const next = await untilReplaced(running, pid);
  await untilAccepts(target.port);
  const acceptsMs = since();
  const device = await untilIn(running, 'away-0');
  const connackMs = since();
  await published(device);
  const pubackMs = since();
  await settled(next);
  const use = (await readDatabaseUse(metricsUrl))!;
  const cpuSeconds = readCpuSeconds(next);
  const rssBytes = readRssBytes(next);
  device.close();
  return {
    'accepts s': ms(acceptsMs / 1000),
    'CONNACK s': ms(connackMs / 1000),
    'PUBACK s': ms(pubackMs / 1000),
    'calls a session': ms(use.calls / sessions),
    'write units a session': ms(use.writeUnits / sessions),
    'read units a session': ms(use.readUnits / sessions),
    'CPU us a session': us(cpuSeconds / sessions),
    'CPU s in all': ms(cpuSeconds),
    'RSS MB': Math.round(rssBytes / 1e6),
    'KB a session that left': kb(away.rssBytes / sessions),
  };
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
  const session = { sessionExpirySeconds: 3600, resumes: true };
  for (const deadlineMs = performance.now() + patienceMs; ; await pause(lookMs)) {
    try {
      return await Connection.open(target, clientId, session);
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
  }
}

/** A message to another session of the tenant, until its PUBACK. */
function published(device: Connection): Promise<void> {
  return new Promise((resolve, reject) => {
    device.onLost = (why) => reject(new Error(why));
    device.onFrame = (bytes, body, end, type) => {
      if (type !== 4) return;
      const code = end > body + 2 ? bytes[body + 2]! : 0;
      if (code === 0) resolve();
      else reject(new Error(`PUBACK with code ${code}`));
    };
    device.socket.write(publishPacket(filterOf(1), Buffer.from('hello'), 5, 1));
  });
}
