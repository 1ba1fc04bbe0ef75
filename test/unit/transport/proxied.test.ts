/**
 * Connections that begin with a PROXY protocol header, through real sockets: servers of all four kinds get what follows
 * the header as if there had been none, however the bytes are cut; whoever breaks the rules is closed and counted.
 */
import { createServer as createHttpServer, get as httpGet, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, get as httpsGet } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { connect as tlsConnect, createServer as createTlsServer } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../../services/kernel/kernel.js';
import { Proxied, stripOptionalHeader } from '../../../services/broker/transport/proxied.js';
import type { Origin } from '../../../services/broker/transport/proxy-header.js';
import { trustedProxies } from '../../../services/broker/transport/trusted.js';
import { header, local, proxied, proxiedText, tlv } from '../../support/proxy-header.js';
import { until } from '../../support/until.js';
import { testTls, type Tls } from './test-tls.js';

const kinds = ['tcp', 'tls', 'http', 'https'] as const;
type Kind = (typeof kinds)[number];

let tls: Tls;
let ca: Buffer;
beforeAll(async () => void ({ ca, ecdsa: tls } = await testTls()));

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

const listen = async (server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close());
  return (server.address() as AddressInfo).port;
};

/** Says what it was asked and who asked. */
class Asked {
  readonly refused: string[] = [];
  readonly origins: (Origin | undefined)[] = [];
  readonly sockets: Socket[] = [];
  port = 0;
  proxied!: Proxied;

  constructor() {
    closing.push(() => this.stop());
  }

  #origin(socket: Socket): string {
    const origin = this.proxied.takeOrigin(socket);
    this.origins.push(origin);
    return origin?.address ?? 'unknown';
  }

  async start(kind: Kind, trusted = '127.0.0.0/8'): Promise<this> {
    const onSocket = (socket: Socket): void => {
      const origin = this.#origin(socket);
      let text = '';
      socket
        .on('error', () => {})
        .on('data', (data) => {
          text += String(data);
          if (text.length >= 'ping'.length) socket.write(`${origin} said ${text}`);
        });
    };
    const onRequest = ({ url, socket }: IncomingMessage, response: ServerResponse): void =>
      void response.end(`${this.#origin(socket)} said ${url}`);
    const make: Record<Kind, () => Server> = {
      tcp: () => createServer(onSocket),
      tls: () => createTlsServer(tls, onSocket).on('tlsClientError', () => {}),
      http: () => createHttpServer(onRequest),
      https: () => createHttpsServer(tls, onRequest),
    };
    const server = make[kind]();
    const list = trustedProxies(trusted);
    if ('notANetwork' in list) throw new Error(trusted);
    const onRefused = (why: string): void => void this.refused.push(why);
    this.proxied = new Proxied(server, {
      trusted: list,
      log: silentLog,
      onRefused,
    });
    server.on('connection', (socket) => this.sockets.push(socket));
    this.port = await listen(server);
    return this;
  }

  stop(): void {
    for (const socket of this.sockets) socket.destroy();
  }
}

/** Stands before `asked` like a balancer: puts `before` ahead of what a client says, and sends that in pieces. */
async function balancer(asked: Asked, before: Buffer, cut: number): Promise<number> {
  return listen(
    createServer({ noDelay: true }, (client) => {
      const server = connect({ port: asked.port, host: '127.0.0.1', noDelay: true });
      client.on('error', () => {}).on('close', () => server.destroy());
      server.on('error', () => {}).on('close', () => client.destroy());
      client.once('data', (first) => {
        client.pause();
        const bytes = Buffer.concat([before, first]);
        server.write(bytes.subarray(0, cut));
        // Others may connect at the same time: which of the sockets is this one's, its port says.
        const arrived = (): number =>
          asked.sockets.find(({ remotePort }) => remotePort === server.localPort)?.bytesRead ?? 0;
        until(() => arrived() >= cut, `${cut} bytes to arrive`).then(
          () => {
            server.write(bytes.subarray(cut));
            client.pipe(server).pipe(client);
          },
          (error: Error) => client.destroy(error), // The one that asks sees it.
        );
      });
    }),
  );
}

