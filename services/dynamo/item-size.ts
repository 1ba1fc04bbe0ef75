/** How large an item is as DynamoDB counts it: what it takes to write it is that in KB, rounded up. */
import type { Item } from './tables.js';

/** To within a few bytes: a number takes 2 to 21, and is taken for 8. */
export function itemBytes(item: Item): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(item)) if (value !== undefined) bytes += name.length + valueBytes(value);
  return bytes;
}

function valueBytes(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (typeof value === 'number') return 8;
  if (value instanceof Uint8Array) return value.byteLength;
  if (typeof value !== 'object' || value === null) return 1;
  if (!Array.isArray(value) && !(value instanceof Set)) return 3 + itemBytes(value as Item);
  let bytes = 3;
  for (const one of value as Iterable<unknown>) bytes += 1 + valueBytes(one);
  return bytes;
}
