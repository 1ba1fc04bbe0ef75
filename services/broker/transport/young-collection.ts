/**
 * Large reads are buffers outside of V8's heap, 64 KB each, and garbage a moment later. V8 frees them with the next collection of its
 * young generation, which comes when that is full of objects, and the fewer of these a message makes, the later. Meanwhile each
 * read goes to memory that no cache has, and that grows until V8 collects everything. So when it has grown by 8 MB the young
 * generation is collected, which takes little: hardly anything in it lives. 1 to 1 QoS 0 is a third faster by that
 * (`npm run bench -- --only 1to1-qos0`).
 *
 * Where objects come and live for a while (QoS 1), V8 collects often enough by itself, and a collection more would only move them
 * on to where they are freed late: then nothing is done here but to look, once in 1 MB of large reads, for some 2 us.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const lookEveryBytes = 1 << 20;
const growthMax = 8 << 20;

type Collect = (options: { readonly type: 'minor' }) => void;

function findCollect(): Collect | undefined {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  return typeof collect === 'function' ? (collect as Collect) : undefined;
}

const collect = findCollect();
let bytes = 0;
/** The least that was seen since the last collection from here. */
let leastOutside = Infinity;

/** So many bytes have been read into a buffer of their own. */
export function hasReadInto(length: number): void {
  bytes += length;
  if (bytes < lookEveryBytes) return;
  bytes = 0;
  const outside = getHeapStatistics().external_memory;
  leastOutside = Math.min(leastOutside, outside);
  if (outside - leastOutside < growthMax) return;
  collect?.({ type: 'minor' });
  leastOutside = getHeapStatistics().external_memory;
}
