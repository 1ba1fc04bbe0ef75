/**
 * Who does not get in reads why: each listener, and each thing that may come to it instead of what it serves. One line of
 * the log, one count, and over HTTP an answer that says the same. docs/metrics.md shows the table to operators.
 */
import { readFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { refusals } from '../../../services/broker/transport/proxied.js';
import { bytes, connectBytes } from '../../support/packet-bytes.js';
import { proxied, proxiedText } from '../../support/proxy-header.js';
import { until } from '../../support/until.js';
import { Door, hasTls, hello, type Listener, listeners } from './peer.js';
import { testTls, type Tls } from './test-tls.js';

let tls: Tls;
beforeAll(async () => void ({ ecdsa: tls } = await testTls()));

let door: Door;
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  door.transport.stop();
});

/** Through TLS, if the listener has it. */
async function visit(through: boolean): Promise<{ socket: Socket; answer: () => string; isOver: () => boolean }> {
  const to = { port: door.port, host: '127.0.0.1', rejectUnauthorized: false };
  const isSecure = through && hasTls(door.kind);
  const socket = isSecure ? connectTls(to) : connectSocket(to);
  sockets.push(socket);
  let [answer, isOver] = ['', false];
  socket.on('data', (data: Buffer) => (answer += data.toString('latin1')));
  socket.on('error', () => undefined).on('close', () => (isOver = true));
  await new Promise<void>((resolve) => socket.once(isSecure ? 'secureConnect' : 'connect', resolve));
  return { socket, answer: () => answer, isOver: () => isOver };
}

const account = { clientId: 'c', username: 'device@acme', password: 'correct horse', version: 4 as const };
const mqtt = connectBytes(account);
const request = (line: string, ...headers: string[]): Buffer =>
  Buffer.from([`${line} HTTP/1.1`, 'Host: x', ...headers, '', ''].join('\r\n'));
const upgrade = (path: string, ...headers: string[]): Buffer =>
  request(
    `GET ${path}`,
    ...['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='],
    ...(headers.some((line) => line.startsWith('Sec-WebSocket-Version')) ? [] : ['Sec-WebSocket-Version: 13']),
    ...headers,
  );
const offering = (names: string): string => `Sec-WebSocket-Protocol: ${names}`;
/** A CONNECT of any name and level, with nothing behind them. */
const named = (name: string, level: number): Buffer =>
  bytes.packet('connect', 0, bytes.utf8(name), bytes.u8(level), bytes.u8(2), bytes.u16(0), bytes.utf8('c'));

const closed = 'shoal_connections_closed_total';
const handshake = 'shoal_tls_failures_total';
const upgrades = 'shoal_upgrades_refused_total';
const plain: readonly Listener[] = ['mqtt'];
const http: readonly Listener[] = ['ws', 'wss'];
const secure: readonly Listener[] = ['mqtts', 'wss'];

interface Row {
  readonly at: readonly Listener[];
  readonly what: string;
  /** Before TLS, where the listener has it; behind it otherwise. */
  readonly isBare?: boolean;
  readonly bytes: Buffer;
  readonly reason: string;
  readonly counter: string;
  /** Of the line's `detail`, and of the answer where there is one. */
  readonly words: string;
  readonly answer?: string;
}

