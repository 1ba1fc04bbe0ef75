/** What limits of memory count is what the process holds, measured in a process of its own (see `held.ts`). */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { Held } from './measure.js';

it('what limits count is what is held, within a factor of two', { timeout: 120_000 }, async () => {
  const program = join(import.meta.dirname, 'held.ts');
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', program]);
  const all = JSON.parse(stdout) as Held[];
  expect(all.length).toBeGreaterThan(10);
  const wrong = all.filter(({ counted, held }) => held > counted * 2 || held < counted / 2.5);
  expect(wrong).toEqual([]);
});
