/** A real mosquitto behind the TestBroker interface: keeps the rows honest, since they were not written for one broker. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NotOffered, type TestBroker } from './broker.js';
import { answers, freePort } from './ports.js';
import { until } from './until.js';

export async function startMosquitto(): Promise<TestBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-mosquitto-'));
  const [mqttPort, wsPort] = [await freePort(), await freePort()];
  const config = [
    `listener ${mqttPort} 127.0.0.1`,
    'max_topic_alias 32',
    `listener ${wsPort} 127.0.0.1`,
    'protocol websockets',
    'allow_anonymous true',
    'max_inflight_messages 256',
    'max_queued_messages 10000',
    'log_type none',
  ];
  await writeFile(join(folder, 'mosquitto.conf'), config.join('\n') + '\n');
  const child = spawn('/usr/sbin/mosquitto', ['-c', join(folder, 'mosquitto.conf')], { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await until(() => answers(mqttPort), 'mosquitto to listen');
  const account = { username: 'row@peer', password: 'any password will do' };
  return {
    target: 'mosquitto',
    mqttPort,
    wsPort,
    account,
    credential: () => Promise.reject(new NotOffered('mosquitto runs without accounts and tenants here')),
    async close() {
      child.kill();
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}
