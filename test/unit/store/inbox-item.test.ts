/** What releases have stored of inboxes and subscriptions, byte for byte. Rows are added, never changed. */
import { describe, expect, it } from 'vitest';
import { handedOn } from '../../../services/broker/message/message.js';
import {
  itemOf,
  messagesFromItem,
  receivedFromItem,
  routeFromItem,
} from '../../../services/broker/store/inbox-item.js';
import { unreleasedMax } from '../../../services/broker/session/inbound.js';

const pk = 'acme#c';
const key = 'm006b49d201' + '0000000001';

/** Two QoS 1 messages, one of them with everything; then a QoS 2 message whose PUBREC has come. */
const packed =
  '01' +
  '0000' +
  '7ff0000000000000' +
  '0001' +
  '00000000' +
  '0000' +
  '0000' +
  '0000' +
  '00000002' +
  '61' +
  '6869' +
  '0d' +
  '0000' +
  '427a3185c5000000' +
  '0003' +
  '00000002' +
  '0002' +
  '0008' +
  '0003' +
  '00000001' +
  '612f62' +
  '0101' +
  '00000007' +
  '0000012c' +
  '2473686172652f67' +
  '707562' +
  'ff';
const released = '12' + 'c350' + '7ff0000000000000' + '0000' + '00000000' + '0000' + '0000' + '0000' + '00000000';
/** From `pub` to `a`. */
const qos2 =
  '02' +
  'c350' +
  '7ff0000000000000' +
  '0001' +
  '00000000' +
  '0000' +
  '0000' +
  '0003' +
  '00000002' +
  '61' +
  '707562' +
  '6869';
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

