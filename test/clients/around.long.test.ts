/**
 * Programs that have MQTT as one of many things, and proxies in front of Shoal: as a user configures them. The second and
 * third table of docs/clients.md.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Credential } from '../support/broker.js';
import { answers, freePort } from '../support/ports.js';
import { Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';
import { debianRelease, npmRelease, programFolder } from './catalogue.js';
import { settle } from './document.js';
import { Peer } from './peer.js';
import { code, decoder, Radio } from './radio.js';

const children: ChildProcess[] = [];
const folders: string[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Runs it in a folder with these files; fails with what it has printed when `condition` does not come true. */
async function run(
  command: (folder: string) => readonly string[],
  files: Readonly<Record<string, string>>,
  condition: () => unknown,
  env: Readonly<Record<string, string>> = {},
): Promise<ChildProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-client-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(folder, name), `${text.replaceAll('FOLDER', folder)}\n`, { mode: 0o600 });
  const [program = '', ...args] = command(folder);
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += String(data)));
  child.on('error', (error) => (output += error.message));
  await until(condition, program).catch((error: unknown) => {
    throw new Error(`${program} printed: ${output}`, { cause: error });
  });
  return child;
}

const shown = new Map<string, readonly string[]>();

const programs = {
  collectd: debianRelease('collectd-core'),
  rtl_433: debianRelease('rtl-433'),
  'sparkplug-client': npmRelease('sparkplug-client'),
  zigbee2mqtt: npmRelease('zigbee2mqtt'),
};
const proxies = {
  HAProxy: debianRelease('haproxy'),
  'nginx (stream)': debianRelease('libnginx-mod-stream'),
  stunnel: debianRelease('stunnel4'),
};

test.runIf(process.env['CI'])('everything is installed (test/clients/install.sh)', () => {
  expect(Object.entries({ ...programs, ...proxies }).filter(([, release]) => release === undefined)).toEqual([]);
});

describe('programs', () => {
  let stack: Stack;
  let account: Credential;
  let peer: Peer;
  beforeAll(async () => {
    stack = await Stack.start();
    account = await (await stack.tenant()).account();
    peer = await Peer.connect(stack.endpoints, account, 'peer');
  }, 60_000);
  afterAll(async () => {
    await peer?.close();
    await stack?.close();
  });

  test.skipIf(programs.collectd === undefined)('collectd publishes through TLS', async () => {
    const { endpoints } = stack;
    const heard = await peer.listen('collectd/#');
    const configuration = `
Hostname "machine"
Interval 1
BaseDir "FOLDER"
PIDFile "FOLDER/pid"
LoadPlugin uptime
LoadPlugin mqtt
<Plugin mqtt>
  <Publish "shoal">
    Host "${endpoints.host}"
    Port "${endpoints.mqtts.port}"
    ClientId "collectd"
    User "${account.username}"
    Password "${account.password}"
    CACert "${endpoints.caFile}"
    QoS 1
    Retain true
    Prefix "collectd"
  </Publish>
</Plugin>`;
    const command = (folder: string) => ['/usr/sbin/collectd', '-f', '-C', join(folder, 'collectd.conf')];
    await run(command, { 'collectd.conf': configuration }, () => heard.length > 0);
    expect(heard[0]).toMatch(/^1 0 collectd\/machine\/uptime\/uptime \d/);
    shown.set('collectd', ['3.1.1', 'TLS', 'values, QoS 1, retained']);
  });

  test.skipIf(programs.rtl_433 === undefined)('rtl_433 publishes what it receives', async () => {
    const { host, mqtt } = stack.endpoints;
    const heard = await peer.listen('radio/events');
    const radio = await Radio.start();
    const url = `mqtt://${host}:${mqtt.port},user=${account.username},pass=${account.password},events=radio/events`;
    const command = () => [
      ...['rtl_433', '-c', '0', '-d', `rtl_tcp:127.0.0.1:${radio.port}`],
      ...['-R', '0', '-X', decoder, '-F', url],
    ];
    await run(command, {}, () => heard.some((line) => line.includes(code))).finally(() => radio.close());
    expect(heard[0]).toContain('"model":"button"');
    shown.set('rtl_433', ['3.1.1', 'TCP', 'a signal that it is made to receive']);
  });

  test.skipIf(programs['sparkplug-client'] === undefined)('a Sparkplug node is born, and dies', async () => {
    const { endpoints } = stack;
    const heard = await peer.listen('spBv1.0/#');
    const topics = (): string[] => heard.map((line) => line.split(' ')[2] ?? '');
    const env = {
      CLIENT_URL: endpoints.mqtts.url,
      CLIENT_CA_FILE: endpoints.caFile,
      CLIENT_USERNAME: account.username,
      CLIENT_PASSWORD: account.password,
      CLIENT_ID: 'press',
    };
    const command = () => [process.execPath, join(programFolder, 'sparkplug.mjs')];
    const node = await run(command, {}, () => topics().includes('spBv1.0/plant/NBIRTH/press'), env);
    node.kill('SIGKILL');
    await until(() => topics().includes('spBv1.0/plant/NDEATH/press'), 'the death');
    shown.set('sparkplug-client', ['3.1.1', 'TLS', 'NBIRTH, and NDEATH as the will']);
  });

  test.skipIf(programs.zigbee2mqtt === undefined)("zigbee2mqtt's MQTT part is on and off, and commanded", async () => {
    const { endpoints } = stack;
    const states = await peer.listen('zigbee2mqtt/bridge/state');
    const answers = await peer.listen('zigbee2mqtt/heard');
    const configuration = `
version: 5
mqtt:
  server: ${endpoints.mqtts.url}
  ca: ${endpoints.caFile}
  user: ${account.username}
  password: ${account.password}
advanced:
  log_output: [console]`;
    const command = (folder: string) => [
      ...['/usr/bin/env', `ZIGBEE2MQTT_DATA=${folder}`],
      ...[process.execPath, join(programFolder, 'zigbee2mqtt.mjs')],
    ];
    const online = '1 0 zigbee2mqtt/bridge/state {"state":"online"}';
    const program = await run(command, { 'configuration.yaml': configuration }, () => states.includes(online));
    // Whoever comes later gets it as retained.
    const late = await peer.listen('zigbee2mqtt/bridge/+');
    await until(() => late.includes('1 1 zigbee2mqtt/bridge/state {"state":"online"}'), 'the retained state');
    await until(() => late.some((line) => / zigbee2mqtt\/bridge\/info /.test(line)), 'that it has subscribed');
    await peer.publish('zigbee2mqtt/lamp/set', '{"state":"ON"}', 1);
    await until(() => answers.includes('0 0 zigbee2mqtt/heard zigbee2mqtt/lamp/set {"state":"ON"}'), 'the command');
    program.kill('SIGKILL');
    await until(() => states.includes('1 0 zigbee2mqtt/bridge/state {"state":"offline"}'), 'the will');
    shown.set('zigbee2mqtt', ['3.1.1', 'TLS', 'its MQTT part: state, will, a command; no radio']);
  });

  test('docs/clients.md has what has run', async () => {
    const rows = Object.entries(programs).map(([name, release]) => {
      const cells = shown.get(name);
      return { name, cells: cells && [release ?? '', ...cells] };
    });
    await settle({ block: 'programs', head: ['program', 'tried', 'MQTT', 'over', 'what was tried'], rows });
  });
});

