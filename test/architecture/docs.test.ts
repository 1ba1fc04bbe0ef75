/** The documents agree with each other and with the code: links lead somewhere, commands exist, tables of settings are complete. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';
import npmPackage from '../../package.json' with { type: 'json' };
import { readConfig, tuning } from '../../services/broker/config.js';
import { banner } from '../../services/local/banner.js';
import { brokerVariables, readSettings } from '../../services/local/settings.js';
import { quotaKinds } from '../../services/tenancy/tenancy.js';

const root = join(import.meta.dirname, '../..');
const foldersOfOthers = new Set(['node_modules', 'dist', 'cdk.out', '.git', '.shoal']);

function documents(folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (foldersOfOthers.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return documents(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

const read = (name: string): string => readFileSync(join(root, name), 'utf8');

const withoutCode = (text: string): string => text.replaceAll(/^ *```.*?^ *```$/gms, '').replaceAll(/`[^`\n]*`/g, '');

/** As GitHub names the heading of a section. */
function anchors(text: string): string[] {
  const headings = text.replaceAll(/^ *```.*?^ *```$/gms, '').matchAll(/^#+ +(.*)$/gm);
  return [...headings].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function brokenLinks(file: string): string[] {
  const broken: string[] = [];
  for (const [, target] of withoutCode(readFileSync(file, 'utf8')).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target!)) continue;
    const [path = '', anchor] = target!.split('#');
    const meant = path === '' ? file : join(dirname(file), path);
    const isThere =
      existsSync(meant) && (anchor === undefined || anchors(readFileSync(meant, 'utf8')).includes(anchor));
    if (!isThere) broken.push(`${relative(root, file)}: ${target}`);
  }
  return broken;
}

test('every link within the documents leads to a file and a section that exist', () => {
  const files = documents();
  expect(files.length).toBeGreaterThan(30);
  expect(files.flatMap(brokenLinks)).toEqual([]);
});

/** Examples, and what a build makes. */
const filesOfNobody = new Set(['hello.mjs', 'index.mjs', 'room/room.ts']);
const topFolders = ['bench', 'docs', 'infra', 'services', 'smoke', 'tenants-api', 'test'];

function filesAndFolders(folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (foldersOfOthers.has(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? [path, ...filesAndFolders(path)] : [path];
  });
}

/** `services/broker/{main,compose}.ts` names two. */
const eachOf = (path: string): string[] => {
  const choices = /\{(.*)\}/.exec(path);
  return choices ? choices[1]!.split(',').map((choice) => path.replace(choices[0], choice)) : [path];
};

function pathsIn(text: string): string[] {
  const isFile = (code: string): boolean => /^[\w.{},-]+(?:\/[\w.{},-]+)*\.(?:ts|mjs|md)$/.test(code);
  const isBelowTop = (code: string): boolean =>
    /^[\w.-]+(?:\/[\w.-]+)*\/?$/.test(code) && topFolders.includes(code.split('/')[0]!);
  const codes = [...text.replaceAll(/^ *```.*?^ *```$/gms, '').matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
  return codes.filter((code) => isFile(code) || isBelowTop(code)).flatMap(eachOf);
}

test('every file and folder that a document names exists, however much of its path is given', () => {
  const existing = filesAndFolders().map((path) => `/${relative(root, path)}`);
  const isThere = (path: string): boolean => existing.some((file) => file.endsWith(`/${path.replace(/\/$/, '')}`));
  const named = documents().flatMap((file) =>
    pathsIn(readFileSync(file, 'utf8')).map((path) => ({ path, file: relative(root, file) })),
  );
  expect(named.length).toBeGreaterThan(200);
  expect(named.filter(({ path }) => !filesOfNobody.has(path) && !path.startsWith('dist/') && !isThere(path))).toEqual(
    [],
  );
});

test('README.md is short, and leads to every document', () => {
  const readme = read('README.md');
  expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(150);
  for (const name of readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md')))
    expect(readme, `a link to docs/${name}`).toContain(`](docs/${name}`);
});

test('every npm script that a document names exists', () => {
  const named = documents().flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/\bnpm (?:run|-s run|run -s) ([a-z][\w:-]*)/g)].map(
      ([, script]) => `${script} in ${relative(root, file)}`,
    ),
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((text) => !(text.split(' ')[0]! in npmPackage.scripts))).toEqual([]);
});