const rows: readonly Row[] = [
  {
    at: plain,
    what: 'TLS',
    bytes: hello,
    reason: 'tls-on-plain-port',
    counter: closed,
    words: 'a TLS handshake on a port without TLS',
  },
  ...['GET / HTTP/1.1\r\n', 'POST /mqtt HTTP/1.1\r\n', 'PRI * HTTP/2.0\r\n'].map((line) => ({
    at: ['mqtt', 'mqtts'] as const,
    what: 'HTTP',
    bytes: Buffer.from(line),
    reason: 'http-on-mqtt-port',
    counter: closed,
    words: 'an HTTP request on an MQTT port',
  })),
  ...[proxied('203.0.113.7', 1), proxiedText('203.0.113.7', 1)].flatMap((header) => [
    {
      at: plain,
      what: 'a PROXY header',
      bytes: header,
      reason: 'unexpected-proxy-header',
      counter: closed,
      words: '--trust-proxy (SHOAL_TRUST_PROXY)',
    },
    {
      at: secure,
      what: 'a PROXY header',
      isBare: true,
      bytes: Buffer.concat([header, hello]),
      reason: 'unexpected-proxy-header',
      counter: handshake,
      words: '--trust-proxy (SHOAL_TRUST_PROXY)',
    },
    {
      at: ['ws'] as const,
      what: 'a PROXY header',
      bytes: Buffer.concat([header, upgrade('/mqtt', offering('mqtt'))]),
      reason: 'unexpected-proxy-header',
      counter: upgrades,
      words: '--trust-proxy (SHOAL_TRUST_PROXY)',
      answer: '400',
    },
  ]),
  {
    at: ['mqtt', 'mqtts'],
    what: 'neither MQTT nor any of these',
    bytes: Buffer.from('SSH-2.0-OpenSSH\r\n'),
    reason: 'not-mqtt',
    counter: closed,
    words: 'the first packet was not CONNECT',
  },
  {
    at: ['mqtt', 'mqtts'],
    what: 'another protocol name',
    bytes: named('AMQP"\n', 4),
    reason: 'not-mqtt',
    counter: closed,
    words: 'protocol name "AMQP\\"\\n" with level 4 is not MQTT',
  },
  ...(
    [
      ['MQTT', 3],
      ['MQIsdp', 4],
      ['MQTT', 6],
      ['MQTT', 0x83],
    ] as const
  ).map(([name, level]) => ({
    at: ['mqtt', 'mqtts'] as const,
    what: 'a level that is not served',
    bytes: named(name, level),
    reason: 'unsupported-protocol-version',
    counter: closed,
    words: `protocol name "${name}" with level ${level}: served are "MQIsdp" with 3`,
  })),
  {
    at: ['mqtt', 'mqtts'],
    what: 'CONNECT without a user name',
    bytes: connectBytes({ ...account, username: undefined, password: undefined }),
    reason: 'bad-user-name-or-password',
    counter: closed,
    words: 'no user name: sign in as name@tenant',
  },
  {
    at: ['mqtt', 'mqtts'],
    what: 'CONNECT without a password',
    bytes: connectBytes({ ...account, password: undefined }),
    reason: 'bad-user-name-or-password',
    counter: closed,
    words: 'no password: sign in as name@tenant',
  },
  {
    at: ['mqtt', 'mqtts'],
    what: 'a user name without a tenant',
    bytes: connectBytes({ ...account, username: 'device' }),
    reason: 'bad-user-name-or-password',
    counter: closed,
    words: 'wrong user name (name@tenant) or password',
  },
  {
    at: ['mqtt', 'mqtts'],
    what: 'CONNECT with more than 1000 properties',
    bytes: connectBytes({
      ...account,
      version: 5,
      properties: { userProperties: Array.from({ length: 1001 }, () => ['', ''] as [string, string]) },
    }),
    reason: 'too-many-properties',
    counter: closed,
    words: 'more than 1000 properties in one packet',
  },
  {
    at: secure,
    what: 'MQTT without TLS',
    isBare: true,
    bytes: mqtt,
    reason: 'mqtt-on-tls-port',
    counter: handshake,
    words: 'MQTT without TLS on a port for TLS',
  },
  {
    at: secure,
    what: 'HTTP without TLS',
    isBare: true,
    bytes: upgrade('/mqtt', offering('mqtt')),
    reason: 'http-on-tls-port',
    counter: handshake,
    words: 'an HTTP request without TLS on a port for TLS',
  },
  {
    at: secure,
    what: 'any other failure of the handshake',
    isBare: true,
    bytes: Buffer.from('SSH-2.0-OpenSSH\r\n'),
    reason: 'handshake-failed',
    counter: handshake,
    words: 'ERR_SSL_',
  },
  {
    at: http,
    what: 'MQTT without WebSocket',
    bytes: mqtt,
    reason: 'mqtt-on-websocket-port',
    counter: upgrades,
    words: 'MQTT without WebSocket on a port for WebSocket',
    answer: '400',
  },
  {
    at: ['ws'],
    what: 'TLS',
    bytes: hello,
    reason: 'tls-on-plain-port',
    counter: upgrades,
    words: 'a TLS handshake on a port without TLS',
    answer: '400',
  },
  {
    at: http,
    what: 'a request without an upgrade',
    bytes: request('GET /mqtt'),
    reason: 'no-upgrade',
    counter: upgrades,
    words: 'GET without an upgrade to WebSocket',
    answer: '426',
  },
  {
    at: http,
    what: 'a request without an upgrade',
    bytes: request('CONNECT example.org:443'),
    reason: 'no-upgrade',
    counter: upgrades,
    words: 'CONNECT: this is not an HTTP proxy',
    answer: '426',
  },
  {
    at: http,
    what: 'another path',
    bytes: upgrade('/ws?token=secret', offering('mqtt')),
    reason: 'wrong-path',
    counter: upgrades,
    words: 'nothing is served at "/ws"',
    answer: '404',
  },
  {
    at: http,
    what: 'another path',
    bytes: upgrade(`/${'a'.repeat(5000)}`, offering('mqtt')),
    reason: 'wrong-path',
    counter: upgrades,
    words: `nothing is served at "/${'a'.repeat(99)}..."`,
    answer: '404',
  },
  {
    at: http,
    what: 'other subprotocols',
    bytes: upgrade('/mqtt', offering('chat, "wamp"')),
    reason: 'wrong-subprotocol',
    counter: upgrades,
    words: 'the subprotocol offered was "chat, \\"wamp\\""',
    answer: '400',
  },
  {
    at: http,
    what: 'other subprotocols',
    bytes: upgrade('/mqtt'),
    reason: 'wrong-subprotocol',
    counter: upgrades,
    words: 'no subprotocol was offered',
    answer: '400',
  },
  {
    at: http,
    what: 'an invalid WebSocket handshake',
    bytes: upgrade('/mqtt', offering('mqtt'), 'Sec-WebSocket-Version: 7'),
    reason: 'bad-handshake',
    counter: upgrades,
    words: 'not a valid WebSocket handshake: ',
    answer: '400',
  },
  {
    at: http,
    what: 'anything that is not HTTP',
    bytes: Buffer.from('SSH-2.0-OpenSSH\r\n'),
    reason: 'bad-request',
    counter: upgrades,
    words: 'not a readable HTTP request: ',
    answer: '400',
  },
  {
    at: http,
    what: 'anything that is not HTTP',
    bytes: request('GET /mqtt', `X: ${'x'.repeat(20_000)}`),
    reason: 'bad-request',
    counter: upgrades,
    words: 'not a readable HTTP request: ',
    answer: '431',
  },
  ...(
    [
      [[0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69], 'a text frame: MQTT uses binary frames'],
      [[0x82, 0x02, 0xc0, 0x00], 'MASK must be set'],
      [[0xc2, 0x82, 0, 0, 0, 0, 0xc0, 0x00], 'RSV1 must be clear'],
      [[0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0], 'Max payload size exceeded'],
    ] as const
  ).map(([frame, words]) => ({
    at: http,
    what: 'invalid frames',
    bytes: Buffer.concat([upgrade('/mqtt', offering('mqtt')), Buffer.from(frame)]),
    reason: 'websocket-fault',
    counter: closed,
    words,
  })),
];

