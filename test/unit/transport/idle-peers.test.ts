/**
 * A resource held by a peer that does nothing: each listener, with and without a PROXY header before it, each stage, and
 * each way to do nothing. Real sockets at a real Transport; its clock is moved, so that nobody waits.
 *
 * All peers of a listener come at the same moment, and then the clock goes from one look to the next. `from` and `to`
 * bound when the broker must have let go of the socket, in seconds since accept.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { publishBytes, subscribeBytes } from '../../support/packet-bytes.js';
import { until } from '../../support/until.js';
import { Door, hasHttp, hasTls, type Listener, listeners, Peer, type Stage } from './peer.js';
import { testTls, type Tls } from './test-tls.js';

let tls: Tls;
beforeAll(async () => void ({ ecdsa: tls } = await testTls()));

const doors: Door[] = [];
const peers: Peer[] = [];
afterAll(() => {
  for (const peer of peers) peer.raw.destroy();
  for (const door of doors) door.transport.stop();
});

async function open(kind: Listener, behindProxy = false): Promise<Door> {
  const door = await new Door(kind, behindProxy).listen(tls);
  doors.push(door);
  return door;
}

async function arrive(door: Door): Promise<Peer> {
  const peer = await Peer.open(door);
  peers.push(peer);
  return peer;
}

const behaviours = ['silent', 'slow', 'half-closed', 'reset', 'vanished'] as const;
type Behaviour = (typeof behaviours)[number];

interface Bounds {
  /** It is still held at this time. */
  readonly from: number;
  readonly to: number;
}
const atOnce: Bounds = { from: -1, to: 0 };
/** One deadline from accept, whatever the layer. */
const deadline: Bounds = { from: 9.5, to: 10.5 };
const linger: Bounds = { from: 1.5, to: 2.5 };
/** Reading has stopped, so what the peer does is not seen before. */
const admission: Bounds = { from: 29.5, to: 33 };
const keepAlive: Bounds = { from: 14.5, to: 18 };
const never: Bounds = { from: Infinity, to: Infinity };
const before = ({ to }: Bounds): Bounds => ({ from: -1, to });

/** What ends a stage; `undefined`: the listener has no such stage. */
const table: Record<Stage, Record<Behaviour, Bounds>> = {
  proxy: row(deadline, deadline, atOnce, atOnce, deadline),
  tls: row(deadline, deadline, atOnce, atOnce, deadline),
  http: row(deadline, deadline, atOnce, atOnce, deadline),
  connect: row(deadline, deadline, atOnce, atOnce, deadline),
  // A wrong path: answered, and ended by us. Nothing of the peer is read any more.
  refused: row(linger, linger, before(linger), before(linger), linger),
  // A wrong password: CONNACK, and ended by us.
  closing: row(linger, linger, before(linger), before(linger), linger),
  admission: row(admission, admission, before(admission), before(admission), admission),
  open: row(keepAlive, keepAlive, before(keepAlive), atOnce, keepAlive),
};

function row(silent: Bounds, slow: Bounds, halfClosed: Bounds, reset: Bounds, vanished: Bounds) {
  return { silent, slow, 'half-closed': halfClosed, reset, vanished };
}

function stagesOf(kind: Listener, behindProxy: boolean): Stage[] {
  return [
    ...(behindProxy ? ['proxy' as const] : []),
    ...(hasTls(kind) ? ['tls' as const] : []),
    ...(hasHttp(kind) ? ['http' as const, 'refused' as const] : []),
    ...['connect' as const, 'closing' as const, 'admission' as const, 'open' as const],
  ];
}

interface Cell {
  readonly stage: Stage;
  readonly behaviour: Behaviour;
  readonly peer: Peer;
  readonly bounds: Bounds;
}

async function setUp(door: Door, stages: Stage[]): Promise<Cell[]> {
  const cells: Cell[] = [];
  for (const stage of stages) {
    door.world.records.holding = stage === 'admission';
    for (const behaviour of behaviours) {
      const peer = await arrive(door);
      await peer.go(stage, { clientId: `${stage} ${behaviour}`, keepalive: 10 });
      // Who has come in and sends, however little, is there: its tenant's quota counts it. A frame comes whole or not at all.
      const isThere = stage === 'open' && behaviour === 'slow' && !hasHttp(door.kind);
      cells.push({ stage, behaviour, peer, bounds: isThere ? never : table[stage][behaviour] });
    }
    if (stage === 'admission')
      await until(() => door.world.records.waiting === behaviours.length, 'all to wait for admission');
  }
  return cells;
}

function behave({ behaviour, peer }: Cell): void {
  if (behaviour === 'half-closed') peer.halfClose();
  if (behaviour === 'reset') peer.reset();
  if (behaviour === 'vanished') peer.vanish();
}

const looksSeconds = [0, 1.5, 2.5, 5, 9.5, 10.5, 14.5, 15.5, 18, 25, 29.5, 30.5, 33, 40];

// At once: each has a clock of its own.
describe.concurrent.each(listeners)('%s', (kind) => {
  test.each([false, true])('lets go of each peer that does nothing; behind a PROXY header: %s', async (behindProxy) => {
    const door = await open(kind, behindProxy);
    const cells = await setUp(door, stagesOf(kind, behindProxy));
    for (const cell of cells) behave(cell);
    let atSeconds = 0;
    for (const look of looksSeconds) {
      for (const { behaviour, peer } of cells) if (behaviour === 'slow' && !peer.isOver) peer.drop();
      await door.advance((look - atSeconds) * 1000);
      atSeconds = look;
      const held = (edge: 'from' | 'to'): number =>
        cells.filter(({ bounds }) => (edge === 'from' ? bounds.from >= look : bounds.to > look)).length;
      await until(() => door.sockets() <= held('to'), `at most ${held('to')} of ${door.sockets()} at ${look} s`);
      expect(door.sockets(), `at ${look} s`).toBeGreaterThanOrEqual(held('from'));
      for (const { stage, behaviour, peer, bounds } of cells)
        if (bounds.from >= look && !['half-closed', 'reset'].includes(behaviour))
          expect(peer.isOver, `${stage} ${behaviour} at ${look} s`).toBe(false);
    }
    expect(door.sockets()).toBe(hasHttp(kind) ? 0 : 1);
    for (const { bounds, peer } of cells) if (bounds !== never) await peer.isLetGo();
  });

  test('an end is not held up by a peer that takes nothing of what it is sent', async () => {
    const door = await open(kind);
    const subscriber = await arrive(door);
    await subscriber.go('open', { clientId: 'subscriber' });
    subscriber.write(subscribeBytes([{ filter: '#', qos: 0 }], 4, 1));
    await until(() => subscriber.received.length >= 9, 'SUBACK');
    subscriber.vanish();
    const publisher = await arrive(door);
    await publisher.go('open', { clientId: 'publisher' });
    const isDropping = (): boolean => door.counted('shoal_messages_dropped_slow_subscriber_total') > 0;
    await until(() => {
      publisher.write(publishBytes({ topic: 'a', payload: Buffer.alloc(60_000) }, 4));
      return isDropping();
    }, 'the subscriber to be behind');
    const next = await arrive(door);
    await next.go('open', { clientId: 'subscriber' }); // [MQTT-3.1.4-3] The one before has to go.
    await until(() => door.sockets('closing') === 1, 'the take-over');
    await door.advance(2500);
    await until(() => door.sockets() === 2, 'the socket to be let go of');
    await subscriber.isLetGo();
  });
});
