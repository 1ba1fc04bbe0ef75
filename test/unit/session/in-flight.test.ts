import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InFlight, type Numbered } from '../../../services/broker/session/in-flight.js';

const send = (ring: InFlight<Numbered>, heldBytes = 1): Numbered => {
  const item = { packetId: ring.nextPacketId(), sequence: 0, message: { heldBytes } };
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

  it('knows what it takes to hold them', () => {
    const ring = new InFlight();
    const [one, two] = [send(ring, 300), send(ring, 40)];
    expect(ring.bytes).toBe(340);
    ring.delete(one.packetId);
    ring.delete(one.packetId);
    expect(ring.bytes).toBe(40);
    ring.delete(two.packetId);
    expect(ring.bytes).toBe(0);
  });

  it('takes as many as half of the identifiers, and goes on after it was empty', () => {
    const ring = new InFlight<Numbered>();
    for (let round = 0; round < 3; round++) {
      const sent = Array.from({ length: 16_383 }, () => send(ring));
      expect(new Set(sent.map(({ packetId }) => packetId)).size).toBe(16_383);
      expect(ring.inOrder()).toEqual(sent);
      for (const { packetId } of sent) ring.delete(packetId);
      expect(ring.inOrder()).toEqual([]);
    }
    // Identifiers do not begin again: an acknowledgement on its way must not meet another message.
    expect(send(ring).packetId).toBe(3 * 16_383 + 1);
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
