/** Guards the guard: the room check has read every file, and it fails on each kind of violation when one is planted. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rooms } from './rooms.js';
import { checkRooms, type RoomReport } from './rules.js';

const root = join(import.meta.dirname, '../..');
const folders = ['services', 'tenants-api', 'infra'];

function typeScriptFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .sort();
}

describe('the tree', () => {
  let report: RoomReport;
  beforeAll(async () => {
    report = await checkRooms(root, folders);
  });

  test('every TypeScript file was read', () => {
    const expected = folders.flatMap(typeScriptFiles);
    expect(expected.length).toBeGreaterThan(20);
    expect(report.files.filter((file) => expected.includes(file)).sort()).toEqual([...expected].sort());
  });

  test('keeps the room rules', () => {
    expect(report.violations).toEqual([]);
  });
});

describe('a planted violation fails', () => {
  let planted: string;
  beforeAll(() => {
    planted = mkdtempSync(join(tmpdir(), 'shoal-rooms-'));
    symlinkSync(join(root, 'node_modules'), join(planted, 'node_modules'));
    writeFileSync(
      join(planted, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: { module: 'NodeNext', moduleResolution: 'NodeNext' } }),
    );
    writeFileSync(join(planted, 'package.json'), JSON.stringify({ type: 'module', dependencies: { ws: '*' } }));
  });
  afterAll(() => rmSync(planted, { recursive: true, force: true }));

  async function violationsOf(files: Readonly<Record<string, string>>): Promise<string[]> {
    for (const folder of folders) rmSync(join(planted, folder), { recursive: true, force: true });
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(planted, name)), { recursive: true });
      writeFileSync(join(planted, name), text);
    }
    const report = await checkRooms(planted, ['services']);
    return report.violations.map((violation) => violation.split(':')[0] ?? '');
  }

  const door = 'export const x = 1; export interface X { x: number }';

  test('nothing is reported when nothing is wrong', async () => {
    expect(
      await violationsOf({
        'services/kernel/kernel.ts': door,
        'services/topic/topic.ts': `import { x } from '../kernel/kernel.js'; export const y = x;`,
        'services/broker/transport/transport.ts': `import { WebSocket } from 'ws'; export const z = WebSocket;`,
      }),
    ).toEqual([]);
  });

  test('a wrong arrow', async () => {
    expect(
      await violationsOf({
        'services/topic/topic.ts': door,
        'services/kernel/kernel.ts': `import { x } from '../topic/topic.js'; export const y = x;`,
      }),
    ).toContain('kernel-imports-only-its-arrows');
  });

  test('a wrong arrow made of a type alone', async () => {
    expect(
      await violationsOf({
        'services/broker/session/session.ts': door,
        'services/broker/wire/wire.ts': `import type { X } from '../session/session.js'; export type Y = X;`,
      }),
    ).toContain('wire-imports-only-its-arrows');
  });

  test('a way around the door', async () => {
    expect(
      await violationsOf({
        'services/kernel/kernel.ts': `export * from './inner.js';`,
        'services/kernel/inner.ts': door,
        'services/topic/topic.ts': `import { x } from '../kernel/inner.js'; export const y = x;`,
      }),
    ).toContain('topic-imports-only-its-arrows');
  });

  test('a value where only types may pass', async () => {
    expect(
      await violationsOf({
        'services/broker/session/session.ts': door,
        'services/broker/store/store.ts': `import { x } from '../session/session.js'; export const y = x;`,
      }),
    ).toEqual(['store-imports-types-only']);
  });

  test('a file that imports the door of its own room', async () => {
    expect(
      await violationsOf({
        'services/kernel/kernel.ts': door,
        'services/kernel/inner.ts': `import { x } from './kernel.js'; export const y = x;`,
      }),
    ).toContain('kernel-never-imports-its-own-door');
  });

  test('a cycle', async () => {
    expect(
      await violationsOf({
        'services/kernel/a.ts': `import { b } from './b.js'; export const a = (): unknown => b;`,
        'services/kernel/b.ts': `import { a } from './a.js'; export const b = (): unknown => a;`,
      }),
    ).toContain('no-cycles');
  });

  test('types of the same room that name each other are no cycle', async () => {
    expect(
      await violationsOf({
        'services/kernel/a.ts': `import { b } from './b.js'; export interface A { b: typeof b }`,
        'services/kernel/b.ts': `import type { A } from './a.js'; export const b = (a: A): A => a;`,
      }),
    ).toEqual([]);
  });

  test('a package outside its room', async () => {
    expect(
      await violationsOf({
        'services/kernel/kernel.ts': `import { WebSocket } from 'ws'; export const z = WebSocket;`,
      }),
    ).toContain('ws-belongs-to-its-room');
  });

  test('an import that leads nowhere', async () => {
    expect(await violationsOf({ 'services/kernel/kernel.ts': `import './gone.js';` })).toContain('nothing-unresolved');
  });

  test('a folder without a room', async () => {
    expect(await violationsOf({ 'services/attic/attic.ts': door })).toContain('every-file-is-in-a-room');
  });
});

test('the arrows of the map have no cycle, types included', () => {
  const visiting = new Set<string>();
  const visit = (name: string): void => {
    expect([...visiting], `a cycle through ${name}`).not.toContain(name);
    visiting.add(name);
    for (const other of [...(rooms[name]?.mayImport ?? []), ...(rooms[name]?.mayImportTypes ?? [])]) visit(other);
    visiting.delete(name);
  };
  for (const name of Object.keys(rooms)) visit(name);
});

test('the map names every room once and only rooms that exist on it', () => {
  for (const [name, room] of Object.entries(rooms)) {
    for (const other of [...room.mayImport, ...(room.mayImportTypes ?? [])]) {
      expect(rooms[other], `${name} -> ${other}`).toBeDefined();
      expect(other, `${name} lists itself`).not.toBe(name);
    }
  }
});
