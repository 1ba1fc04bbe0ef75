/** The checks of the crash tests on made-up histories: what keeps the promises passes, each broken promise is found. */
import { expect, test } from 'vitest';
import { type Broken, check, matches, missing, totals } from '../../crash/checks.js';
import { type Entry, type Happening, keyOf } from '../../crash/history.js';
import { describe } from '../../crash/report.js';

const topic = 'load/a';
const key = (n: number, publisher = 'p'): string => keyOf(publisher, topic, n);
const history = (...parts: (Happening | Happening[])[]): Entry[] =>
  parts.flat().map((happening, atMs) => ({ ...happening, atMs }));

const subscribed = (client: string, qos = 2, group?: string): Happening => ({
  type: 'subscribed',
  client,
  filter: 'load/#',
  qos,
  ...(group !== undefined && { group }),
});
const sent = (n: number, qos = 2): Happening => ({ type: 'sent', client: 'p', key: key(n), topic, n, qos });
const sentAgain = (n: number, qos = 2): Happening => ({ ...(sent(n, qos) as object), again: true }) as Happening;
const acknowledged = (n: number): Happening => ({ type: 'acknowledged', client: 'p', key: key(n), by: 'broker' });
const published = (n: number, qos = 2): Happening[] => [sent(n, qos), acknowledged(n)];
const arrived = (client: string, n: number): Happening => ({
  type: 'arrived',
  client,
  key: key(n),
  qos: 2,
  dup: false,
});
const killed: Happening = { type: 'harness', what: 'killed' };

const kinds = (entries: Entry[]): Broken[] => check(entries).map(({ broken }) => broken);

const kept: Record<string, Entry[]> = {
  'each once and in order': history(
    [subscribed('a'), subscribed('b')],
    [1, 2, 3].flatMap((n) => [...published(n), arrived('a', n), arrived('b', n)]),
  ),
  'sent again after a crash, arrived once': history([
    subscribed('a'),
    sent(1),
    killed,
    sentAgain(1),
    acknowledged(1),
    arrived('a', 1),
  ]),
  'not acknowledged, not arrived': history(subscribed('a'), sent(1)),
  'sent before the subscription': history(published(1), subscribed('a')),
  'a repetition of QoS 1': history(subscribed('a'), published(1, 1), arrived('a', 1), arrived('a', 1)),
  'a repetition at a subscription of QoS 1': history(
    subscribed('a', 1),
    published(1),
    arrived('a', 1),
    arrived('a', 1),
  ),
  'QoS 1 starts over from an older message': history(
    [subscribed('a', 1), published(1, 1), published(2, 1)].flat(),
    [1, 2, 1, 2].map((n) => arrived('a', n)),
  ),
  'one member of a group': history(
    [subscribed('a', 1, 'g'), subscribed('b', 1, 'g')],
    [published(1), published(2)].flat(),
    [arrived('b', 2), arrived('a', 1)],
  ),
  'another topic': history({ ...(subscribed('a') as object), filter: 'other/#' } as Happening, published(1)),
  'the session is there': history({ type: 'connected', client: 'a', by: 'broker', present: true, expected: true }),
};

test.each(Object.entries(kept))('accepts: %s', (_, entries) => {
  expect(check(entries)).toEqual([]);
});

