/** Answers of HTTP, in pieces of any size, and what is none. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Answer, AnswerReader, headerOf, NotHttp } from '../../../services/dynamo/answer.js';
import { random } from '../../support/seeds.js';

const body = '{"Item":{"t":{"S":"schön\\n"}}}';
const bytes = Buffer.byteLength(body);
const withLength = `HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: ${bytes}\r\nx-amzn-RequestId: A1\r\n\r\n${body}`;
const inChunks = (...pieces: string[]): string =>
  `HTTP/1.1 400 Bad Request\r\ntransfer-encoding: Chunked\r\n\r\n${pieces
    .map((piece) => `${Buffer.byteLength(piece).toString(16)};name=value\r\n${piece}\r\n`)
    .join('')}0\r\ntrailer: x\r\n\r\n`;

function read(text: string | Buffer, sizes: readonly number[] = [Infinity]): Answer | undefined {
  const reader = new AnswerReader();
  const all = Buffer.from(text as string);
  let answer: Answer | undefined;
  for (let at = 0, i = 0; at < all.length; i++) {
    const piece = Buffer.from(all.subarray(at, at + sizes[i % sizes.length]!));
    at += piece.length;
    answer = reader.read(piece);
    piece.fill(0); // What has been read is not looked at again.
    if (answer && at < all.length) throw new Error(`complete ${all.length - at} bytes too early`);
  }
  return answer;
}

const answers: readonly (readonly [what: string, text: string, expected: Partial<Answer>])[] = [
  ['with a length', withLength, { status: 200, body, goesOn: true }],
  ['without a body', 'HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n', { status: 500, body: '', goesOn: true }],
  ['without words', 'HTTP/1.1 503\r\ncontent-length:1 \r\n\r\nx', { status: 503, body: 'x' }],
  ['in chunks', inChunks('{"a":', '"schön', '"}'), { status: 400, body: '{"a":"schön"}', goesOn: true }],
  ['in no chunk', inChunks(), { status: 400, body: '' }],
  ['the last', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx', { body: 'x', goesOn: false }],
  ['of old', 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx', { body: 'x', goesOn: false }],
];

describe.each(answers)('an answer %s', (_, text, expected) => {
  test('is the same in pieces of any size', () => {
    expect(read(text)).toMatchObject(expected);
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(sizes, (some) => {
        expect(read(text, some)).toMatchObject(expected);
      }),
      random(100),
    );
    expect(read(text, [1])).toMatchObject(expected);
  });
});

test('one reader reads one answer after the other', () => {
  const reader = new AnswerReader();
  for (const text of [withLength, inChunks('a', 'b'), withLength]) expect(reader.read(Buffer.from(text))).toBeDefined();
});

test('headers are found whatever their case, and nowhere else', () => {
  const { head } = read(withLength)!;
  expect(headerOf(head, 'x-amzn-requestid')).toBe('A1');
  expect(headerOf(head, 'amzn-requestid')).toBeUndefined();
  expect(headerOf(head, 'item')).toBeUndefined();
});

const ok = 'HTTP/1.1 200 OK\r\n';
const chunked = `${ok}transfer-encoding: chunked\r\n\r\n`;
test.each([
  ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['an alert of TLS', Buffer.from([0x15, 3, 1, 0, 2, 2, 0x16])],
  ['another version', 'HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n'],
  ['an answer before the answer', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ['no length', `${ok}server: x\r\n\r\n`],
  ['a length that is none', `${ok}content-length: -1\r\n\r\n`],
  ['a length beyond all bounds', `${ok}content-length: 999999999999\r\n\r\n`],
  ['more than the length', `${ok}content-length: 1\r\n\r\nxy`],
  ['another encoding', `${ok}transfer-encoding: gzip, chunked\r\n\r\n`],
  ['a chunk without a size', `${chunked}x\r\n`],
  ['chunks beyond all bounds', `${chunked}ffffffff\r\n`],
  ['a chunk that is longer than it says', `${chunked}1\r\nxyz\r\n`],
  ['a line between chunks without an end', `${chunked}${'1'.repeat(300)}`],
  ['more than the chunks', `${chunked}0\r\n\r\nx`],
  ['a head without an end', `${ok}${'x: y\r\n'.repeat(5000)}`],
])('%s is refused', (_, text) => {
  expect(() => read(text)).toThrow(NotHttp);
});
