/**
 * Bundles the three processes of a machine into `dist/`. Plain JavaScript, because it runs before anything is compiled:
 * called by `start.mjs`, by `npm run build` and before the tests. npm packages stay outside the bundles.
 */
import { readFile, mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, stop } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

const entryPoints = {
  local: './services/local/main.ts',
  dynamodb: './services/local/dynamodb.ts',
  broker: './services/broker/main.ts',
};

/** Writes `dist/{local,dynamodb,broker}.js` with source maps; throws esbuild's error when the sources do not compile. */
export async function bundle() {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints,
    outdir: 'dist',
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    packages: 'external',
    sourcemap: true,
    write: false,
    logLevel: 'silent',
  });
  await stop(); // its process would stay as long as this one
  await mkdir(join(root, 'dist'), { recursive: true });
  await Promise.all(outputFiles.map(({ path, text }) => replaceWhenChanged(path, text)));
}

/** Several starts may bundle at the same time: a reader must see an old file or a new one, never half of one. */
async function replaceWhenChanged(path, text) {
  const old = await readFile(path, 'utf8').catch(() => undefined);
  if (old === text) return;
  const next = `${path}.${process.pid}`;
  await writeFile(next, text);
  await rename(next, path);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle();
