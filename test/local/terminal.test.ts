/**
 * `npm start` as people stop it: at a real terminal, which sends each Ctrl-C to every process in it, through the real npm,
 * which hands on what it gets. `script` (util-linux) makes the terminal.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { Endpoints } from '../../services/local/endpoints.js';
import { PacketClient } from '../support/packet-client.js';
import { until } from '../support/until.js';
import { call, endpointsIn, freePorts, isRunning, Workshop, type Shoal } from './shoal.js';

const workshop = new Workshop();
afterEach(() => workshop.clean());

const ctrlC = '\x03';

interface Terminal {
  readonly shoal: Shoal;
  readonly folder: string;
  readonly endpoints: Endpoints;
  /** Takes what it is told and stays, so that it is waited for. */
  readonly client: PacketClient;
}

async function startInTerminal(...flags: readonly string[]): Promise<Terminal> {
  const folder = workshop.folder();
  // With `exec`, since a shell that stays (dash and older ones) would get the signals, too, and hide what npm does.
  const typed = ['exec', 'npm', 'start', '--', ...freePorts, '--data', folder, ...flags].join(' ');
  const command = ['script', '--quiet', '--flush', '--return', '--command', typed, '/dev/null'];
  const shoal = await workshop.start([], {}, command).ready();
  const endpoints = endpointsIn(folder);
  return { shoal, folder, endpoints, client: await connect(endpoints) };
}

async function connect({ api, mqtt }: Endpoints): Promise<PacketClient> {
  const { body: tenant } = await call(`${api.url}/v1/tenants`, { body: { name: 'acme' } });
  const key = String(tenant['apiKey']);
  const url = `${api.url}/v1/tenants/acme/credentials`;
  const { body: credential } = await call(url, { key, body: { name: 'sensor-1' } });
  const client = await PacketClient.open(mqtt.port);
  return await client.connect({ username: String(credential['username']), password: String(credential['password']) });
}

function expectNothingLeft({ folder, endpoints }: Terminal): void {
  expect(Object.values(endpoints.pids).filter(isRunning)).toEqual([]);
  for (const file of ['endpoints.json', 'lock']) expect(existsSync(join(folder, file)), file).toBe(false);
}

async function expectDrained(terminal: Terminal): Promise<void> {
  await terminal.client.expect('disconnect', { reasonCode: 0x8b }); // server shutting down
  expect(await terminal.shoal.exited).toBe(0);
  expect(terminal.shoal.stdout).toContain('Shoal has stopped.');
  expect(terminal.shoal.stdout).not.toContain('at once');
  expectNothingLeft(terminal);
}

const onLinux = test.runIf(process.platform === 'linux');

onLinux.each([
  ['once', ctrlC],
  ['three times in one go', ctrlC + ctrlC + ctrlC],
])('Ctrl-C typed %s stops everything in order', async (_, keys) => {
  const terminal = await startInTerminal();
  terminal.shoal.type(keys);
  await expectDrained(terminal);
});

onLinux('SIGTERM to the process group, npm among it, stops everything in order', async () => {
  const terminal = await startInTerminal();
  process.kill(-groupOf(terminal.endpoints.pids.main), 'SIGTERM');
  await terminal.client.expect('disconnect', { reasonCode: 0x8b });
  await terminal.shoal.exited;
  expect(terminal.shoal.stdout).toContain('Shoal has stopped.');
  expectNothingLeft(terminal);
});

onLinux('a terminal that is closed stops everything in order', async () => {
  const terminal = await startInTerminal('--log-level', 'debug');
  terminal.shoal.process.kill('SIGKILL'); // Whoever holds the other end of the terminal.
  await terminal.client.expect('disconnect', { reasonCode: 0x8b });
  const { pids } = terminal.endpoints;
  await until(() => !Object.values(pids).some(isRunning), 'the end of all processes');
  expectNothingLeft(terminal);
});

onLinux('a second Ctrl-C, later, ends at once, says so and leaves nothing', async () => {
  const terminal = await startInTerminal();
  process.kill(terminal.endpoints.pids.broker, 'SIGSTOP'); // The stop waits for it.
  terminal.shoal.type(ctrlC);
  await until(() => terminal.shoal.stdout.includes('press Ctrl-C again to stop at once'), 'the hint');
  expect(terminal.shoal.hasExited).toBe(false);
  terminal.shoal.type(ctrlC);
  expect(await terminal.shoal.exited).toBe(130);
  expect(terminal.shoal.stdout).toContain('shoal: stopped at once');
  expect(terminal.shoal.stdout).not.toContain('Shoal has stopped.');
  expectNothingLeft(terminal);
});

/** Field 5 of /proc/<pid>/stat; the name in field 2 may hold spaces. */
function groupOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
}
