/** A tenant that takes all the memory it can get costs its neighbour nothing, and the process lives (see `hoarder.ts`). */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('the process does not run out of memory, and the neighbour is served', { timeout: 60_000 }, async () => {
  const program = join(import.meta.dirname, 'hoarder.ts');
  const options = ['--max-old-space-size=96', '--import', 'tsx', program];
  const { stdout } = await promisify(execFile)(process.execPath, options);
  expect(JSON.parse(stdout)).toEqual({ served: 300, refused: true, shed: true, neighbourClosed: false });
});
