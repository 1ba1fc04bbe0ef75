/**
 * Waiting without sleeping: polls a condition often, fails loudly when it does not come true in time. The bound only says
 * when to give up, and leaves a busy machine its time; it stays below that of a test.
 */
export async function until(condition: () => unknown, what = 'the condition', boundMs = 15_000): Promise<void> {
  const deadline = performance.now() + boundMs;
  for (;;) {
    if (await condition()) return;
    if (performance.now() > deadline) throw new Error(`${what} did not come true within ${boundMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