/** The answer to `ping`, in the way of that kind. */
function ask(kind: Kind, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', ca, servername: 'localhost' };
    if (kind === 'tcp' || kind === 'tls') {
      const socket = kind === 'tcp' ? connect(options) : tlsConnect(options);
      socket.on('error', reject).on('close', () => reject(new Error('closed')));
      socket.write('ping');
      socket.once('data', (data) => {
        resolve(String(data));
        socket.destroy();
      });
    } else {
      const get = kind === 'http' ? httpGet : httpsGet;
      get({ ...options, path: '/ping', agent: false }, (response) => {
        let text = '';
        response.on('data', (data) => (text += String(data))).on('end', () => resolve(text));
      }).on('error', reject);
    }
  });
}

const said = (kind: Kind, address: string): string => `${address} said ${kind.startsWith('http') ? '/ping' : 'ping'}`;

describe.each(kinds)('%s', (kind) => {
  const client = proxied('203.0.113.7', 50_123, tlv(0xea, '\x01vpce-1'));

  test('gets what follows the header, cut at every byte', async () => {
    const asked = await new Asked().start(kind);
    for (let cut = 1; cut <= client.length + 3; cut++)
      expect(await ask(kind, await balancer(asked, client, cut)), `cut at ${cut}`).toBe(
        said(kind, '203.0.113.7:50123'),
      );
    expect(new Set(asked.origins.map((origin) => origin?.endpointId))).toEqual(new Set(['vpce-1']));
    expect(asked.refused).toEqual([]);
  });

  test('and what follows the text form', async () => {
    const asked = await new Asked().start(kind);
    const text = proxiedText('2001:db8:0::7', 50_123);
    for (let cut = 1; cut <= text.length + 3; cut++)
      expect(await ask(kind, await balancer(asked, text, cut)), `cut at ${cut}`).toBe(said(kind, '2001:db8::7:50123'));
    expect(await ask(kind, await balancer(asked, Buffer.from('PROXY UNKNOWN\r\n'), 9))).toBe(said(kind, 'unknown'));
    expect(asked.refused).toEqual([]);
  });

  test('knows several clients of one balancer apart', async () => {
    const asked = await new Asked().start(kind);
    const ports = await Promise.all([1, 2, 3].map((n) => balancer(asked, proxied(`203.0.113.${n}`, n), 20)));
    expect(await Promise.all(ports.map((port) => ask(kind, port)))).toEqual(
      [1, 2, 3].map((n) => said(kind, `203.0.113.${n}:${n}`)),
    );
  });

  test('with LOCAL there is no client but the balancer', async () => {
    const asked = await new Asked().start(kind);
    expect(await ask(kind, await balancer(asked, local, 16))).toBe(said(kind, 'unknown'));
  });

  test('closes who is not a balancer, and counts it', async () => {
    const asked = await new Asked().start(kind, '192.0.2.0/24');
    await expect(ask(kind, await balancer(asked, client, 1))).rejects.toThrow();
    await until(() => asked.refused.length > 0);
    expect(asked.refused).toEqual(['untrusted-peer']);
  });
});

