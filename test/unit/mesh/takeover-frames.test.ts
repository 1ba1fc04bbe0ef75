/** Frames of take-overs: what releases have sent is read for ever, and nothing that comes does more than be no frame. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  type AnswerFrame,
  answerBody,
  finishBody,
  giveBody,
  readAnswer,
  readFinish,
  readGive,
} from '../../../services/broker/mesh/frames/takeover.js';
import { random } from '../../support/seeds.js';

const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const id = fc.nat(2 ** 32 - 1);
const epoch = fc.maxSafeNat().map((n) => n % 2 ** 48);
const kind = fc.constantFrom<AnswerFrame['kind']>('given', 'over', 'none', 'changed', 'busy', 'finished');

it('version 1 is read and written as it was', () => {
  const give = { id: 7, beginsAnew: true, epoch: 2 ** 40 + 3, owner: 'broker-a', tenant: 'acme', clientId: 'c/\u00e4' };
  const giveHex = '00000007010100000000030008' + '62726f6b65722d61' + '000461636d65' + '0004632fc3a4';
  const finish = { id: 0xffff_fffe, epoch: 179_000_000_000, tenant: 'acme', clientId: 'c' };
  const finishHex = 'fffffffe0029ad3b3e00' + '000461636d65' + '000163';
  const answer = { id: 8, kind: 'given', epoch: 179_000_000_001 } as const;
  const answerHex = '00000008000029ad3b3e01';
  const written = [giveBody(give), finishBody(finish), answerBody(answer)];
  const hexes = [giveHex, finishHex, answerHex];
  expect(written.map((body) => body.toString('hex'))).toEqual(hexes);
  const [a, b, c] = hexes.map((hex) => Buffer.from(`${hex}a1b2`, 'hex')); // A later release appends.
  expect([readGive(a!), readFinish(b!), readAnswer(c!)]).toEqual([give, finish, answer]);
  const codes = ['given', 'over', 'none', 'changed', 'busy', 'finished'] as const;
  expect(codes.map((one) => answerBody({ id: 0, kind: one, epoch: 0 })[4])).toEqual([0, 1, 2, 3, 4, 5]);
});

it('what is written is read, and what is cut off is no frame', () => {
  const give = fc.record({ id, beginsAnew: fc.boolean(), epoch, owner: text, tenant: text, clientId: text });
  fc.assert(
    fc.property(give, fc.record({ id, kind, epoch }), fc.nat(200), (frame, answer, at) => {
      const { beginsAnew: _, owner: __, ...finish } = frame;
      const bodies = [giveBody(frame), finishBody(finish), answerBody(answer)] as const;
      expect([readGive(bodies[0]), readFinish(bodies[1]), readAnswer(bodies[2])]).toEqual([frame, finish, answer]);
      const cut = bodies.map((body) => body.subarray(0, at % body.length));
      expect([readGive(cut[0]!), readFinish(cut[1]!), readAnswer(cut[2]!)]).toEqual([undefined, undefined, undefined]);
    }),
    random(1000),
  );
});

it('any bytes are a frame or none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      for (const read of [readGive, readFinish, readAnswer]) expect(() => read(Buffer.from(bytes))).not.toThrow();
    }),
    random(1000),
  );
});
