/**
 * `npm start`: checks what can be missing on a fresh machine, bundles the processes and runs the main one in this very
 * process. The npm script says `exec node`, so that this process is npm's own child: a shell between them would take the
 * SIGTERM that npm hands on, and leave this one behind. Plain JavaScript without static imports of packages, because it
 * has to explain itself when they are not installed.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

function fail(line) {
  process.stderr.write(`shoal: ${line}\n`);
  process.exit(1);
}

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
// npm has warned of what is older than package.json says; what cannot run at all is refused.
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Node.js ${process.versions.node} is too old: version 22 or newer is needed`);
}
if (!existsSync(join(root, 'node_modules/esbuild'))) fail('the packages are not installed: run `npm ci` first');

try {
  const { bundle } = await import('./bundle.mjs');
  await bundle();
} catch (error) {
  fail(
    `cannot bundle the services: ${String(error instanceof Error ? error.message : error)
      .split('\n')
      .join(' ')}`,
  );
}
// The SDK's advice to move to a newer Node.js is for those who build Shoal; here it would only hide the banner.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
process.setSourceMapsEnabled(true);
await import(pathToFileURL(join(root, 'dist/local.js')).href);
