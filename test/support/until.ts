/** Waiting without sleeping: polls a condition often, fails loudly when it does not come true in time. */
export async function until(condition: () => unknown, what = 'the condition', boundMs = 5_000): Promise<void> {
  const deadline = performance.now() + boundMs;
  for (;;) {
    if (await condition()) return;
    if (performance.now() > deadline) throw new Error(`${what} did not come true within ${boundMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
