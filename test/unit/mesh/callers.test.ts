/** Who has the key and does what no broker of this release does: every hello is judged before it is believed. */
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { endingOf } from '../../../services/broker/mesh/endings.js';
import {
  frame,
  FrameReader,
  type Hello,
  helloFrame,
  readCode,
  types,
} from '../../../services/broker/mesh/frames/v1.js';
import { readAddress } from '../../../services/broker/mesh/mesh.js';
import { until } from '../../support/until.js';
import { broker, hear, key, memberOf, metric, otherKey, type TestBroker } from './brokers.js';

const tls: ConnectionOptions = {
  ...{ minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256', ca: [], checkServerIdentity: () => undefined },
};

function call(
  to: TestBroker,
  bytes: Buffer,
  { with: own = key, session }: { with?: typeof key; session?: Buffer } = {},
) {
  const socket: TLSSocket = connect({
    ...{ ...tls, ...readAddress(to.address)!, ...(session && { session }) },
    pskCallback: () => ({ identity: own.identity, psk: own.secret }),
  });
  const reader = new FrameReader();
  const heard: string[] = [];
  socket.on('error', () => undefined).once('secureConnect', () => socket.write(bytes));
  socket.on('data', (chunk: Buffer) => {
    reader.push(chunk, (type, body) => {
      heard.push(type === types.bye ? endingOf(readCode(body)!).name : type === types.hello ? 'hello' : 'other');
      return true;
    });
  });
  onTestFinished(() => void socket.destroy());
  return { socket, heard };
}

const hello = (more: Partial<Hello> = {}): Hello => ({
  ...{ min: 1, max: 1, purpose: 'link', incarnation: 5, from: 'a', to: 'b', cluster: 'test-', address: '127.0.0.1:1' },
  ...more,
});

describe('a hello is refused', () => {
  it.each([
    [
      'of a later release that speaks no version of this one',
      helloFrame(hello({ min: 2, max: 4 })),
      'no-common-version',
    ],
    ['for another broker', helloFrame(hello({ to: 'c' })), 'other-broker'],
    ['of another cluster', helloFrame(hello({ cluster: 'other-' })), 'other-cluster'],
    ['of who is to be dialled', helloFrame(hello({ from: 'c' })), 'wrong-dialler'],
    ['of who has the same id', helloFrame(hello({ from: 'b' })), 'wrong-dialler'],
    ['that knocks at who does not dial', helloFrame(hello({ purpose: 'knock' })), 'wrong-dialler'],
    ['that is something else', frame(types.ping, Buffer.alloc(4)), 'not-a-hello'],
    ['that is cut short', frame(types.hello, Buffer.from('SHLK')), 'malformed-frame'],
    ['that is too long', frame(types.hello, Buffer.alloc(2000)), 'frame-too-large'],
  ])('%s', async (_, bytes, reason) => {
    const b = await broker('b');
    const { socket, heard } = call(b, bytes);
    await until(() => socket.closed, 'the end');
    expect(heard).toEqual([reason]);
    expect(metric(b, 'shoal_link_ends_total', reason)).toBe(1);
    expect(b.mesh.links.expected).toBe(0);
    await until(() => metric(b, 'shoal_link_newcomers') === 0);
  });
});

it('a hello of a later release that speaks this version, too, is good', async () => {
  const b = await broker('b');
  const { heard } = call(b, helloFrame(hello({ max: 9 })));
  await until(() => b.mesh.links.up === 1);
  await until(() => heard.includes('hello'));
});

it('of two connections of one broker the later stays, whichever comes first', async () => {
  const b = await broker('b');
  const first = call(b, helloFrame(hello({ incarnation: 5 })));
  await until(() => first.heard.includes('hello'));
  for (const incarnation of [4, 5]) {
    const late = call(b, helloFrame(hello({ incarnation })));
    await until(() => late.socket.closed);
    expect(late.heard).toEqual(['outdated']);
  }
  expect([first.socket.closed, b.mesh.links]).toEqual([false, { up: 1, expected: 1 }]);
  const next = call(b, helloFrame(hello({ incarnation: 6 })));
  await until(() => first.socket.closed && next.heard.includes('hello'));
  expect(first.heard.at(-1)).toBe('replaced');
  expect(b.mesh.links).toEqual({ up: 1, expected: 1 });
});

it('who says no hello has its time, with the key as without', async () => {
  const b = await broker('b');
  const { socket } = call(b, Buffer.alloc(0));
  await until(() => !socket.connecting && socket.getProtocol() !== null && metric(b, 'shoal_link_newcomers') === 1);
  b.clock.advance(5000);
  await until(() => socket.closed && metric(b, 'shoal_link_newcomers') === 0);
  expect(metric(b, 'shoal_link_ends_total', 'greeting-late')).toBeGreaterThan(0);
});

it('who had a key that is not taken any more does not come back by a session of before', async () => {
  const [old, b] = [await broker('b', { keys: [key, otherKey] }), await broker('b')];
  const session: Buffer[] = [];
  const first = call(old, helloFrame(hello()), { with: otherKey });
  first.socket.on('session', (one: Buffer) => void session.push(one));
  await until(() => first.heard.includes('hello'));
  for (const to of [old, b]) {
    const again = call(to, helloFrame(hello({ incarnation: 6 })), {
      with: { identity: 'shoal-1:000000000000', secret: otherKey.secret },
      ...(session[0] && { session: session[0] }),
    });
    await until(() => again.socket.closed);
    expect(again.heard).toEqual([]);
  }
});

it('a member more than a cluster may have is refused', async () => {
  const b = await broker('b');
  hear(
    [b],
    [...Array(300).keys()].map((n) => memberOf({ id: `a${n}`, address: '127.0.0.1:1' })),
  );
  expect(b.mesh.links.expected).toBe(300);
  const { heard } = call(b, helloFrame(hello({ from: 'a-one-more' })));
  await until(() => heard.length > 0);
  expect(heard).toEqual(['too-many-members']);
});
