import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BoundedFifo } from '../../../services/kernel/kernel.js';
import { random, seed } from '../../support/seeds.js';

const sizeOf = (item: { bytes: number }): number => item.bytes;

describe(`BoundedFifo (seed ${seed})`, () => {
  it('does what a plain array with two bounds does', () => {
    const command = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant('push' as const), bytes: fc.nat(40) }) },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('shift' as const), bytes: fc.constant(0) }) },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constantFrom('extract' as const, 'clear' as const), bytes: fc.nat(40) }),
      },
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), fc.nat(20), fc.nat(400), (commands, itemsMax, bytesMax) => {
        const fifo = new BoundedFifo<{ bytes: number }>({ itemsMax, bytesMax }, sizeOf);
        let model: { bytes: number }[] = [];
        const total = (): number => model.reduce((sum, { bytes }) => sum + bytes, 0);
        for (const { do: what, bytes } of commands) {
          if (what === 'push') {
            const fits = model.length < itemsMax && total() + bytes <= bytesMax;
            const item = { bytes };
            expect(fifo.push(item)).toBe(fits);
            if (fits) model.push(item);
          } else if (what === 'shift') expect(fifo.shift()).toBe(model.shift());
          else if (what === 'clear') {
            fifo.clear();
            model = [];
          } else {
            const large = (item: { bytes: number }): boolean => item.bytes > bytes;
            expect(fifo.extract(large)).toEqual(model.filter(large));
            model = model.filter((item) => !large(item));
          }
          expect([...fifo]).toEqual(model);
          expect([fifo.length, fifo.bytes, fifo.peek()]).toEqual([model.length, total(), model[0]]);
        }
      }),
      random(200),
    );
  });

  it('keeps its order over many times its size', () => {
    const fifo = new BoundedFifo<number>({ itemsMax: 3000, bytesMax: Infinity }, () => 1);
    let taken = 0;
    for (let pushed = 0; pushed < 20_000; pushed++) {
      if (!fifo.push(pushed)) {
        for (let i = 0; i < 2500; i++) expect(fifo.shift()).toBe(taken++);
        expect(fifo.push(pushed)).toBe(true);
      }
    }
    expect([...fifo].at(-1)).toBe(19_999);
  });
});
