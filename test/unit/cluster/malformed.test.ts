/** Who has the key and sends what makes no sense ends its own link: clients and other brokers notice nothing. */
import { expect, it, onTestFinished } from 'vitest';
import { ForwardsWriter, handledContent, Mesh, contentTypes } from '../../../services/broker/mesh/mesh.js';
import { Metrics, silentLog, systemClock } from '../../../services/kernel/kernel.js';
import { heardFaults } from '../../support/heard-faults.js';
import { until } from '../../support/until.js';
import { key, serving, type TestedBroker } from './brokers.js';

const hello = handledContent('hello', { control: 0, data: 0 });
const number = (n: number): Buffer => Buffer.from([0, 0, 0, 0, 0, n]);
function messages(change: (body: Buffer) => Buffer): Buffer {
  const writer = new ForwardsWriter();
  const message = {
    ...({ qos: 1, retain: false, topic: { bytes: Buffer.from('x') } } as const),
    ...{ properties: Buffer.alloc(0), source: Buffer.from('payload'), payloadStart: 0, payloadEnd: 7 },
  };
  writer.add(message, 'acme', 1, undefined);
  const { body } = writer.end();
  body.writeUIntBE(1, 0, 6);
  return change(Buffer.from(body));
}

it.each<[string, string, (readonly [type: number, body: Buffer])[]]>([
  ['a frame before the hello', 'unexpected-frame', [[contentTypes.ping, number(1)]]],
  [
    'a second hello',
    'unexpected-frame',
    [
      [hello.type, hello.body],
      [hello.type, hello.body],
    ],
  ],
  ['a hello that knows what was never sent', 'unexpected-frame', [[hello.type, Buffer.concat([number(9), number(0)])]]],
  ['half a hello', 'malformed-frame', [[hello.type, number(0)]]],
  [
    'a frame that skips a number',
    'unexpected-frame',
    [
      [hello.type, hello.body],
      [contentTypes.serves, number(2)],
    ],
  ],
  [
    'a frame of subscriptions that ends too early',
    'malformed-frame',
    [
      [hello.type, hello.body],
      [contentTypes.interest, number(1)],
    ],
  ],
  [
    'receipts of messages that were never sent',
    'unexpected-frame',
    [
      [hello.type, hello.body],
      [contentTypes.receipts, Buffer.concat([number(1), number(1), Buffer.from([255, 255, 255, 255, 0])])],
    ],
  ],
  [
    'a barrier that was never asked for',
    'unexpected-frame',
    [
      [hello.type, hello.body],
      [contentTypes.passed, Buffer.concat([number(1), number(1)])],
    ],
  ],
  [
    'half a message',
    'malformed-frame',
    [
      [hello.type, hello.body],
      [contentTypes.forwards, messages((body) => body.subarray(0, -9))],
    ],
  ],
  [
    'a topic that is none',
    'malformed-frame',
    [
      [hello.type, hello.body],
      [
        contentTypes.forwards,
        messages((body) => {
          body[body.indexOf('x')] = 0x23;
          return body;
        }),
      ],
    ],
  ],
])('%s: %s', async (_what, ending, frames) => {
  const faults = heardFaults();
  onTestFinished(faults.stop);
  const [a, b] = (await serving(['a', 'b'])) as [TestedBroker, TestedBroker];
  const [publisher, subscriber] = [await a.client(), await b.client()];
  await subscriber.subscribe('y', 1);
  await publisher.publish('y', 'before', 1);
  // It has a lease and the key, and no idea.
  const metrics = new Metrics();
  const gate = { leave: () => 'all' as const, onLapsed: () => undefined };
  const place = { host: '127.0.0.1', port: 0, cluster: 'test-', keys: [key] as const };
  const c = new Mesh({ brokerId: 'c', ...place, gate, clock: systemClock, log: silentLog, metrics, chance: () => 1 });
  onTestFinished(() => c.stop());
  const address = await c.listen();
  for (const type of Object.values(contentTypes)) c.handle(type, () => undefined);
  const left = [...frames];
  const send = (): void => {
    while (left.length > 0 && c.send('b', left[0]![0], left[0]![1])) left.shift();
  };
  c.onRoom(send);
  c.onPeers({ joined: () => undefined, ended: () => undefined, cut: () => undefined, up: send });
  b.hear(a.member(), b.member(), { brokerId: 'c', address, hasEnded: false });
  await until(() => b.metric('shoal_link_ends_total', ending) > 0, 'the end of the link');
  expect(faults.counts).toEqual({});
  b.hear(a.member(), b.member(), { brokerId: 'c', address, hasEnded: true });
  await publisher.publish('y', 'after', 1);
  await until(() => subscriber.got.length === 2);
  expect([subscriber.got, a.mesh.links.up]).toEqual([['y before', 'y after'], 1]);
});
