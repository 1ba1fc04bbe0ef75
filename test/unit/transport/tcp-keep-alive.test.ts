/** Whom the system asks whether it is still there: a client that may be silent for long, on any listener. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../support/until.js';
import { Door, listeners, Peer } from './peer.js';
import { testTls, type Tls } from './test-tls.js';

let tls: Tls;
beforeAll(async () => void ({ ecdsa: tls } = await testTls()));

let door: Door;
const peers: Peer[] = [];
afterEach(() => {
  for (const peer of peers.splice(0)) peer.raw.destroy();
  door.transport.stop();
});

/** Of the door's side of the connection: what the system waits for, and for how many seconds. */
function timer(peer: Peer): { kind: string; seconds: number } {
  const endOf = (port: number): string => `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const [here, there] = [endOf(door.port), endOf(peer.raw.localPort!)];
  const timers = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, remote, state]) => local?.endsWith(here) && remote?.endsWith(there) && state === '01')
    .map((columns) => columns[5]!.split(':'));
  expect(timers).toHaveLength(1);
  const [kind, jiffies] = timers[0]!;
  return { kind: kind!, seconds: parseInt(jiffies!, 16) / 100 };
}

describe.runIf(process.platform === 'linux').each(listeners)('%s', (kind) => {
  test.each([
    [0, true],
    [60, false],
    [300, false],
    [301, true],
  ])('a client with a keep alive of %i s', async (keepalive, isAsked) => {
    door = await new Door(kind).listen(tls);
    const peer = await Peer.open(door);
    peers.push(peer);
    await peer.go('open', { clientId: 'c', keepalive });
    // What has been sent has another timer until it is acknowledged.
    await until(() => ['00', '02'].includes(timer(peer).kind));
    expect(timer(peer).kind).toBe(isAsked ? '02' : '00');
    if (isAsked) expect(Math.abs(timer(peer).seconds - 300)).toBeLessThan(10);
  });
});
