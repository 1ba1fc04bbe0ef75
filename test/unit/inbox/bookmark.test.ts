import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { before, keyOf } from '../../../services/broker/inbox/bookmark.js';
import { random, seed } from '../../support/seeds.js';

const number = fc.oneof(fc.nat(0xff_ffff_ffff), fc.nat(300), fc.constantFrom(0, 0xff_ffff_ffff));

describe(`keys of stored messages (seed ${seed})`, () => {
  it('are epoch and counter in hex, and stand in that order', () => {
    fc.assert(
      fc.property(number, number, number, number, (epoch, counter, other, another) => {
        const hex = (value: number): string => value.toString(16).padStart(10, '0');
        expect(keyOf(epoch, counter)).toBe(`m${hex(epoch)}${hex(counter)}`);
        const order = epoch - other || counter - another;
        expect(keyOf(epoch, counter) < keyOf(other, another)).toBe(order < 0);
        expect(before(keyOf(epoch, counter + 1))).toBe(keyOf(epoch, counter));
      }),
      random(300),
    );
  });
});
