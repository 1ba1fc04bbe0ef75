/**
 * Eclipse Mosquitto as installed, with every limit out of the way and nothing that costs time but the messages.
 *
 * It writes every packet by itself. With its default, Nagle's algorithm, the kernel joins small writes and it moves 1.5
 * times as many messages as with TCP_NODELAY; the default is therefore the reference, and the other can be named.
 */
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, host, untilPortOpen, watch, type Broker, type RunningBroker, type StartOptions } from './broker.js';

const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'];
const program = folders.map((folder) => join(folder, 'mosquitto')).find((path) => existsSync(path));

export const mosquitto = installed({ noDelay: false });
export const mosquittoNoDelay = installed({ noDelay: true });

function installed({ noDelay }: { noDelay: boolean }): Broker {
  return {
    unavailable: () => (program === undefined ? 'mosquitto is not installed' : undefined),
    start: (options) => start(options, noDelay),
  };
}

async function start({ folder, version, unboundedQueues }: StartOptions, noDelay: boolean): Promise<RunningBroker> {
  const port = await freePort();
  const file = join(folder, 'mosquitto.conf');
  const lines = [
    `listener ${port} ${host}`,
    'allow_anonymous true',
    'persistence false',
    'max_inflight_messages 1000',
    `max_queued_messages ${unboundedQueues ? 0 : 200_000}`,
    `set_tcp_nodelay ${noDelay}`,
    'sys_interval 0',
    'log_dest none',
    'log_type none',
    // Otherwise it becomes a user of its own who may not read this file.
    ...(process.getuid?.() === 0 ? ['user root'] : []),
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child = spawn(program!, ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  const watched = watch(child);
  await untilPortOpen(port, watched.died);
  return { target: { host, port, version }, pid: child.pid!, ...watched };
}
