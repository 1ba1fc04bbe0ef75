/** What goes over links: in order, bounded by credit when the other side stops reading, and harmless when a handler fails. */
import { connect, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { readAddress } from '../../../services/broker/mesh/mesh.js';
import { silentMs, tickMs, windowBytes } from '../../../services/broker/mesh/link-state.js';
import { heardFaults } from '../../support/heard-faults.js';
import { until } from '../../support/until.js';
import { broker, hear, memberOf, metric, type TestBroker } from './brokers.js';

const type = 0x20;

/** a dials b over a relay that can stop reading. */
async function linked() {
  const [a, b] = [await broker('a'), await broker('b')];
  const between: Socket[] = [];
  const server = createServer((near) => {
    const far = connect({ ...readAddress(b.address)! });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const)
      from
        .on('error', () => undefined)
        .on('close', () => to.destroy())
        .pipe(to);
    between.push(near, far);
  });
  server.listen(0, '127.0.0.1');
  await until(() => server.listening);
  onTestFinished(() => {
    for (const socket of between) socket.destroy();
    server.close();
  });
  hear([a], [memberOf(a), memberOf({ ...b, address: `127.0.0.1:${(server.address() as { port: number }).port}` })]);
  await until(() => a.mesh.links.up === 1 && b.mesh.links.up === 1, 'the link');
  /** Nothing gets through any more: the system's buffers fill. */
  const freeze = (): void => {
    for (const socket of between) socket.unpipe().pause();
  };
  const thaw = (): void => {
    const [near, far] = between as [Socket, Socket];
    near.pipe(far);
    far.pipe(near);
  };
  return { a, b, freeze, thaw };
}

const ends = (one: TestBroker, reason: string): number => metric(one, 'shoal_link_ends_total', reason);

it('arrives in order, ten windows of it, and what is refused for want of credit is told when there is some', async () => {
  const { a, b } = await linked();
  const total = 160;
  const came: number[] = [];
  b.mesh.handle(type, (from, body) => {
    expect([from, body.length]).toEqual(['a', 1 << 16]);
    came.push(body.readUInt32BE(0));
  });
  let sent = 0;
  let refused = 0;
  const send = (): void => {
    while (sent < total) {
      const body = Buffer.alloc(1 << 16);
      body.writeUInt32BE(sent);
      if (!a.mesh.send('b', type, body)) return void refused++;
      sent++;
    }
  };
  a.mesh.onRoom((id) => {
    expect(id).toBe('b');
    send();
  });
  send();
  await until(() => came.length === total, 'all of it');
  expect(came).toEqual(Array.from({ length: total }, (_, n) => n));
  expect(refused).toBeGreaterThan(5);
  expect([a.mesh.links.up, metric(a, 'shoal_link_bytes_total', 'out') > total << 16]).toEqual([1, true]);
});

it('waits at its source when the other side stops reading: what is held here is a window at most', async () => {
  const { a, b, freeze, thaw } = await linked();
  let came = 0;
  b.mesh.handle(type, () => void came++);
  // The first credit is there.
  await until(() => a.mesh.send('b', type, Buffer.alloc(1000)), 'credit');
  await until(() => came === 1);
  freeze();
  let sentBytes = 0;
  // Turn by turn, so that whatever the system takes makes room.
  for (let n = 0; n < 200; n++) {
    while (a.mesh.send('b', type, Buffer.alloc(1 << 15))) sentBytes += 1 << 15;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(sentBytes).toBeGreaterThan(windowBytes / 2);
  expect(sentBytes).toBeLessThanOrEqual(windowBytes);
  // It is silent after two seconds, and goes on where it was.
  a.clock.advance(silentMs);
  expect([a.mesh.links, metric(a, 'shoal_links', 'silent')]).toEqual([{ up: 0, expected: 1 }, 1]);
  expect(a.lines).toContain('warn a link is silent');
  thaw();
  await until(() => came === 1 + sentBytes / (1 << 15), 'what was under way');
  await until(() => a.mesh.links.up === 1);
  expect(a.lines).toContain('info a link that was silent is heard again');
});

it('ends with the link when nothing is heard for long, and the other broker is dialled again', async () => {
  const { a, freeze } = await linked();
  freeze();
  a.clock.advance(13 * tickMs);
  await until(() => ends(a, 'silent') === 1);
  expect(a.mesh.links).toEqual({ up: 0, expected: 1 });
  a.clock.advance(100);
  await until(() => a.mesh.links.up === 1);
});

it('that a handler fails at ends the link and nothing else, whether it fails at once or later', async () => {
  const faults = heardFaults();
  onTestFinished(faults.stop);
  for (const fail of [
    () => {
      throw new Error('planted');
    },
    () => Promise.reject(new Error('planted')),
  ]) {
    const { a, b } = await linked();
    b.mesh.handle(type, fail);
    await until(() => a.mesh.send('b', type, Buffer.from('x')), 'credit');
    await until(() => ends(b, 'own-fault') === 1 && ends(a, 'own-fault') === 1);
    a.clock.advance(100);
    await until(() => a.mesh.links.up === 1, 'the next link');
  }
  expect(faults.counts).toEqual({ link: 2 });
});

it('of a type that nobody knows ends the link, unless it may be skipped', async () => {
  const { a, b } = await linked();
  await until(() => a.mesh.send('b', 0x80, Buffer.from('x')), 'credit');
  await until(() => metric(b, 'shoal_link_frames_skipped_total') === 1);
  expect(b.mesh.links.up).toBe(1);
  a.mesh.send('b', 0x7f, Buffer.from('x'));
  await until(() => ends(a, 'unknown-frame') === 1);
});

it('has nowhere to go without a link', async () => {
  const a = await broker('a');
  expect(a.mesh.send('b', type, Buffer.from('x'))).toBe(false);
});
