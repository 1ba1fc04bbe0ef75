/** Lists in pages: a `limit`, and a cursor that says after which entry to go on and is opaque to clients. */
import { Problem } from '../problems.js';

export const pageItemsMax = 200;
export const pageItemsDefault = 50;

export interface PageRequest {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface ListPage<T> {
  readonly items: T[];
  /** Missing on the last page. */
  readonly cursor?: string;
}

/** Nothing that a sort key can hold is longer. */
const positionBytesMax = 1024;

/** `list` keeps the cursor of one list from being used on another; the tenant is never part of it. */
export function encodeCursor(list: string, position: readonly [bucket: number, after: string]): string {
  return Buffer.from(JSON.stringify([list, ...position])).toString('base64url');
}

export function decodeCursor(list: string, cursor: string): readonly [bucket: number, after: string] {
  try {
    const [name, bucket, after, ...rest] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    const isValid =
      name === list &&
      rest.length === 0 &&
      Number.isSafeInteger(bucket) &&
      typeof after === 'string' &&
      after !== '' &&
      Buffer.byteLength(after) <= positionBytesMax;
    if (isValid) return [bucket as number, after];
  } catch {
    // Not ours either.
  }
  throw new Problem('invalid-cursor');
}

/** One page of `found`, which was read one entry further than the page is long. */
export function toPage<F, T>(
  list: string,
  limit: number,
  found: readonly F[],
  position: (entry: F) => readonly [bucket: number, after: string],
  view: (entry: F) => T,
): ListPage<T> {
  const items = found.slice(0, limit).map(view);
  if (found.length <= limit) return { items };
  return { items, cursor: encodeCursor(list, position(found[limit - 1]!)) };
}
