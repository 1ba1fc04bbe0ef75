/** Signatures are those of the SDK's own signer. */
import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { contentType, type Credentials, Signer } from '../../../services/dynamo/signature.js';
import { random } from '../../support/seeds.js';

/** As the SDK's signer wants it. */
class Sha256 {
  readonly #hash;
  constructor(secret?: unknown) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as string);
  }
  update(bytes: unknown): void {
    this.#hash.update(bytes as string);
  }
  digest(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(this.#hash.digest()));
  }
}

const word = fc.stringMatching(/^[A-Za-z0-9/+=]{1,60}$/);
const requests = fc.record({
  host: fc.constantFrom('dynamodb.eu-central-1.amazonaws.com', '127.0.0.1:8000'),
  path: fc.constantFrom('/', '/behind/a-path'),
  target: fc.constantFrom('DynamoDB_20120810.PutItem', 'DynamoDB_20120810.BatchWriteItem'),
  body: fc.string({ unit: 'grapheme', maxLength: 200 }),
});
const credentials = fc.record({
  accessKeyId: word,
  secretAccessKey: word,
  sessionToken: fc.option(word, { nil: undefined }),
});
const times = fc.date({ min: new Date('2020-01-01'), max: new Date('2040-01-01'), noInvalidDate: true });

test('are those of the SDK, with keys that change', async () => {
  const signer = new Signer('eu-central-1'); // One for all, since it remembers keys.
  const property = fc.asyncProperty(requests, credentials, times, async (request, who, date) => {
    const lines = signer.sign(request, who, date.getTime()).split('\r\n');
    expect(lines.pop()).toBe('');
    const headers = Object.fromEntries(lines.map((line) => line.split(/: (.*)/, 2)));
    const oracle = new SignatureV4({
      service: 'dynamodb',
      region: 'eu-central-1',
      credentials: who as Credentials & { sessionToken: string },
      sha256: Sha256,
      uriEscapePath: false,
      applyChecksum: false,
    });
    const { host, path, target, body } = request;
    const plain = {
      method: 'POST',
      protocol: 'https:',
      hostname: host,
      path,
      query: {},
      headers: { host, 'content-type': contentType, 'x-amz-target': target },
      body,
    };
    const signed = await oracle.sign(plain, { signingDate: date });
    expect(headers).toEqual(signed.headers);
    expect(lines[0]).toBe(`host: ${host}`);
  });
  await fc.assert(property, random(300));
});
