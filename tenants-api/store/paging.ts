/**
 * Lists in pages: a `limit`, and a cursor that says after which entry to go on and is opaque to clients.
 *
 * A cursor is sealed: only what this list gave, to this tenant, is taken back, in the very form in which it was given. The
 * seal is no secret and opens nothing, as every page is read below the tenant's own keys; whoever computes one still meets
 * `isPosition`, so that the database is never asked for what cannot be a key.
 */
import { createHmac } from 'node:crypto';
import type { TenantScope } from '../../services/kernel/kernel.js';
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

/** Where an entry stands: lists over several partitions count them. */
export type Position = readonly [bucket: number, after: string];

/** One list of one tenant. */
export interface List {
  readonly name: string;
  readonly scope: TenantScope;
  /** Whether an entry can stand there. It may have gone since. */
  isPosition(position: Position): boolean;
}

const sealBytes = 12;

export function encodeCursor({ name, scope }: Pick<List, 'name' | 'scope'>, position: Position): string {
  const seal = createHmac('sha256', scope)
    .update(JSON.stringify([name, ...position]))
    .digest('base64url')
    .slice(0, (sealBytes * 4) / 3);
  return Buffer.from(JSON.stringify([...position, seal])).toString('base64url');
}

export function decodeCursor(list: List, cursor: string): Position {
  const position = positionIn(cursor);
  if (position === undefined || encodeCursor(list, position) !== cursor || !list.isPosition(position))
    throw new Problem('invalid-cursor');
  return position;
}

function positionIn(cursor: string): Position | undefined {
  try {
    const [bucket, after] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    return typeof bucket === 'number' && typeof after === 'string' ? [bucket, after] : undefined;
  } catch {
    return undefined;
  }
}

/** One page of `found`, which was read one entry further than the page is long. */
export function toPage<F, T>(
  list: List,
  limit: number,
  found: readonly F[],
  position: (entry: F) => Position,
  view: (entry: F) => T,
): ListPage<T> {
  const items = found.slice(0, limit).map(view);
  if (found.length <= limit) return { items };
  return { items, cursor: encodeCursor(list, position(found[limit - 1]!)) };
}
