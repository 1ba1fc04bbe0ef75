import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InFlight, type Numbered } from '../../../services/broker/session/in-flight.js';

const send = (ring: InFlight<Numbered>): Numbered => {
  const item = { packetId: ring.nextPacketId(), sequence: 0 };
  ring.add(item);
  return item;
};

describe('messages in flight', () => {
  it('gives out identifiers from 1 to 65 535 and starts again', () => {
    const ring = new InFlight();
    for (let wanted = 1; wanted <= 65_535; wanted++) {
      const { packetId } = send(ring);
      expect(packetId).toBe(wanted);
      ring.delete(packetId);
    }
    expect(send(ring).packetId).toBe(1);
  });

  it('never gives out an identifier that is taken', () => {
    const ring = new InFlight();
    const stuck = send(ring);
    for (let i = 0; i < 70_000; i++) {
      const { packetId } = send(ring);
      expect(packetId).not.toBe(stuck.packetId);
      ring.delete(packetId);
    }
    expect(ring.get(stuck.packetId)).toBe(stuck);
    expect(ring.size).toBe(1);
    const young = send(ring);
    expect(ring.inOrder()).toEqual([stuck, young]);
  });

  it('keeps the order of sending over growth and wrap, whatever is finished in between', () => {
    fc.assert(
      fc.property(fc.nat(65_534), fc.array(fc.nat(300), { maxLength: 600 }), (before, script) => {
        const ring = new InFlight<Numbered>();
        for (let i = 0; i < before; i++) ring.delete(send(ring).packetId);
        const model: Numbered[] = [];
        for (const step of script)
          if (step % 3 > 0 && model.length < 256) model.push(send(ring));
          else if (model.length > 0) ring.delete(model.splice(step % model.length, 1)[0]!.packetId);
        expect(ring.inOrder()).toEqual(model);
        expect(ring.size).toBe(model.length);
        for (const item of model) expect(ring.get(item.packetId)).toBe(item);
      }),
      { numRuns: 40 },
    );
  });
});
