/** The document says what the tables say, and the tables have every numbered statement. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { conformanceDocument, documentFile } from './document.js';
import { numbered } from './statements.js';
import { tables } from './tables.js';

test('docs/conformance.md is up to date (npm run conformance:docs)', async () => {
  expect(await readFile(documentFile, 'utf8')).toBe(await conformanceDocument());
});

test.each(['v5', 'v3'] as const)('every numbered statement of %s has its row, in the order of the standard', (key) => {
  const rows = tables.find((table) => table.key === key)!.rows.map((row) => row.id);
  expect(rows).toEqual(numbered(key));
});

test('every row is named once, and every reference leads to a row with a test', () => {
  const tested = (rows: (typeof tables)[number]['rows']): string[] => rows.filter((r) => r.test).map((r) => r.id);
  const ofShoal = tables.filter((table) => table.key === 'shoal').flatMap((table) => tested(table.rows));
  for (const { title, rows } of tables) {
    const leadsTo = new Set([...tested(rows), ...ofShoal]);
    const dangling = rows.filter((r) => r.coveredBy !== undefined && !leadsTo.has(r.coveredBy));
    expect(rows.length, title).toBe(new Set(rows.map((r) => r.id)).size);
    expect(
      dangling.map((r) => `${r.id} -> ${r.coveredBy}`),
      title,
    ).toEqual([]);
  }
});
