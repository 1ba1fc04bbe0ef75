/**
 * The one place that makes bundles. `bundle` writes the processes of a machine, which find their npm packages
 * beside them; `bundleForAws` writes what is deployed, which carries all that it needs. Plain JavaScript, because it runs
 * before anything is compiled: called by `start.mjs`, by `npm run build` and before the tests.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, stop } from 'esbuild';
import { nodeOfImage, sbomOf } from './sbom.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

const shared = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node22',
  format: 'esm',
  write: false,
  logLevel: 'silent',
};

/** Writes `dist/{local,dynamodb,broker,front-door}.js` with source maps; throws esbuild's error when the sources do not compile. */
export async function bundle() {
  const made = await build({
    ...shared,
    entryPoints: {
      local: './services/local/main.ts',
      dynamodb: './services/local/dynamodb.ts',
      broker: './services/broker/main.ts',
      'front-door': './services/local/front-door/main.ts',
    },
    outdir: 'dist',
    packages: 'external',
    sourcemap: true,
  });
  await stop(); // its process would stay as long as this one
  await writeAll(made);
}

/**
 * Writes `dist/broker.mjs` for the image and the folder `dist/tenants-api-lambda` with `index.mjs` (export `handler`) and
 * the files of the page at `/docs`, and beside each what is in it: `.meta.json` in esbuild's form, `.cdx.json` as CycloneDX.
 * Returns the names of the latter.
 *
 * The broker says in which line it failed, so its map goes into the image. The Lambda's stays behind in `dist`: Node
 * would read 2 MB more at each cold start, for stack traces that can be resolved as well afterwards.
 */
export async function bundleForAws() {
  const broker = await build({
    ...standalone,
    entryPoints: { broker: './services/broker/main.ts' },
    sourcemap: 'linked',
  });
  const lambda = await build({
    ...standalone,
    entryPoints: { 'tenants-api-lambda/index': './tenants-api/entry/lambda.ts' },
    sourcemap: 'external',
    minifyIdentifiers: true,
    plugins: [onlyEnglish],
  });
  await stop();
  for (const file of lambda.outputFiles)
    if (file.path.endsWith('.map')) file.path = join(root, 'dist/tenants-api-lambda.mjs.map');
  await Promise.all([writeAll(broker), writeAll(lambda), copyDocs()]);
  await replaceWhenChanged(join(root, 'dist/broker.meta.json'), metaOf(broker));
  await replaceWhenChanged(join(root, 'dist/tenants-api-lambda.meta.json'), metaOf(lambda));
  const folders = ['node_modules/swagger-ui-dist'];
  const sboms = {
    'dist/broker.cdx.json': await sbomOf({ ...broker, name: 'shoal-broker', runtime: await nodeOfImage() }),
    'dist/tenants-api-lambda.cdx.json': await sbomOf({ ...lambda, name: 'shoal-tenants-api', folders }),
  };
  for (const [file, text] of Object.entries(sboms)) await replaceWhenChanged(join(root, file), Buffer.from(text));
  return { sboms: Object.keys(sboms) };
}

const metaOf = ({ metafile }) => Buffer.from(JSON.stringify(metafile));

/** `.mjs`, because no package.json says there that a `.js` is a module. */
const standalone = {
  ...shared,
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  metafile: true,
  minifySyntax: true,
  minifyWhitespace: true,
  // Modules can be shaken; what packages have for `require` stays whole.
  mainFields: ['module', 'main'],
  // Packages that are not modules ask for those of Node.
  banner: { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" },
};

/** zod has its messages in 50 languages, 260 KB, behind a name that keeps all of them in; the API speaks one. */
const onlyEnglish = {
  name: 'only-english',
  setup(builder) {
    builder.onResolve({ filter: /\/locales\/index\.js$/ }, ({ importer, resolveDir }) =>
      importer.includes('/node_modules/zod/') ? { path: resolveDir, namespace: 'only-english' } : undefined,
    );
    builder.onLoad({ filter: /.*/, namespace: 'only-english' }, ({ path }) => ({
      contents: "export { default as en } from '../locales/en.js';",
      resolveDir: path,
    }));
  },
};

/** What `/docs` serves: see `tenants-api/routes/docs.ts`. */
async function copyDocs() {
  const from = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const to = join(root, 'dist/tenants-api-lambda/docs');
  const files = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'];
  for (const file of files) await replaceWhenChanged(join(to, file), await readFile(join(from, file)));
}

async function writeAll({ outputFiles }) {
  await Promise.all(outputFiles.map(({ path, contents }) => replaceWhenChanged(path, contents)));
}

/** Several starts may bundle at the same time: a reader must see an old file or a new one, never half of one. */
async function replaceWhenChanged(path, contents) {
  const old = await readFile(path).catch(() => undefined);
  if (old?.equals(contents)) return;
  await mkdir(dirname(path), { recursive: true });
  const next = `${path}.${process.pid}`;
  await writeFile(next, contents);
  await rename(next, path);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundle();
  await bundleForAws();
}
