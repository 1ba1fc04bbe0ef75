/**
 * What is in a bundle, package by package, as CycloneDX: those whose bytes esbuild says have gone into it, in the version
 * and with the checksum that the lock file has. It says less than `npm sbom`, which lists all that is installed.
 * Called by `bundle.mjs` for each bundle that is deployed; the same sources give the same bytes.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

const inPackages = 'node_modules/';

/**
 * `folders` are packages of which files lie beside the bundle, `runtime` is the component that runs it. Throws when what is
 * installed is not what the lock file says.
 */
export async function sbomOf({ name, metafile, folders = [], runtime }) {
  const lock = await json('package-lock.json');
  const inside = packagesIn(metafile);
  for (const folder of folders) inside.set(folder, { bytes: 0, imports: new Set() });
  const ours = inside.get('') ?? { imports: new Set() };
  inside.delete('');
  const components = new Map();
  for (const [folder, { bytes }] of [...inside].sort(([a], [b]) => (a < b ? -1 : 1)))
    components.set(folder, await componentOf(folder, bytes, lock));
  const refOf = (folder) => components.get(folder)['bom-ref'];
  const { version, license } = lock.packages[''];
  const self = { type: 'application', 'bom-ref': name, name, version, ...licenses(license) };
  const bom = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: { lifecycles: [{ phase: 'build' }], component: self },
    components: [...components.values(), ...(runtime ? [runtime] : [])],
    dependencies: [
      {
        ref: name,
        dependsOn: [...[...ours.imports, ...folders].map(refOf), ...(runtime ? [runtime['bom-ref']] : [])].sort(),
      },
      ...[...inside].map(([folder, { imports }]) => ({
        ref: refOf(folder),
        dependsOn: [...imports].map(refOf).sort(),
      })),
    ],
  };
  return `${JSON.stringify({ ...bom, serialNumber: serialNumberOf(bom) }, null, 2)}\n`;
}

/** The version of Node.js that the Dockerfile takes; under the name in which its vulnerabilities are published. */
export async function nodeOfImage() {
  const [, version] = /^FROM \S*\/node:(\d+\.\d+\.\d+)-/m.exec(await readFile(join(root, 'Dockerfile'), 'utf8')) ?? [];
  if (version === undefined) throw new Error('the Dockerfile takes no exact version of Node.js');
  const purl = `pkg:generic/node@${version}`;
  const cpe = `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`;
  return { type: 'platform', 'bom-ref': purl, name: 'node', version, cpe, purl };
}

/** Folder of a package (ours: the empty one) to the bytes that it has in the bundle, and the packages that it imports. */
function packagesIn({ inputs, outputs }) {
  const found = new Map();
  for (const output of Object.values(outputs))
    for (const [file, { bytesInOutput }] of Object.entries(output.inputs)) {
      if (bytesInOutput === 0) continue; // types, and what nobody uses
      const one = found.get(folderOf(file)) ?? { bytes: 0, imports: new Set() };
      one.bytes += bytesInOutput;
      found.set(folderOf(file), one);
    }
  for (const [file, { imports }] of Object.entries(inputs)) {
    const folder = folderOf(file);
    for (const other of imports.map(({ path }) => folderOf(path)))
      if (other !== '' && other !== folder && found.has(other)) found.get(folder)?.imports.add(other);
  }
  return found;
}

function folderOf(file) {
  const at = file.lastIndexOf(inPackages);
  if (at < 0) return '';
  const parts = file.slice(at + inPackages.length).split('/');
  const name = parts.slice(0, parts[0].startsWith('@') ? 2 : 1).join('/');
  return file.slice(file.indexOf(inPackages), at + inPackages.length) + name;
}

async function componentOf(folder, bytes, lock) {
  const { name, version } = await json(join(folder, 'package.json'));
  const locked = lock.packages[folder];
  if (locked?.version !== version) throw new Error(`${folder} is ${version}, not ${locked?.version}: run \`npm ci\``);
  if (locked.dev === true) throw new Error(`${folder} is in a bundle, but only a dependency for development`);
  const [group, short] = name.startsWith('@') ? name.split('/') : [undefined, name];
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  return {
    type: 'library',
    'bom-ref': purl,
    ...(group !== undefined && { group }),
    name: short,
    version,
    ...licenses(locked.license),
    hashes: locked.integrity.split(' ').map(hashOf),
    purl,
    properties: [{ name: 'shoal:bytesInBundle', value: String(bytes) }],
  };
}

function licenses(spdx) {
  if (spdx === undefined) return {};
  return { licenses: [/ (OR|AND|WITH) /.test(spdx) ? { expression: spdx } : { license: { id: spdx } }] };
}

/** `sha512-…` of the package's archive. */
function hashOf(integrity) {
  const [, bits, base64] = /^sha(\d+)-(.+)$/.exec(integrity);
  return { alg: `SHA-${bits}`, content: Buffer.from(base64, 'base64').toString('hex') };
}

/** A UUID that says what is in it (version 8), instead of one by chance: an image changes when its content does. */
function serialNumberOf(bom) {
  const hex = createHash('sha256').update(JSON.stringify(bom)).digest('hex');
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ];
  return `urn:uuid:${parts.join('-')}`;
}

const json = async (file) => JSON.parse(await readFile(join(root, file), 'utf8'));