describe('stored items of version 1', () => {
  it('say of a QoS 1 message that it had been sent', () => {
    const item = { pk, sk: key, v: 1, n: 1, m: bytes(`21${packed.slice(2, 60)}`) };
    const messages = messagesFromItem(item);
    expect(messages).toMatchObject([{ qos: 1, packetId: 0, released: false, sent: true }]);
    expect(itemOf(pk, { kind: 'messages', key, messages })).toEqual({ table: 'inbox', put: item });
  });

  it('are messages that share an item, and are written as ever', () => {
    const item = { pk, sk: key, v: 1, n: 2, m: bytes(packed) };
    const messages = messagesFromItem(item);
    expect(messages).toMatchObject([
      { qos: 1, packetId: 0, released: false, shared: undefined, terms: { retainAsPublished: false } },
      { qos: 1, shared: '$share/g', terms: { retainAsPublished: true, subscriptionIds: [7, 300] } },
    ]);
    const content = messages.map(({ message }) => [
      message.topic.text,
      message.payload.toString('hex'),
      message.retain,
    ]);
    expect(content).toEqual([
      ['a', '6869', false],
      ['a/b', 'ff', true],
    ]);
    expect(messages[1]!.message).toMatchObject({ publisher: 'pub', expiresAtMs: 1.8e12 });
    expect(messages[1]!.message.properties.toString('hex')).toBe('0101');
    // One of them never expires, and so the item does not.
    expect(itemOf(pk, { kind: 'messages', key, messages })).toEqual({ table: 'inbox', put: item });
  });

  it('are what is left of a QoS 2 message after PUBREC, with the message that it was', () => {
    const from = { publisher: 'pub', epoch: 5, number: 6, packetId: 7 };
    const item = { pk, sk: key, v: 1, n: 1, m: bytes(released), from };
    expect(messagesFromItem(item)).toMatchObject([{ qos: 2, packetId: 50_000, released: true, origin: from }]);
  });

  it.each([
    ['say what the publisher has sent', { publisher: 'pub', epoch: 5, number: 6, packetId: 7, hash: 0xfedcba98 }],
    ['are of a will', { publisher: 'pub', epoch: 5, number: 0, packetId: 0 }],
  ])('of QoS 2 messages %s', (_, from) => {
    const item = { pk, sk: key, v: 1, n: 1, m: bytes(qos2), from };
    const messages = messagesFromItem(item);
    expect(messages).toMatchObject([{ qos: 2, packetId: 50_000, released: false, origin: from }]);
    messages[0]!.message.origin = { ...from, again: undefined, settled: handedOn };
    expect(itemOf(pk, { kind: 'messages', key, messages })).toEqual({ table: 'inbox', put: item });
  });

  it('are packet identifiers of the present session, and none of an earlier one', () => {
    const settled = { epoch: 5, number: 3 };
    const item = { pk, sk: 'a-received', v: 1, epoch: 5, packetIds: [1, 9], settled };
    expect(receivedFromItem(item, 5)).toEqual({ packetIds: [1, 9], settled });
    expect(receivedFromItem(item, 6)).toEqual({ packetIds: [], settled: { epoch: 6, number: 0 } });
    expect(itemOf(pk, { kind: 'received', packetIds: [1, 9], epoch: 5, settled })).toEqual({
      table: 'inbox',
      put: item,
    });
  });

  it('are subscriptions, those of the present session', () => {
    const options = { qos: 1, noLocal: false, retainAsPublished: true, retainHandling: 2, id: 7 } as const;
    const item = { pk: 'acme#02', sk: 'Ln0sA6lQeuJl7PW1NWiFpT#$share/g/a/#', client: 'c', v: 1, epoch: 5, ...options };
    const route = { filter: '$share/g/a/#', ...options };
    expect([routeFromItem(item, 5), routeFromItem(item, 6)]).toEqual([route, undefined]);
    expect(itemOf(pk, { kind: 'route', route, epoch: 5 })).toEqual({ table: 'routes', put: item });
  });

  it('are subscriptions whose filter is too long for the key', () => {
    const options = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;
    const filter = 'x'.repeat(1002);
    const sk = 'Ln0sA6lQeuJl7PW1NWiFpT#\0nDwtYd9rE8hayox69IQMDm';
    const item = { pk: 'acme#02', sk, client: 'c', filter, v: 1, epoch: 5, ...options };
    expect(itemOf(pk, { kind: 'route', route: { filter, ...options }, epoch: 5 })).toEqual({
      table: 'routes',
      put: item,
    });
    expect(routeFromItem(item, 5)).toEqual({ filter, ...options });
    expect(itemOf(pk, { kind: 'unroute', filter })).toEqual({ table: 'routes', delete: { pk: 'acme#02', sk } });
    for (const wrong of [
      { ...item, filter: undefined },
      { ...item, client: undefined },
    ])
      expect(() => routeFromItem(wrong, 5)).toThrow('wrong type');
  });

  it.each([
    ['', {}],
    ['a/b', { after: 'a/b' }],
  ])('are subscriptions that are owed retained messages, behind "%s"', (owedAfter, owed) => {
    const options = { qos: 1, noLocal: false, retainAsPublished: true, retainHandling: 0, id: 0 } as const;
    const item = { pk: 'acme#02', sk: 'Ln0sA6lQeuJl7PW1NWiFpT#a/#', client: 'c', v: 1, epoch: 5, ...options, owed };
    const route = { filter: 'a/#', ...options, owedAfter };
    expect(routeFromItem(item, 5)).toEqual(route);
    expect(itemOf(pk, { kind: 'route', route, epoch: 5 })).toEqual({ table: 'routes', put: item });
    for (const wrong of ['a', null, { after: 1 }])
      expect(() => routeFromItem({ ...item, owed: wrong }, 5)).toThrow('wrong type');
  });

  it('are not taken for something else when a later version wrote them', () => {
    expect(() => messagesFromItem({ pk, sk: key, v: 2, m: bytes(packed) })).toThrow('version 2');
    expect(() => routeFromItem({ pk, sk: 'a', v: 2, epoch: 5 }, 5)).toThrow('version 2');
  });
});

/** As DynamoDB counts: names, a byte and the digits of a number in pairs, three bytes a list or map and one an entry. */
function storedBytes(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (typeof value === 'number') return 1 + Math.ceil(String(value).length / 2) + 1;
  if (Array.isArray(value)) return value.reduce<number>((sum, one) => sum + 1 + storedBytes(one), 3);
  return Object.entries(value as object).reduce((sum, [name, one]) => sum + name.length + 1 + storedBytes(one), 3);
}

it('the item of packet identifiers that were not released stays far below what DynamoDB takes', () => {
  const many = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);
  const life = { epoch: 4_000_000_000, number: 4_000_000_000 };
  const write = itemOf('t'.repeat(64) + 'c'.repeat(256), {
    kind: 'received',
    packetIds: many(unreleasedMax, 65_535),
    epoch: life.epoch,
    settled: life,
    older: many(16, life),
    again: many(1000, { ...life, packetId: 65_535 }),
  });
  expect(storedBytes('put' in write && write.put)).toBeLessThan(100_000);
});