describe('proxies', () => {
  let stack: Stack;
  let tenant: TestTenant;
  let account: Credential;
  beforeAll(async () => {
    stack = await Stack.start(['--trust-proxy', '127.0.0.1/32']);
    tenant = await stack.tenant();
    account = await tenant.account();
  }, 60_000);
  afterAll(() => stack?.close());

  const certificates = (): Record<'server.crt' | 'server.key' | 'server.pem', string> => {
    const read = (name: string) => readFileSync(join(stack.endpoints.dataDir, 'certificates', name), 'utf8');
    const [crt, key] = [read('server.crt'), read('server.key')];
    return { 'server.crt': crt, 'server.key': key, 'server.pem': `${crt}\n${key}` };
  };

  const configurations: Record<
    keyof typeof proxies,
    { header: string; text: (port: number) => string; command: (folder: string) => readonly string[] }
  > = {
    HAProxy: {
      header: 'PROXY v2',
      text: (port) => `
defaults
  mode tcp
  timeout connect 5s
  timeout client 350s
  timeout server 350s
frontend mqtts
  bind 127.0.0.1:${port} ssl crt FOLDER/server.pem
  default_backend shoal
backend shoal
  server shoal 127.0.0.1:${stack.endpoints.mqtt.port} send-proxy-v2`,
      command: (folder) => ['/usr/sbin/haproxy', '-db', '-f', join(folder, 'configuration')],
    },
    'nginx (stream)': {
      header: 'PROXY v1',
      text: (port) => `
load_module modules/ngx_stream_module.so;
daemon off;
user root;
pid FOLDER/pid;
error_log stderr;
events {}
stream {
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate FOLDER/server.crt;
    ssl_certificate_key FOLDER/server.key;
    proxy_pass 127.0.0.1:${stack.endpoints.mqtt.port};
    proxy_protocol on;
    proxy_timeout 350s;
  }
}`,
      command: (folder) => ['/usr/sbin/nginx', '-p', '/usr/share/nginx', '-c', join(folder, 'configuration')],
    },
    stunnel: {
      header: 'PROXY v1',
      text: (port) => `
foreground = yes
pid =
cert = FOLDER/server.pem
[mqtts]
accept = 127.0.0.1:${port}
connect = 127.0.0.1:${stack.endpoints.mqtt.port}
protocol = proxy`,
      command: (folder) => ['/usr/bin/stunnel4', join(folder, 'configuration')],
    },
  };

  const names = Object.keys(proxies) as (keyof typeof proxies)[];
  test.for(names)('%s', async (name, { skip }) => {
    skip(proxies[name] === undefined, 'not installed here (test/clients/install.sh)');
    const { header, text, command } = configurations[name];
    const port = await freePort();
    await run(command, { configuration: text(port), ...certificates() }, () => answers(port));
    const ca = readFileSync(stack.endpoints.caFile);
    const address = '127.0.0.7';
    const clientId = `behind-${header}-${port}`;
    const client = await connectAsync(`mqtts://127.0.0.1:${port}`, {
      ...account,
      ca,
      clientId,
      localAddress: address,
    } as object);
    const heard: string[] = [];
    client.on('message', (_, payload) => heard.push(payload.toString()));
    await client.subscribeAsync('behind/proxy', { qos: 1 });
    await client.publishAsync('behind/proxy', name, { qos: 1 });
    await until(() => heard.includes(name), 'the message');
    // Another address than the proxy's own: it is in the header.
    const { items } = (await tenant.api('/sessions')) as { items: { clientId: string; address: string }[] };
    expect(items.find((item) => item.clientId === clientId)?.address).toContain(address);
    await client.endAsync();
    shown.set(name, [header, "TLS, and the client's address"]);
  });

  test('docs/clients.md has what has run', async () => {
    const rows = Object.entries(proxies).map(([name, release]) => {
      const cells = shown.get(name);
      return { name, cells: cells && [release ?? '', ...cells] };
    });
    await settle({ block: 'proxies', head: ['proxy', 'tried', 'header', 'what was tried'], rows });
  });
});
