/**
 * What brokers say to each other when a client moves from one to the other (decision 46), version 1. Every layout here is frozen:
 * `test/unit/mesh/takeover-frames.test.ts` decodes it for ever.
 *
 *      0x20 give      | id (4) | begins anew (1) | epoch (6) | owner | tenant | client
 *      0x21 finish    | id (4) | epoch (6) | tenant | client
 *      0x22 answer    | id (4) | kind (1) | epoch (6)
 *
 * Numbers are big-endian; a text is its length (2) and that many bytes of UTF-8. `id` is the asker's, for the answer to its question. A later
 * release only appends. What is malformed is no frame: whoever sent it is not answered.
 */
import { Buffer } from 'node:buffer';

export const takeoverTypes = { give: 0x20, finish: 0x21, answer: 0x22 } as const;

export interface GiveFrame {
  readonly id: number;
  readonly beginsAnew: boolean;
  /** As the record was read. */
  readonly epoch: number;
  readonly owner: string;
  readonly tenant: string;
  readonly clientId: string;
}

export interface FinishFrame {
  readonly id: number;
  readonly epoch: number;
  readonly tenant: string;
  readonly clientId: string;
}

const kinds = ['given', 'over', 'none', 'changed', 'busy', 'finished'] as const;

export interface AnswerFrame {
  readonly id: number;
  readonly kind: (typeof kinds)[number];
  /** 0, unless it is given. */
  readonly epoch: number;
}

const epochMax = 2 ** 48 - 1;
/** A client identifier has 65 535 bytes at most. */
const textBytesMax = 65_535;

export function giveBody({ id, beginsAnew, epoch, owner, tenant, clientId }: GiveFrame): Buffer {
  const fixed = Buffer.allocUnsafe(11);
  fixed.writeUInt32BE(id, 0);
  fixed[4] = beginsAnew ? 1 : 0;
  fixed.writeUIntBE(epoch, 5, 6);
  return Buffer.concat([fixed, ...[owner, tenant, clientId].map(textOf)]);
}

export function readGive(body: Buffer): GiveFrame | undefined {
  const texts = textsFrom(body, 11, 3);
  if (!texts || body[4]! > 1) return undefined;
  const [owner = '', tenant = '', clientId = ''] = texts;
  return { id: body.readUInt32BE(0), beginsAnew: body[4] === 1, epoch: body.readUIntBE(5, 6), owner, tenant, clientId };
}

export function finishBody({ id, epoch, tenant, clientId }: FinishFrame): Buffer {
  const fixed = Buffer.allocUnsafe(10);
  fixed.writeUInt32BE(id, 0);
  fixed.writeUIntBE(epoch, 4, 6);
  return Buffer.concat([fixed, ...[tenant, clientId].map(textOf)]);
}

export function readFinish(body: Buffer): FinishFrame | undefined {
  const texts = textsFrom(body, 10, 2);
  if (!texts) return undefined;
  const [tenant = '', clientId = ''] = texts;
  return { id: body.readUInt32BE(0), epoch: body.readUIntBE(4, 6), tenant, clientId };
}

export function answerBody({ id, kind, epoch }: AnswerFrame): Buffer {
  const body = Buffer.allocUnsafe(11);
  body.writeUInt32BE(id, 0);
  body[4] = kinds.indexOf(kind);
  body.writeUIntBE(Math.min(epoch, epochMax), 5, 6);
  return body;
}

export function readAnswer(body: Buffer): AnswerFrame | undefined {
  if (body.length < 11) return undefined;
  const kind = kinds[body[4]!];
  return kind && { id: body.readUInt32BE(0), kind, epoch: body.readUIntBE(5, 6) };
}

function textOf(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > textBytesMax) throw new RangeError('a text of a take-over is longer than 65535 bytes');
  const length = Buffer.allocUnsafe(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function textsFrom(body: Buffer, from: number, count: number): string[] | undefined {
  const texts: string[] = [];
  for (let at = from; texts.length < count;) {
    if (at + 2 > body.length) return undefined;
    const end = at + 2 + body.readUInt16BE(at);
    if (end > body.length) return undefined;
    texts.push(body.toString('utf8', at + 2, end));
    at = end;
  }
  return texts;
}