const messages: Readonly<Record<string, string>> = {
  [closed]: 'connection refused',
  [handshake]: 'TLS handshake failed',
  [upgrades]: 'connection refused',
};

describe.each(listeners)('%s', (kind) => {
  test.each(rows.filter(({ at }) => at.includes(kind)))('$what is $reason: $words', async (row) => {
    door = await new Door(kind).listen(tls);
    const { socket, answer, isOver } = await visit(row.isBare !== true);
    socket.write(row.bytes);
    await until(() => door.counted(row.counter, row.reason) > 0, 'the count');
    if (row.answer !== undefined) {
      await until(() => isOver(), 'the end');
      const body = answer().split('\r\n\r\n')[1];
      expect(answer()).toMatch(new RegExp(`^HTTP/1.1 ${row.answer} `));
      expect(body).toContain(row.words);
      expect(body).toContain('MQTT over WebSocket is at /mqtt or /, subprotocol mqtt or mqttv3.1\n');
    }
    socket.end();
    await until(() => door.sockets() === 0, 'the socket to be gone');
    const lines = door.lines.filter(({ level }) => level !== 'debug');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 'info', message: messages[row.counter], fields: { reason: row.reason } });
    const { detail, address } = lines[0]!.fields as { detail: string; address: string };
    expect(detail).toContain(row.words);
    expect(address).toMatch(/^127\.0\.0\.1/);
    expect(JSON.stringify(lines)).not.toContain('secret');
    // Once, and nowhere else.
    expect([closed, handshake, upgrades].map((name) => door.counted(name))).toEqual(
      [closed, handshake, upgrades].map((name) => (name === row.counter ? 1 : 0)),
    );
  });
});