/** The cells of each row of the tables in one section. */
function rowsOf(document: string, heading: string): string[][] {
  const section = read(document)
    .split(/^## /m)
    .find((text) => text.startsWith(heading));
  return [...section!.matchAll(/^\| (`.*) \|$/gm)].map(([, row]) => row!.split('|').map((cell) => cell.trim()));
}

const bare = (cell: string): string => cell.replaceAll(/[`\s]/g, '');

test('docs/settings.md has every flag of npm start with its variable and default', () => {
  const { help } = readSettings({ args: ['--help'], env: {}, cwd: '/' }) as { help: string };
  const options = help.split(/\s--/).map((text) => /^([\w-]+).*?\((SHOAL_\w+)(?:,\s+default\s+(\S+?))?\)/s.exec(text));
  const expected = options.flatMap((found) => (found ? [[`--${found[1]}`, found[2]!, found[3]] as const] : []));
  const rows = rowsOf('docs/settings.md', 'Flags of').map((cells) => cells.map(bare));
  expect(rows.map(([flag, variable]) => `${flag} ${variable}`).sort()).toEqual(
    expected.map(([flag, variable]) => `${flag} ${variable}`).sort(),
  );
  for (const [flag, , fallback] of expected)
    if (fallback !== undefined) expect(rows.find((row) => row[0] === flag)?.[2], flag).toBe(fallback);
});

test('docs/settings.md has every variable that tunes the broker, with default and bounds', () => {
  const rows = rowsOf('docs/settings.md', 'Tuning the broker').map((cells) => cells.slice(0, 3).map(bare).join(' '));
  const expected = Object.entries(tuning).map(([name, { min, max, fallback }]) => `${name} ${fallback} ${min}to${max}`);
  expect(rows.sort()).toEqual(expected.sort());
  expect(Object.keys(tuning).sort()).toEqual([...brokerVariables].sort());
});

test('docs/settings.md names no variable that a broker on its own refuses', () => {
  const rows = rowsOf('docs/settings.md', 'A broker on its own');
  const variables = rows.flatMap(([names]) => names!.match(/SHOAL_\w+/g) ?? []);
  expect(variables.length).toBeGreaterThan(10);
  for (const name of variables) expect(() => readConfig({ [name]: 'x' }), name).not.toThrow('is not a setting');
});

test('the commands of README.md are those of the banner', () => {
  const listener = (kind: string, port: number) => ({ port, url: `${kind}://127.0.0.1:${port}` });
  const text = banner({
    endpoints: {
      host: '127.0.0.1',
      mqtt: listener('mqtt', 1883),
      mqtts: listener('mqtts', 8883),
      ws: listener('ws', 8083),
      wss: listener('wss', 8084),
      api: listener('http', 8080),
      caFile: '.shoal/certificates/ca.crt',
      operatorKey: '',
      dataDir: '.shoal',
      broker: { healthUrl: '', metricsUrl: '' },
      pids: { main: 1, broker: 2, dynamodb: 3 },
    },
    endpointsFile: '.shoal/endpoints.json',
    tenant: 'acme',
    kept: true,
  });
  const oneLine = (commands: string): string => commands.replaceAll(/\\\n/g, ' ').replaceAll(/\s+/g, ' ').trim();
  const printed = text.split('\n').filter((line) => /^ {2}(SHOAL_|echo|mosquitto)/.test(line));
  expect(printed).toHaveLength(5);
  expect(oneLine(read('README.md'))).toContain(oneLine(printed.join('\n')));
});

test('docs/limits.md has every quota and every limit that an operator may set', () => {
  const limits = read('docs/limits.md');
  for (const { kind } of quotaKinds) expect(limits, kind).toContain(`quota \`${kind}\``);
  const settings = Object.keys(tuning).filter((name) => name.endsWith('_MAX'));
  expect(settings.length).toBeGreaterThan(5);
  for (const name of settings) expect(limits, name).toContain(`\`${name}\``);
});
