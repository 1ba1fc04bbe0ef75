import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Shape } from '../../../services/broker/interest/shape.js';
import { filterMatches, topicFilterError } from '../../../services/topic/topic.js';
import { random } from '../../support/seeds.js';

const level = fc.constantFrom('a', 'b', 'ab', '', '$s', 'ü');
const topics = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'));
const filters = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 5 }), fc.boolean())
  .map(([levels, isOpen]) => (isOpen ? [...levels, '#'] : levels).join('/'))
  .filter((filter) => topicFilterError(filter) === undefined);

function isSame(filter: string, topic: string): boolean {
  const shape = Shape.of(filter);
  const { high, low } = shape.ofFilter(filter);
  const print = shape.ofTopic(topic);
  return print?.high === high && print.low === low;
}

describe('fingerprints by shape', () => {
  it('say of every filter and topic what the specification says', () => {
    fc.assert(
      fc.property(filters, topics, (filter, topic) => {
        expect(isSame(filter, topic)).toBe(filterMatches(filter, topic));
      }),
      random(20_000),
    );
  });

  it('are 64 bits that differ for a million filters that differ in one level', () => {
    const shape = Shape.of('devices/+/0');
    const prints = new Set<string>();
    for (let i = 0; i < 1_000_000; i++) {
      const { high, low } = shape.ofFilter(`devices/+/${i}`);
      prints.add(String.fromCharCode(high >>> 16, high & 0xffff, low >>> 16, low & 0xffff));
    }
    expect(prints.size).toBe(1_000_000);
  });

  it.each(['', '+0', '#0', '+1,#3', '+0,+1,+127'])('the shape %j is told and read again', (pattern) => {
    expect(Shape.parse(pattern)?.pattern).toBe(pattern);
  });

  it.each([
    'a',
    '+',
    '#',
    '+-1',
    '+01',
    '+1,+1',
    '+2,+1',
    '#1,+2',
    '#1,#2',
    '+1.5',
    '+1e1',
    '+99999',
    '+1,',
    ',',
    '*1',
  ])('another broker says %j: that is no shape', (pattern) => {
    expect(Shape.parse(pattern)).toBeUndefined();
  });
});