describe.each(http)('%s takes', (kind) => {
  test.each([
    ['/mqtt', 'mqtt', 'mqtt'],
    ['/', 'mqtt', 'mqtt'],
    ['http://example.org', 'mqtt', 'mqtt'],
    ['ws://example.org/mqtt', 'mqtt', 'mqtt'],
    ['/mqtt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0123', 'mqttv3.1', 'mqttv3.1'],
    ['/?a=/b?c', 'mqttv3.1, mqtt', 'mqtt'],
    ['/mqtt', 'other, mqttv3.1', 'mqttv3.1'],
    ['/mqtt', 'other,mqtt', 'mqtt'],
  ])('%s with %s, answered with %s', async (path, offered, chosen) => {
    door = await new Door(kind).listen(tls);
    const { socket, answer } = await visit(true);
    socket.write(upgrade(path, offering(offered)));
    await until(() => answer().includes('\r\n\r\n'), 'the answer');
    expect(answer()).toMatch(/^HTTP\/1.1 101 /);
    expect(answer()).toMatch(new RegExp(`^Sec-WebSocket-Protocol: ${chosen.replace('.', '\\.')}\r$`, 'm'));
    expect(door.lines).toEqual([]);
  });
});

test('/ is another path as any, if it is set so', async () => {
  door = await new Door('ws', false, {}, false).listen(tls);
  const { socket, answer } = await visit(true);
  socket.write(upgrade('/', offering('mqtt')));
  await until(() => answer().includes('WebSocket is at'), 'the answer');
  expect(answer()).toMatch(/^HTTP\/1.1 404 /);
  expect(answer()).toContain('MQTT over WebSocket is at /mqtt, subprotocol');
});

test('a peer that goes in the middle of a request is no refusal', async () => {
  door = await new Door('ws').listen(tls);
  const { socket } = await visit(true);
  socket.end('GET /mq');
  await until(() => door.sockets() === 0, 'the socket to be gone');
  expect(door.counted(upgrades)).toBe(0);
  expect(door.lines).toEqual([]);
});

test.each([
  ['MQTT', mqtt, mqtt],
  ['requests', request('GET /'), request('GET /')],
  ['a request, and then what would be taken', request('GET /'), upgrade('/mqtt', offering('mqtt'))],
  ['a request, and then no HTTP', request('GET /'), mqtt],
  ['an upgrade, and then another', upgrade('/x', offering('mqtt')), upgrade('/mqtt', offering('mqtt'))],
])('who goes on after a refusal is refused once: %s', async (_what, first, next) => {
  door = await new Door('ws').listen(tls);
  const { socket, answer, isOver } = await visit(true);
  socket.write(Buffer.concat([first, ...Array<Buffer>(50).fill(next)]));
  await until(() => door.counted(upgrades) > 0, 'the count');
  socket.write(next);
  await until(() => isOver() && door.sockets() === 0, 'the socket to be gone');
  expect(door.counted(upgrades)).toBe(1);
  expect(door.lines).toHaveLength(1);
  expect(answer().match(/HTTP\/1\.1 \d+/g) ?? []).toHaveLength(1);
});

test.each(secure)('%s: a client of TLS comes in whose first bytes come one by one', async (kind) => {
  door = await new Door(kind).listen(tls);
  const raw = connectSocket({ port: door.port, host: '127.0.0.1', noDelay: true });
  sockets.push(raw);
  await new Promise<void>((resolve) => raw.once('connect', resolve));
  const write = raw.write.bind(raw);
  let isFirst = true;
  raw.write = (data: Buffer, ...rest: never[]) => {
    if (!isFirst) return write(data, ...rest);
    isFirst = false;
    for (let i = 0; i < 8; i++) write(data.subarray(i, i + 1));
    return write(data.subarray(8), ...rest);
  };
  const secured = connectTls({ socket: raw, rejectUnauthorized: false });
  await new Promise<void>((resolve, reject) => secured.once('secureConnect', resolve).once('error', reject));
  expect(door.counted(handshake)).toBe(0);
});

test('the table of the documentation is this one', () => {
  const text = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8').replaceAll(/ +/g, ' ');
  const documented = rows.map(
    ({ at, what, reason, counter }) => `${what} | ${at.join(', ')} | \`${reason}\` | \`${counter}\``,
  );
  for (const row of new Set(documented)) expect(text).toContain(`| ${row} |`);
  for (const reason of Object.keys(refusals)) expect(text).toContain(`\`${reason}\``);
});
