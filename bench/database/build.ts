/** The fast database as one file beside the packages it needs, for processes that know nothing of TypeScript. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '../..');

/** Returns the URL of the bundle. */
export async function buildDatabase(): Promise<string> {
  const outfile = join(root, 'dist/bench-database.mjs');
  await build({
    absWorkingDir: root,
    entryPoints: ['bench/database/database-main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'silent',
  });
  return pathToFileURL(outfile).href;
}
