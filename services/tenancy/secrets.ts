/**
 * Secrets: made here, shown once, stored as a hash only. A generated secret has 192 random bits, which no one
 * guesses, so that a plain SHA-256 does; a password that a person chose is stretched with scrypt. The stored text
 * carries its algorithm and parameters, so that they can change while old hashes stay valid.
 */
import { hash as hashOnce, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

declare const brand: unique symbol;
/** `sha256$<hash>` or `scrypt$<log2 N>$<r>$<p>$<salt>$<hash>`, base64url. Safe to store, not to show. */
export type SecretHash = string & { readonly [brand]: 'SecretHash' };

const sha256Prefix = 'sha256$';
const secretBytes = 24;
const saltBytes = 16;
const hashBytes = 32;
/** N = 2^14, r = 8, p = 1: 16 MB and about 27 ms a check, off the event loop. */
const scryptCost = { log2n: 14, r: 8, p: 1 };
/** More than this in a stored hash would be an attack on our memory: 2^17 with r = 8 takes 128 MB. */
const log2nMax = 17;

export const chosenPasswordCharactersMin = 12;
/** Long enough for any passphrase, short enough to hash at once. */
export const chosenPasswordCharactersMax = 256;

/** 32 characters of base64url. */
export function generateSecret(): string {
  return randomBytes(secretBytes).toString('base64url');
}

export async function hashSecret(secret: string, kind: 'generated' | 'chosen'): Promise<SecretHash> {
  if (kind === 'generated') return (sha256Prefix + sha256(secret)) as SecretHash;
  const { log2n, r, p } = scryptCost;
  const salt = randomBytes(saltBytes);
  const hash = await stretch(secret, salt, log2n, r, p);
  return ['scrypt', log2n, r, p, salt.toString('base64url'), hash.toString('base64url')].join('$') as SecretHash;
}

/** Whether to check it costs a thread many milliseconds. */
export const isStretched = (hash: SecretHash): boolean => hash.startsWith('scrypt$');

/** `verifySecret` of one that was generated, at once: a hash that is there and not stretched. */
export function isGeneratedSecret(secret: string, hash: SecretHash | ''): boolean {
  return isSameText(sha256Prefix + sha256(secret), hash);
}

/**
 * Whether the secret is the one that was hashed, in a time that does not depend on where they differ. Without a hash
 * (nobody has that name) the answer is no, after the work of a generated secret.
 */
export async function verifySecret(secret: string, hash: SecretHash | undefined): Promise<boolean> {
  if (hash === undefined || hash.startsWith(sha256Prefix)) return isGeneratedSecret(secret, hash ?? '');
  const [algorithm, ...fields] = hash.split('$');
  if (algorithm !== 'scrypt' || fields.length !== 5) return false;
  const [log2n, r, p] = fields.slice(0, 3).map(Number) as [number, number, number];
  const isSane = [log2n, r, p].every((n) => Number.isInteger(n) && n > 0) && log2n <= log2nMax && r <= 16 && p <= 4;
  if (!isSane) return false;
  return isEqual(await stretch(secret, Buffer.from(fields[3]!, 'base64url'), log2n, r, p), fields[4]!);
}

/** Of its UTF-8, in base64url. With each CONNECT: a buffer would take Node longer than the hash does. */
function sha256(secret: string): string {
  return hashOnce('sha256', secret, 'base64url');
}

function isSameText(actual: string, expected: string): boolean {
  const [one, other] = [Buffer.from(actual, 'latin1'), Buffer.from(expected, 'latin1')];
  return one.length === other.length ? timingSafeEqual(one, other) : !timingSafeEqual(one, one);
}

function isEqual(actual: Buffer, expectedBase64url: string): boolean {
  const expected = Buffer.from(expectedBase64url, 'base64url');
  if (expected.length !== actual.length) {
    timingSafeEqual(actual, actual);
    return false;
  }
  return timingSafeEqual(actual, expected);
}

function stretch(secret: string, salt: Buffer, log2n: number, r: number, p: number): Promise<Buffer> {
  const options = { N: 2 ** log2n, r, p, maxmem: 2 * 128 * 2 ** log2n * r };
  return new Promise((resolve, reject) =>
    scrypt(secret, salt, hashBytes, options, (error, hash) => (error ? reject(error) : resolve(hash))),
  );
}
