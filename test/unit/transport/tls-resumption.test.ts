/** A client that comes back goes on with its TLS session, on each listener for TLS and with each version. */
import { connect, type SecureVersion, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { connectBytes } from '../../support/packet-bytes.js';
import { Door } from './peer.js';
import { testTls, type Tls } from './test-tls.js';

let tls: Tls;
let ca: Buffer;
beforeAll(async () => void ({ ecdsa: tls, ca } = await testTls()));

let door: Door;
afterEach(() => door.transport.stop());

/** TLS 1.3 has its tickets travel with the first bytes that the server sends. */
const greetings = {
  mqtts: connectBytes({ version: 4, clientId: 'c', username: 'sensor@acme', password: 'x' }),
  wss: Buffer.from('GET /not-here HTTP/1.1\r\nHost: x\r\n\r\n'),
};

interface Visit {
  readonly isReused: boolean;
  /** The last that came. */
  readonly ticket: Buffer | undefined;
}

function visit(kind: 'mqtts' | 'wss', version: SecureVersion, session?: Buffer): Promise<Visit> {
  const versions = { minVersion: version, maxVersion: version };
  return new Promise((resolve, reject) => {
    let ticket: Buffer | undefined;
    const socket: TLSSocket = connect({
      port: door.port,
      host: '127.0.0.1',
      ca,
      ...versions,
      ...(session && { session }),
    });
    socket.once('error', reject).on('session', (given: Buffer) => (ticket = given));
    socket.once('data', () => {
      resolve({ isReused: socket.isSessionReused(), ticket });
      socket.destroy();
    });
    socket.write(greetings[kind]);
  });
}

test.each([
  ['mqtts', 'TLSv1.2'],
  ['mqtts', 'TLSv1.3'],
  ['wss', 'TLSv1.2'],
  ['wss', 'TLSv1.3'],
] as const)('%s, %s', async (kind, version) => {
  door = await new Door(kind).listen(tls);
  const first = await visit(kind, version);
  expect(first.isReused).toBe(false);
  expect((await visit(kind, version, first.ticket)).isReused).toBe(true);
  // For how long it may: `tlsext_tick_lifetime_hint` in the DER of OpenSSL's session, [9] INTEGER 86 400.
  expect(first.ticket!.includes(Buffer.from('a9050203015180', 'hex'))).toBe(true);
});