describe('refused', () => {
  const client = proxied('203.0.113.7', 50_123);
  /** What is counted after a peer has said this, and has gone if it is to. */
  async function refusal(bytes: Buffer, then: 'stays' | 'goes'): Promise<readonly string[]> {
    const asked = await new Asked().start('tcp');
    const socket = connect(asked.port, '127.0.0.1').on('error', () => {});
    closing.push(() => socket.destroy());
    let isClosed = false;
    socket.on('close', () => (isClosed = true)).resume();
    if (then === 'goes') socket.end(bytes);
    else socket.write(bytes);
    await until(() => isClosed, 'the end of the connection');
    return asked.refused;
  }

  test.each<[why: string, bytes: Buffer]>([
    ['no-proxy-header', Buffer.from([0x10])],
    ['no-proxy-header', Buffer.from('POST / HTTP/1.1\r\n')],
    ['no-proxy-header', Buffer.from('\r\n\r\n\r')],
    ['unsupported-version', header({ versionAndCommand: 0x11, body: Buffer.alloc(0) })],
    ['unsupported-family', header({ family: 0x31, body: Buffer.alloc(216) })],
    ['header-too-long', header({ body: Buffer.alloc(0), length: 65_535 })],
    ['malformed-header', header({ body: Buffer.alloc(8) })],
    ['second-header', Buffer.concat([client, proxied('198.51.100.1', 1)])],
    ['second-header', Buffer.concat([local, client])],
    ['second-header', Buffer.concat([client, proxiedText('198.51.100.1', 1)])],
    ['second-header', Buffer.concat([proxiedText('203.0.113.7', 1), proxiedText('198.51.100.1', 1)])],
    ['second-header', Buffer.concat([proxiedText('203.0.113.7', 1), client])],
    ['second-header', Buffer.concat([Buffer.from('PROXY UNKNOWN\r\n'), client])],
    ['header-too-long', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}`)],
    ['malformed-header', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 50123\r\n')],
  ])('%s', async (why, bytes) => {
    expect(await refusal(bytes, 'stays')).toEqual([why]);
  });

  test('a second header that comes later', async () => {
    const asked = await new Asked().start('tcp');
    await expect(ask('tcp', await balancer(asked, Buffer.concat([client, client]), client.length))).rejects.toThrow();
    expect(asked.refused).toEqual(['second-header']);
  });

  test('the second header also when it comes byte by byte', async () => {
    for (const second of [client, proxiedText('198.51.100.1', 1)]) {
      const asked = await new Asked().start('tcp');
      const socket = connect({ port: asked.port, host: '127.0.0.1', noDelay: true }).on('error', () => {});
      let isClosed = false;
      socket.on('close', () => (isClosed = true)).resume();
      socket.write(client);
      for (let at = 0; at < 6 && !isClosed; at++) {
        socket.write(second.subarray(at, at + 1));
        await until(() => asked.sockets[0]?.bytesRead === client.length + at + 1);
      }
      socket.write(second.subarray(6));
      await until(() => isClosed, 'the end');
      expect(asked.refused).toEqual(['second-header']);
      expect(asked.origins).toEqual([]);
    }
  });

  test('what begins as a second header and is a request is handed on', async () => {
    const asked = await new Asked().start('http');
    const socket = connect({ port: asked.port, host: '127.0.0.1', noDelay: true }).on('error', () => {});
    closing.push(() => socket.destroy());
    let answer = '';
    socket.on('data', (data) => (answer += String(data)));
    socket.write(Buffer.concat([client, Buffer.from('P')]));
    await until(() => asked.sockets[0]?.bytesRead === client.length + 1);
    socket.write('UT /it HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await until(() => answer.includes('203.0.113.7:50123 said /it'), 'the answer');
  });

  test('a header that ends early; not one with nothing behind it', async () => {
    for (const cut of [1, 12, 16, client.length - 1])
      expect(await refusal(client.subarray(0, cut), 'goes')).toEqual(['header-cut-short']);
    expect(await refusal(client, 'goes')).toEqual([]);
    expect(await refusal(local, 'goes')).toEqual([]);
    expect(await refusal(Buffer.alloc(0), 'goes')).toEqual([]);
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a part of the header', client.subarray(0, 20)],
    ['the header alone', client],
  ])('who says %s for too long', async (_what, bytes) => {
    const asked = await new Asked().start('tcp');
    const socket = connect(asked.port, '127.0.0.1').on('error', () => {});
    let isClosed = false;
    socket.on('close', () => (isClosed = true)).resume();
    if (bytes.length > 0) socket.write(bytes);
    await until(() => asked.sockets[0]?.bytesRead === bytes.length);
    expect(asked.refused).toEqual([]);
    asked.proxied.late(asked.sockets[0]!);
    await until(() => isClosed);
    expect(asked.refused).toEqual(['header-timeout']);
  });
});

describe('the health port', () => {
  test.each([
    ['without a header', Buffer.alloc(0)],
    ['LOCAL', local],
    ['the text form', proxiedText('203.0.113.7', 9)],
    ['a header with a client', proxied('2001:db8:0:0:0:0:0:1', 9, tlv(0x04, 'padding'))],
  ])('answers: %s, cut anywhere', async (_what, before) => {
    const asked = new Asked();
    asked.proxied = { takeOrigin: () => undefined } as unknown as Proxied;
    const server = createHttpServer((request, response) => response.end(`${request.url}`));
    stripOptionalHeader(server);
    server.on('connection', (socket) => asked.sockets.push(socket));
    asked.port = await listen(server);
    for (let cut = 1; cut < before.length + 6; cut++)
      expect(await ask('http', await balancer(asked, before, cut)), `cut at ${cut}`).toBe('/ping');
  });
});
