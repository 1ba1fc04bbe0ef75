/**
 * A copy in memory of its own, for whatever is kept. `Buffer.from`, `Buffer.concat` and `Buffer.allocUnsafe` give slices
 * of a shared block of 8 KB when they are small, and one slice that is kept keeps all of it: 8 KB for a topic name of 20
 * bytes. Up to 64 bytes lie on the heap (as V8 does with small typed arrays) and cost no more than a slice does; above
 * that a copy costs about a microsecond more (decision 13).
 */
const loopBytesMax = 96;

export function ownBytes(source: Uint8Array, start = 0, end = source.length): Buffer {
  const own = Buffer.allocUnsafeSlow(end - start);
  // A loop beats the call into the runtime for short ranges.
  if (own.length > loopBytesMax) own.set(start === 0 && end === source.length ? source : source.subarray(start, end));
  else for (let i = 0; i < own.length; i++) own[i] = source[start + i]!;
  return own;
}
