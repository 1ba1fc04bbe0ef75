/** Runs once before the tests: bundles the processes into `dist/`, so that tests start what `npm start` starts. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

export default function bundle(): void {
  const root = join(import.meta.dirname, '..');
  execFileSync(process.execPath, ['services/local/bundle.mjs'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
}
