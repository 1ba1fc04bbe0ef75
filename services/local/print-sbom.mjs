/** `npm run sbom`: bundles what is deployed and prints, for each bundle, what is in it. The same stands in its `.cdx.json`. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleForAws } from './bundle.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

for (const file of (await bundleForAws()).sboms) {
  const { components } = JSON.parse(await readFile(join(root, file), 'utf8'));
  process.stdout.write(`${file}: ${components.length} components\n`);
  for (const { purl, licenses = [], properties = [] } of components) {
    const bytes = (properties[0]?.value ?? '').padStart(8);
    const licence = licenses.map(({ license, expression }) => expression ?? license.id).join(', ');
    process.stdout.write(`${bytes}  ${licence.padEnd(12)}  ${decodeURIComponent(purl)}\n`);
  }
}
