/** Takes a step for each item, `max` of them at the same time. Rejects with the first that fails; those under way go on. */
export async function atOnce<T>(items: Iterable<T>, max: number, step: (item: T) => Promise<void>): Promise<void> {
  const left = items[Symbol.iterator]();
  const take = async (): Promise<void> => {
    for (let next = left.next(); next.done !== true; next = left.next()) await step(next.value);
  };
  await Promise.all(Array.from({ length: max }, take));
}
