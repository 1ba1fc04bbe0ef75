/** What an idle connection takes is bounded: of a process with 50 000 of them it is most (see `idle.ts`). */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** With one subscription. A kilobyte is the socket of Node.js, and half of one are tables that double their size, and code. */
const bytesMax = 4700;

it(`an idle connection takes at most ${bytesMax} bytes of the heap`, { timeout: 120_000 }, async () => {
  const program = join(import.meta.dirname, 'idle.ts');
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', program]);
  const { open, bytes } = JSON.parse(stdout) as { open: number; bytes: number };
  expect(open).toBe(2500);
  expect(bytes).toBeLessThan(bytesMax);
});
