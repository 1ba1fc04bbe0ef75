/**
 * What is said to be in the bundles, against two that do not ask esbuild: their source maps, which name every file that a
 * line of them is from, and npm, which knows what is installed for production.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');

interface Component {
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly type: string;
  readonly purl: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly externalReferences?: readonly unknown[];
}

interface Sbom {
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

const read = (file: string): unknown => JSON.parse(readFileSync(join(root, file), 'utf8'));
const folderIn = (path: string): string | undefined =>
  /node_modules\/(?:@[^/]+\/)?[^/]+(?!.*node_modules\/)/.exec(path)?.[0];

/** `name@version` as in a purl, of the packages from which the files of a source map are. */
function packagesIn(map: string): string[] {
  const { sources } = read(map) as { sources: string[] };
  const folders = new Set(sources.map(folderIn).filter((folder) => folder !== undefined));
  return [...folders].map((folder) => {
    const { name, version } = read(join(folder, 'package.json')) as { name: string; version: string };
    return purlOf(name, version);
  });
}

const purlOf = (name: string, version: string): string => `pkg:npm/${name.replace('@', '%40')}@${version}`;

/** Everything that can be reached from the bundle itself. */
function reachable({ metadata, dependencies }: Sbom): Set<string> {
  const next = new Map(dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  const seen = new Set<string>();
  const walk = (ref: string): void => {
    if (seen.has(ref)) return;
    seen.add(ref);
    for (const other of next.get(ref) ?? []) walk(other);
  };
  walk(metadata.component['bom-ref']);
  return seen;
}

/** By their purl, all that are installed, and those of them that `npm ci --omit dev` would install. */
let installed: Map<string, Component>;
let forProduction: ReadonlySet<string>;
beforeAll(() => {
  const npm = (...args: string[]): string =>
    execFileSync('npm', args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'ignore'] });
  const { components } = JSON.parse(npm('sbom', '--sbom-format', 'cyclonedx')) as Sbom;
  installed = new Map(components.map((component) => [component.purl, component]));
  // Not `npm sbom --omit dev`, which leaves out what a dependency for development needs as well (npm 11.19).
  const lines = npm('ls', '--omit', 'dev', '--all', '--parseable', '--long').split('\n');
  const names = lines.map((line) => /:(@?[^@:]+)@([^@:]+)$/.exec(line)).filter((found) => found !== null);
  forProduction = new Set(names.map(([, name = '', version = '']) => purlOf(name, version)));
});

describe.each([
  { bundle: 'broker', map: 'dist/broker.mjs.map', beside: [] },
  { bundle: 'tenants-api-lambda', map: 'dist/tenants-api-lambda.mjs.map', beside: ['swagger-ui-dist'] },
])('$bundle', ({ bundle, map, beside }) => {
  let sbom: Sbom;
  let packages: readonly Component[];
  beforeAll(() => {
    sbom = read(`dist/${bundle}.cdx.json`) as Sbom;
    packages = sbom.components.filter(({ type }) => type === 'library');
  });

  test('names the packages that its lines are from, and those that lie beside it', () => {
    const copied = beside.map((name) =>
      purlOf(name, (read(`node_modules/${name}/package.json`) as { version: string }).version),
    );
    expect(packages.map(({ purl }) => purl).sort()).toEqual([...packagesIn(map), ...copied].sort());
    expect(packages.length).toBeGreaterThan(10);
  });

  test('has nothing that is there for development only, and the checksums that npm knows', () => {
    for (const { purl, hashes } of packages) {
      expect(forProduction, purl).toContain(purl);
      expect(hashes, purl).toEqual(installed.get(purl)?.hashes);
      expect(hashes?.[0]?.content, purl).toMatch(/^[0-9a-f]{128}$/);
    }
  });

  test('says why each of them is there', () => {
    const expected = [sbom.metadata.component, ...sbom.components].map((component) => component['bom-ref']);
    expect([...reachable(sbom)].sort()).toEqual(expected.sort());
  });
});

test('the broker comes with the Node.js that the Dockerfile takes', () => {
  const [, version] = /^FROM \S+\/node:([\d.]+)-/m.exec(readFileSync(join(root, 'Dockerfile'), 'utf8')) ?? [];
  const { components } = read('dist/broker.cdx.json') as Sbom;
  expect(components.filter(({ type }) => type === 'platform')).toMatchObject([{ name: 'node', version }]);
});
