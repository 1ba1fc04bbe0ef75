/** The embedded DynamoDB as its own process: what it acknowledged is there after a kill, and it ends when it should. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTables, Dynamo } from '../../services/dynamo/dynamo.js';

const bundle = join(import.meta.dirname, '../../dist/dynamodb.js');
let folder: string;
let running: ChildProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-dynamodb-'));
  running = [];
});
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

interface Started {
  readonly child: ChildProcess;
  readonly port: number;
  readonly dynamo: Dynamo;
}

async function start(path: string): Promise<Started> {
  const child = fork(bundle, [path, '0'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  running.push(child);
  const [message] = (await once(child, 'message')) as [{ type: string; port: number; message?: string }];
  if (message.type !== 'ready') throw new Error(message.message);
  const dynamo = new Dynamo({ endpoint: `http://127.0.0.1:${message.port}`, region: 'local', tablePrefix: 't-' });
  return { child, port: message.port, dynamo };
}

const gone = (child: ChildProcess): Promise<unknown> =>
  child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : once(child, 'exit');

test('what was acknowledged is there after SIGKILL', async () => {
  const first = await start(join(folder, 'db'));
  await createTables(first.dynamo);
  const keys = Array.from({ length: 200 }, (_, i) => ({ pk: `t${i % 7}`, sk: `item#${String(i).padStart(4, '0')}` }));
  await Promise.all(keys.map((key) => first.dynamo.put('tenants', { ...key, text: 'x'.repeat(500) })));
  first.child.kill('SIGKILL');
  await gone(first.child);
  first.dynamo.close();

  const second = await start(join(folder, 'db'));
  await second.dynamo.check();
  const found = await Promise.all(keys.map((key) => second.dynamo.get('tenants', key)));
  expect(found.map((item) => item?.['text'])).toEqual(keys.map(() => 'x'.repeat(500)));
  second.dynamo.close();
});

test('a second process on the same folder fails and says so', async () => {
  await start(join(folder, 'db'));
  await expect(start(join(folder, 'db'))).rejects.toThrow(`${join(folder, 'db')} cannot be used`);
});

test('a client that goes away in the middle of a request does no harm', async () => {
  const { port, dynamo, child } = await start('');
  await createTables(dynamo);
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"half":');
  await dynamo.check(); // the half request was read before this one was answered
  socket.resetAndDestroy();
  await once(socket, 'close');
  await dynamo.check();
  expect(child.exitCode).toBeNull();
  dynamo.close();
});

test('signals of a process group pass it by; a message from its parent stops it', async () => {
  const { child, dynamo } = await start('');
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) child.kill(signal);
  await createTables(dynamo);
  child.send('stop');
  await gone(child);
  expect(child.exitCode).toBe(0);
  dynamo.close();
});

test('it ends when its parent is gone, but not before its clients are', async () => {
  const { child, dynamo } = await start('');
  child.disconnect();
  await createTables(dynamo); // a client may still write, and its connection stays open
  await dynamo.check();
  expect(child.exitCode).toBeNull();
  dynamo.close();
  await gone(child);
  expect(child.exitCode).toBe(0);
});