const broken: Record<string, readonly [Broken, Entry[]]> = {
  'an acknowledged message that never arrives': [
    'lost',
    history(subscribed('a'), published(1), published(2), arrived('a', 2)),
  ],
  'one that arrives at one of two subscribers': [
    'lost',
    history(subscribed('a'), subscribed('b'), published(1), arrived('a', 1)),
  ],
  'one that arrives at no member of a group': [
    'lost',
    history([subscribed('a', 1, 'g'), subscribed('b', 1, 'g'), subscribed('c')], published(1), arrived('c', 1)),
  ],
  'one that was acknowledged by the broker before a crash': [
    'lost',
    history(subscribed('a'), published(1), killed, sent(2), acknowledged(2), arrived('a', 2)),
  ],
  'QoS 2 twice': ['twice', history(subscribed('a'), published(1), arrived('a', 1), killed, arrived('a', 1))],
  'QoS 2 at two members of a group': [
    'twice',
    history([subscribed('a', 2, 'g'), subscribed('b', 2, 'g')], published(1), arrived('a', 1), killed, arrived('b', 1)),
  ],
  'a newer one first': [
    'out of order',
    history(subscribed('a'), published(1), published(2), arrived('a', 2), arrived('a', 1)),
  ],
  'a newer one first, of QoS 1 and repeated': [
    'out of order',
    history(
      subscribed('a', 1),
      published(1, 1),
      published(2, 1),
      [2, 1, 2].map((n) => arrived('a', n)),
    ),
  ],
  'a message out of nothing': ['never published', history(subscribed('a'), arrived('a', 7))],
  'an acknowledgement out of nothing': ['never published', history(acknowledged(7))],
  'a session that is gone': [
    'session lost',
    history({ type: 'connected', client: 'a', by: 'broker', present: false, expected: true }),
  ],
  'a refused message': ['refused', history(sent(1), { type: 'refused', client: 'p', key: key(1), code: 0x97 })],
  'a cancelled will': [
    'cancelled will published',
    history(sent(1), { type: 'cancelled', client: 'p', key: key(1) }, arrived('a', 1)),
  ],
  'an older retained message': ['retained lost', history({ type: 'retained', topic: 't', n: 3, acknowledged: 4 })],
  'a broken packet': ['protocol fault', history({ type: 'fault', client: 'a', what: 'packet identifier 0' })],
};

test.each(Object.entries(broken))('finds: %s', (_, [kind, entries]) => {
  expect(kinds(entries)).toEqual([kind]);
});

test('what is missing is told while it may still come', () => {
  const before = history(subscribed('a'), published(1), published(2), arrived('a', 1));
  expect(missing(before).map((one) => one.key)).toEqual([key(2)]);
  expect(missing([...before, ...history(arrived('a', 2))])).toEqual([]);
});

test('a will is promised once its connection has ended, and has no order', () => {
  const will = (n: number): Happening => ({ ...(sent(n, 1) as object), will: true }) as Happening;
  const wills = [will(1), acknowledged(1), will(2), acknowledged(2)];
  expect(kinds(history(subscribed('a', 1), wills, arrived('a', 2), arrived('a', 1)))).toEqual([]);
  expect(kinds(history(subscribed('a', 1), wills, arrived('a', 2)))).toEqual(['lost']);
});

test('a report tells the history of the message concerned', () => {
  const entries = history(subscribed('a'), published(1), killed, published(2), arrived('a', 2));
  const report = describe(entries, check(entries), 'seed 7');
  expect(report).toContain('seed 7');
  expect(report).toContain(`lost: 1 (a), the first: ${key(1)}`);
  expect(report).toMatch(/subscribed client=a[^]*sent client=p key=p load\/a 1[^]*acknowledged[^]*killed/);
  expect(report).not.toContain(key(2));
});

test('counts what was sent and what came again', () => {
  const entries = history(subscribed('a', 1), published(1, 1), sent(2), arrived('a', 1), arrived('a', 1));
  expect(totals(entries)).toEqual({ sent: 2, acknowledged: 1, arrived: 2, repeated: 1, connections: 0 });
});

test.each([
  ['#', 'a/b', true],
  ['a/#', 'a', true],
  ['a/+', 'a/b', true],
  ['a/+', 'a/b/c', false],
  ['a/+/c', 'a/b/c', true],
  ['a/b', 'a', false],
  ['a', 'a/b', false],
])('%s matches %s: %s', (filter, name, expected) => {
  expect(matches(filter, name)).toBe(expected);
});
