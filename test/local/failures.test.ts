/** Whatever keeps Shoal from starting: one line on stderr that names it, an exit code, no stack trace, nothing left. */
import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterEach, expect, test } from 'vitest';
import { freePorts, Workshop, type Shoal } from './shoal.js';

const root = join(import.meta.dirname, '../..');
const workshop = new Workshop();
afterEach(() => workshop.clean());

async function expectOneLine(shoal: Shoal, ...named: readonly string[]): Promise<void> {
  expect(await shoal.exited).toBe(1);
  expect(shoal.stdout).toBe('');
  expect(shoal.stderr).toMatch(/^shoal: [^\n]+\n$/);
  for (const name of named) expect(shoal.stderr).toContain(name);
  expect(shoal.stderr).not.toMatch(/\bat .*:\d+:\d+/);
}

test('an unknown flag', async () => {
  await expectOneLine(workshop.start(['--mqtt-prot', '1']), '--mqtt-prot');
});

test('a port that is none', async () => {
  await expectOneLine(workshop.start([], { SHOAL_WSS_PORT: '70000' }), 'SHOAL_WSS_PORT', '70000');
});

test.each(['mqtt', 'mqtts', 'ws', 'wss', 'api'])('a port in use: %s', async (listener) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const port = String((taken.address() as AddressInfo).port);
  const shoal = workshop.start([...freePorts, '--data', workshop.folder(), `--${listener}-port`, port]);
  await expectOneLine(shoal, port, `--${listener}-port`).finally(() => taken.close());
});

test('a host that is not of this machine', async () => {
  const shoal = workshop.start([...freePorts, '--data', workshop.folder(), '--host', '192.0.2.1']);
  await expectOneLine(shoal, '--host', '192.0.2.1');
});

test('a data folder that is a file', async () => {
  const file = join(workshop.folder(), 'file');
  writeFileSync(file, '');
  await expectOneLine(workshop.start([...freePorts, '--data', file]), '--data', file);
});

test('a data folder below a file', async () => {
  const file = join(workshop.folder(), 'file');
  writeFileSync(file, '');
  await expectOneLine(workshop.start([...freePorts, '--data', join(file, 'inside')]), '--data', join(file, 'inside'));
});

// Root may read and write everything, so permissions stop only other users.
test.runIf(process.getuid?.() !== 0)('a data folder without permission', async () => {
  const folder = join(workshop.folder(), 'closed');
  mkdirSync(folder);
  chmodSync(folder, 0o000);
  await expectOneLine(workshop.start([...freePorts, '--data', folder]), '--data', folder);
});

test('a folder where a certificate should be', async () => {
  const folder = workshop.folder();
  mkdirSync(join(folder, 'certificates', 'ca.crt'), { recursive: true });
  await expectOneLine(workshop.start([...freePorts, '--data', folder]), join(folder, 'certificates'));
});

test('a file where the tables should be', async () => {
  const folder = workshop.folder();
  writeFileSync(join(folder, 'dynamodb'), '');
  await expectOneLine(workshop.start([...freePorts, '--data', folder]), join(folder, 'dynamodb'));
});

test('tables of something else in the data folder', async () => {
  const folder = workshop.folder();
  await otherTable(join(folder, 'dynamodb'), 'shoal-routes');
  const shoal = workshop.start([...freePorts, '--data', folder]);
  expect(await shoal.exited).toBe(1);
  expect(shoal.stdout).toBe('');
  expect(shoal.stderr).toBe(
    'broker: DynamoDB DescribeTable on table shoal-routes shows keys other than pk (S), sk (S); create it again\n',
  );
});

/** A table whose keys are not ours, in a database of its own. */
async function otherTable(path: string, name: string): Promise<void> {
  const database = fork(join(root, 'dist/dynamodb.js'), [path, '0'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ port }] = (await once(database, 'message')) as [{ port: number }];
  const client = new DynamoDBClient({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'local',
    credentials: { accessKeyId: 'embedded', secretAccessKey: 'embedded' },
  });
  await client.send(
    new CreateTableCommand({
      TableName: name,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
      KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
    }),
  );
  client.destroy();
  database.send('stop');
  await once(database, 'exit');
}

test('a data folder in use by a running instance', async () => {
  const folder = workshop.folder();
  const first = await workshop.start([...freePorts, '--data', folder]).ready();
  await expectOneLine(workshop.start([...freePorts, '--data', folder]), '--data', folder, String(first.pid));
  expect(first.hasExited).toBe(false);
});

test('packages that are not installed', () => {
  const folder = workshop.folder();
  mkdirSync(join(folder, 'services/local'), { recursive: true });
  copyFileSync(join(root, 'services/local/start.mjs'), join(folder, 'services/local/start.mjs'));
  const { status, stderr } = spawnSync(process.execPath, [join(folder, 'services/local/start.mjs')], {
    encoding: 'utf8',
  });
  expect(status).toBe(1);
  expect(stderr).toBe('shoal: the packages are not installed: run `npm ci` first\n');
});

test('a Node.js that is too old', () => {
  const older = `data:text/javascript,Object.defineProperty(process, 'versions', { value: { node: '18.20.8' } })`;
  const args = ['--import', older, join(root, 'services/local/start.mjs')];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^shoal: Node\.js 18\.20\.8 is too old: version 22 or newer is needed\n$/);
});

test('--help is no failure', async () => {
  const shoal = workshop.start(['--help']);
  expect(await shoal.exited).toBe(0);
  expect(shoal.stdout).toContain('--mqtts-port');
  expect(shoal.stderr).toBe('');
});
