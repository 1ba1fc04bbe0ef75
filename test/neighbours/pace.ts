/** Work at a pace that does not depend on how fast it is answered. */

const tickMs = 10;

/** Open loop: what is due is done, however late, and whatever has become of what was done before. */
export function every(perSecond: number, act: (n: number) => void): void {
  const startedMs = performance.now();
  let done = 0;
  setInterval(() => {
    const due = Math.floor(((performance.now() - startedMs) / 1000) * perSecond);
    while (done < due) act(done++);
  }, tickMs);
}

/** `count` times, so many of them at once, and no longer than `boundMs` in all. */
export async function many(
  count: number,
  atOnce: number,
  boundMs: number,
  act: (n: number) => Promise<void>,
): Promise<number> {
  const endMs = performance.now() + boundMs;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count && performance.now() < endMs) await act(next++);
  };
  await Promise.all(Array.from({ length: Math.min(count, atOnce) }, worker));
  return next;
}

/** The promise, or undefined when it takes longer. */
export function atMost<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  return Promise.race([promise, new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), ms))]);
}
