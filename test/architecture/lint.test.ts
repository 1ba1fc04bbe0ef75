/** The pure rooms stay pure: each ban of `eslint.config.js` fires on a planted line, and Buffer stays allowed. */
import { join } from 'node:path';
import { ESLint } from 'eslint';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const pureRooms = ['broker/message', 'broker/wire', 'broker/session', 'broker/fanout', 'topic'];

/** Only the bans are asked for, so no type information has to be loaded for a file that does not exist. */
const eslint = new ESLint({
  cwd: root,
  ruleFilter: ({ ruleId }) => ruleId.startsWith('no-restricted-'),
  overrideConfig: { languageOptions: { parserOptions: { projectService: false } } },
});

async function complaints(file: string, text: string): Promise<string[]> {
  const results = await eslint.lintText(text, { filePath: join(root, 'services', file) });
  return results.flatMap((result) => result.messages).map((message) => message.ruleId ?? message.message);
}

const banned: readonly string[] = [
  'export const a = Date.now();',
  'export const a = new Date();',
  'export const a = performance.now();',
  'export const a = Math.random();',
  'setTimeout(() => {}, 1);',
  'setInterval(() => {}, 1);',
  'setImmediate(() => {});',
  'queueMicrotask(() => {});',
  'export const a = process.env;',
  'export const a = crypto.randomUUID();',
  'export const a = globalThis.setTimeout;',
  `import { readFileSync } from 'node:fs'; export const a = readFileSync;`,
  `import { randomBytes } from 'node:crypto'; export const a = randomBytes;`,
];

describe.each(pureRooms)('%s', (room) => {
  test.each(banned)('refuses %s', async (line) => {
    expect(await complaints(`${room}/planted.ts`, line)).toHaveLength(1);
  });

  test('allows Buffer', async () => {
    expect(
      await complaints(`${room}/planted.ts`, `import { Buffer } from 'node:buffer'; export const a = Buffer.alloc(1);`),
    ).toEqual([]);
  });
});

test('the bans hold in the pure rooms alone', async () => {
  expect(await complaints('broker/transport/planted.ts', 'export const a = Date.now();')).toEqual([]);
});
