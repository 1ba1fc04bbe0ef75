/** A disk that says no: which kind it was, what to do about it, and that everything goes on when that is done. */
import { execFileSync, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { connectAsync } from 'mqtt';
import { until } from '../support/until.js';
import { call, endpointsIn, freePorts, Workshop } from './shoal.js';

const bundle = join(import.meta.dirname, '../../dist/dynamodb.js');
const workshop = new Workshop();
const mounted: string[] = [];
const databases: ReturnType<typeof fork>[] = [];
afterEach(async () => {
  for (const child of databases.splice(0)) child.kill('SIGKILL');
  for (const path of mounted.splice(0)) spawnSync('umount', ['-l', path]);
  await workshop.clean();
});

/** A disk of its own needs root, and a system that lets it mount. */
const mayMount = ((): boolean => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const { status } = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', '/mnt']);
  return status === 0;
})();
const withDisk = test.runIf(mayMount);
test.skipIf(mayMount)(
  'full and read-only disks are not tried: that needs root and the right to mount',
  () => undefined,
);

function smallDisk(mib: number): string {
  const path = workshop.folder();
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=700`, 'none', path]);
  mounted.push(path);
  return path;
}

/** Takes all that is left, and returns what gives it back. */
function fill(disk: string): () => void {
  const file = join(disk, 'filler');
  const free = (): number => Number(statfsSync(disk).bavail) * Number(statfsSync(disk).bsize);
  for (let i = 0; free() > 0 && i < 10; i++)
    try {
      writeFileSync(file, Buffer.alloc(free()), { flag: 'a' });
    } catch {
      // Somebody else took a part of it.
    }
  return () => rmSync(file, { force: true });
}

/** What the database says of a folder: undefined when it runs. */
async function refusal(path: string, user: { uid?: number; gid?: number } = {}): Promise<string | undefined> {
  const child = fork(bundle, [path, '0'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], ...user });
  databases.push(child);
  const [message] = (await once(child, 'message')) as [{ type: string; message?: string }];
  if (message.type === 'ready') return undefined;
  await once(child, 'exit');
  return message.message;
}

/** A database with something in it, that nobody uses. */
async function used(path: string): Promise<string> {
  expect(await refusal(path)).toBeUndefined();
  const child = databases.at(-1)!;
  child.send('stop');
  await once(child, 'exit');
  return path;
}

const filesOf = (path: string, start: string): string[] =>
  readdirSync(path)
    .filter((name) => name.startsWith(start))
    .map((name) => join(path, name));

test('a database that another process has open, and which', async () => {
  const path = join(workshop.folder(), 'db');
  expect(await refusal(path)).toBeUndefined();
  const { pid } = databases[0]!;
  const who = process.platform === 'linux' ? `another process, ${pid};` : 'another process';
  expect(await refusal(path)).toContain(`${path} cannot be used: it is in use by ${who}`);
});

test.each<[string, (path: string) => void]>([
  [
    'whose list of files is overwritten',
    (path) => filesOf(path, 'MANIFEST').forEach((file) => writeFileSync(file, 'x')),
  ],
  ['whose list of files is gone', (path) => filesOf(path, 'MANIFEST').forEach((file) => rmSync(file))],
  ['whose first file is overwritten', (path) => writeFileSync(join(path, 'CURRENT'), 'garbage\n')],
])('a database %s is damaged, and says how', async (_, damage) => {
  const path = await used(join(workshop.folder(), 'db'));
  damage(path);
  expect(await refusal(path)).toMatch(/cannot be used: it is damaged \(.+\); restore a copy .* or move it away/);
});

test('a file in place of the database', async () => {
  const path = join(workshop.folder(), 'db');
  writeFileSync(path, '');
  expect(await refusal(path)).toContain('there is a file with the name of the folder; move it away');
});

const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
/** Root may do everything, so it becomes somebody else, who has to reach the bundle. */
const other = isRoot ? { uid: nobody, gid: nobody } : {};
const reaches =
  spawnSync(process.execPath, ['-e', `require('fs').accessSync(${JSON.stringify(bundle)})`], other).status === 0;
test.runIf(reaches)('a database that this user may not write', async () => {
  const folder = workshop.folder();
  const path = await used(join(folder, 'db'));
  for (const file of filesOf(path, '')) chmodSync(file, 0o400);
  if (isRoot) for (const file of [folder, path, ...filesOf(path, '')]) chownSync(file, nobody, nobody);
  chmodSync(path, 0o500);
  expect(await refusal(path, other)).toMatch(/this user cannot read and write it; change its owner or mode.*EACCES/);
  chmodSync(path, 0o700);
});

withDisk('a database on a disk that is full, or read-only', async () => {
  const disk = smallDisk(4);
  const path = await used(join(disk, 'db'));
  const free = fill(disk);
  expect(await refusal(path)).toMatch(/cannot be used: the disk is full; free some space \(ENOSPC\)$/);
  free();
  expect(await used(path)).toBe(path);
  execFileSync('mount', ['-o', 'remount,ro', disk]);
  expect(await refusal(path)).toMatch(/cannot be used: the file system is read-only; .* \(EROFS\)$/);
});

withDisk.each<[string, (disk: string) => void, RegExp]>([
  ['full', fill, /^shoal: [^\n]*the disk is full; free some space \(ENOSPC\)\n$/],
  [
    'read-only',
    (disk) => void execFileSync('mount', ['-o', 'remount,ro', disk]),
    /^shoal: [^\n]*the file system is read-only; [^\n]* \(EROFS\)\n$/,
  ],
])('a start on a disk that is %s', async (_, spoil, words) => {
  const disk = smallDisk(1);
  const folder = join(disk, 'data');
  mkdirSync(folder);
  spoil(disk);
  const shoal = workshop.start([...freePorts, '--data', folder]);
  expect(await shoal.exited).toBe(1);
  expect(shoal.stderr).toMatch(words);
  expect(readdirSync(folder)).toEqual([]);
});

withDisk(
  'a disk that gets full is told once, loses nothing, and everything goes on when there is room',
  async () => {
    const folder = smallDisk(24);
    const shoal = await workshop.start([...freePorts, '--data', folder]).ready();
    const { api, mqtt } = endpointsIn(folder);
    const { body: tenant } = await call(`${api.url}/v1/tenants`, { body: { name: 'acme' } });
    const url = `${api.url}/v1/tenants/acme/credentials`;
    const { body } = await call(url, { key: String(tenant['apiKey']), body: { name: 'sensor-1' } });
    const login = { username: String(body['username']), password: String(body['password']) };
    const client = await connectAsync(mqtt.url, { ...login, reconnectPeriod: 0, protocolVersion: 5, keepalive: 0 });
    client.on('error', () => undefined);
    const payload = (i: number): string => `${i} ${'x'.repeat(20_000)}`;
    await client.publishAsync('state/0', payload(0), { qos: 1, retain: true });

    const free = fill(folder);
    // Until one of them finds no room: the log of the database may have some left.
    const published: Promise<unknown>[] = [];
    for (let i = 1; i <= 40; i++)
      published.push(client.publishAsync(`state/${i}`, payload(i), { qos: 1, retain: true }));
    await until(() => shoal.stderr.includes('the disk is full; free some space (ENOSPC)'), 'that the disk is full');
    free();
    await Promise.all(published);
    await until(() => shoal.stderr.includes('the database is running again'), 'that it goes on');
    expect(shoal.stderr.match(/the disk is full/g)).toHaveLength(1);
    expect(shoal.stderr).not.toContain('damaged');

    const seen = new Set<string>();
    client.on('message', (topic) => seen.add(topic));
    await client.subscribeAsync('state/#', { qos: 1 });
    await until(() => seen.size === 41, 'every message');
    await client.endAsync(true);
    expect(await shoal.stop()).toBe(0);
  },
  60_000,
);
