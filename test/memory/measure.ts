/** What something holds, in a process that runs with --expose-gc: heap and external memory, after collecting. */
declare const gc: () => void;

/** Twice, with a turn between: array buffers are given back by a sweep in the background. */
async function settledBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

interface Filled {
  readonly counted: number;
  readonly kept: unknown;
}

export interface Held {
  readonly name: string;
  /** What the limits count. */
  readonly counted: number;
  readonly held: number;
}

/** `fill` makes something, keeps it reachable through what it returns, and says what it is counted as. */
export async function measure(name: string, fill: () => Filled | Promise<Filled>): Promise<Held> {
  await settledBytes(); // What was measured before may take a turn more to go.
  const before = await settledBytes();
  const { counted, kept } = await fill();
  const held = (await settledBytes()) - before;
  if (kept === undefined) throw new Error(`${name} keeps nothing`);
  return { name, counted, held };
}

/** What other parts of a process do meanwhile: takes small slices of Node's shared blocks, and lets them go. */
export function bustle(bytes = 3000): void {
  for (let left = bytes; left > 0; left -= 500) Buffer.allocUnsafe(500);
}
