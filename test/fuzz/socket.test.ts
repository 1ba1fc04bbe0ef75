/**
 * A running broker under fire: garbage, damaged CONNECTs and sessions that turn bad on many sockets, while a pair of
 * well-behaved clients of another tenant exchanges messages. `test/support/seeds.ts` says how to run a case again.
 */
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectBytes } from '../support/packet-bytes.js';
import { runsOf, seedsOf } from '../support/seeds.js';
import { Stack } from '../support/stack.js';
import { until } from '../support/until.js';
import { anything, connectStream, mutated, offsets, streamOf, versions } from './mutations.js';
import { cut } from './recorder.js';

const sessions = runsOf(800);
const [seed] = seedsOf('fuzz');
const socketsAtOnce = 40;
/** The heap may grow to what the collector finds comfortable; what a leak of each session would cost is far more. */
const growthBytesMax = 120 << 20;

let stack: Stack;
beforeAll(async () => (stack = await Stack.start()), 60_000);
afterAll(async () => await stack.close());

/**
 * Says hello, if there is one, and waits for an answer; sends the pieces one after the other, reads whatever comes and
 * hangs up. Resolves when the connection is gone.
 */
function attack(port: number, hello: Buffer | undefined, pieces: readonly Buffer[]): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let at = 0;
    const next = (): void => {
      if (socket.destroyed) return;
      const piece = pieces[at++];
      if (piece === undefined) socket.end();
      // The callback comes when the system has it: the broker reads it as a chunk of its own, mostly.
      else socket.write(piece, () => setImmediate(next));
    };
    socket.setNoDelay(true);
    socket.on('error', () => undefined); // A reset is a fine answer.
    socket.on('close', () => resolve());
    if (hello) socket.once('data', next);
    socket.on('connect', () => (hello ? socket.write(hello) : next()));
    socket.resume(); // Whatever it says is thrown away.
  });
}

it(`survives ${sessions} hostile sessions, and nobody else notices (seed ${seed})`, { timeout: 180_000 }, async () => {
  const hostile = await stack.tenant();
  const account = await hostile.account();
  const good = await stack.tenant();
  const subscriber = await good.client({ clientId: 'subscriber' });
  const publisher = await good.client({ clientId: 'publisher' });
  await subscriber.subscribe({ filter: '#', qos: 1 });

  const client = fc.constantFrom(...versions).chain((version) =>
    fc.record({
      hello: fc
        .tuple(fc.nat(100), fc.boolean()) // Some of them at the same time, none at the pace at which one is slowed.
        .map(([id, clean]) => connectBytes({ version, clientId: `client-${id}`, clean, ...account })),
      stream: mutated(streamOf(version)),
      cuts: offsets,
    }),
  );
  const stranger = fc.record({
    hello: fc.constant(undefined),
    stream: fc.oneof(anything(0), ...versions.map((version) => mutated(connectStream(version)))),
    cuts: offsets,
  });
  const attacks = fc.sample(fc.oneof({ weight: 3, arbitrary: client }, { weight: 1, arbitrary: stranger }), {
    seed,
    numRuns: sessions,
  });

  let over = false;
  let sent = 0;
  const talking = (async () => {
    while (!over) {
      await publisher.publish({ topic: 'pair', payload: String(sent), qos: 1 });
      sent++;
    }
  })();

  const { port } = stack.endpoints.mqtt;
  let next = 0;
  let rssBytes = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < attacks.length; i = next++) {
      const { hello, stream, cuts } = attacks[i]!;
      await attack(port, hello, cut(stream, cuts));
      if (i === Math.floor(sessions / 3)) rssBytes = stack.brokerRssBytes();
    }
  };
  await Promise.all(Array.from({ length: socketsAtOnce }, worker));
  over = true;
  await talking;

  await until(() => subscriber.received.length >= sent, 'all messages of the pair');
  expect(subscriber.received.map(({ payload }) => Number(payload))).toEqual([...Array(sent).keys()]);
  expect(sent).toBeGreaterThan(20);
  expect(await stack.metric('shoal_connections_closed_total', 'reason="unspecified-error"')).toBe(0);
  await until(async () => (await stack.metric('shoal_sockets')) === 2, 'the hostile sockets to be gone');
  expect(await stack.metric('shoal_connects_admitted_total')).toBeGreaterThan(sessions / 2);
  expect(stack.brokerRssBytes() - rssBytes).toBeLessThan(growthBytesMax);
});
