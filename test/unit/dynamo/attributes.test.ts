/** Attribute values are those of the SDK. */
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AttributeValue,
  attributesText,
  fromAttributes,
  toAttributes,
} from '../../../services/dynamo/attributes.js';
import { random } from '../../support/seeds.js';

/** Bytes as they stand in JSON. */
function inJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(inJson);
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, inJson(one)]));
  return value;
}

const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 5 });
const bytes = fc.uint8Array({ maxLength: 20 }).map((one) => Uint8Array.from(one));
const numbers = fc.oneof(fc.maxSafeInteger(), fc.double({ noNaN: true, min: -1e15, max: 1e15 }));
const sets = fc.oneof(
  fc.uniqueArray(name, { minLength: 1, maxLength: 4 }).map((members) => new Set(members)),
  fc.uniqueArray(fc.maxSafeInteger(), { minLength: 1, maxLength: 4 }).map((members) => new Set(members)),
);
const { value: values } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    fc.string({ unit: 'grapheme', maxLength: 20 }),
    numbers,
    fc.boolean(),
    fc.constant(null),
    fc.constant(undefined),
    bytes,
    sets,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(name, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
}));
const items = fc.dictionary(name, values, { maxKeys: 6, noNullPrototype: true });

describe('attribute values', () => {
  it('are those of the SDK, and come back as what they were', () => {
    fc.assert(
      fc.property(items, (item) => {
        const sdk = marshall(item, { removeUndefinedValues: true });
        const ours = toAttributes(item);
        expect(ours).toEqual(inJson(sdk));
        expect(attributesText(item)).toBe(JSON.stringify(ours));
        expect(fromAttributes(JSON.parse(JSON.stringify(ours)) as Record<string, AttributeValue>)).toEqual(
          unmarshall(sdk),
        );
      }),
      random(500),
    );
  });
});

describe('what DynamoDB does not store', () => {
  it.each([
    ['a number that is not one', Number.NaN],
    ['a number without an end', Number.POSITIVE_INFINITY],
    ['a number that JavaScript has rounded', 2 ** 53 + 2],
    ['a set of nothing', new Set()],
    ['a date', new Date(0)],
  ])('%s is refused, as the SDK does', (_, value) => {
    expect(() => marshall({ value }, { removeUndefinedValues: true })).toThrow();
    expect(() => toAttributes({ value })).toThrow();
  });

  it.each([
    ['a set of this and that', new Set(['a', 1])],
    ['a function', () => undefined],
  ])('%s is refused, where the SDK finds something to store', (_, value) => {
    expect(() => toAttributes({ value })).toThrow(/DynamoDB stores no/);
  });

  it('reads a whole number that JavaScript would round as a BigInt', () => {
    expect(fromAttributes({ n: { N: '9007199254740993' } })).toEqual({ n: 9007199254740993n });
    expect(unmarshall({ n: { N: '9007199254740993' } })).toEqual({ n: 9007199254740993n });
  });
});
