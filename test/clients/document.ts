/**
 * The tables of docs/clients.md that runs of the programs make: each is a block between two comments. A run prints its
 * table and compares it with the document; with `CLIENTS_DOCS=write` (`npm run clients:docs`) it writes it there.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { expect } from 'vitest';

const file = join(import.meta.dirname, '../../docs/clients.md');

/** Cells of one line. The first names the client. */
type Row = readonly string[];

const notInstalled = 'not installed here';

export interface Table {
  /** Name of the block. */
  readonly block: string;
  readonly head: Row;
  /** One for each program that there is a test for; without cells when it is not installed here. */
  readonly rows: readonly { readonly name: string; readonly cells: Row | undefined }[];
}

const bounds = (block: string): readonly [string, string] => [
  `<!-- begin ${block}: written by npm run clients:docs -->`,
  `<!-- end ${block} -->`,
];

const line = (cells: Row): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;

function rowsOf(text: string, block: string): Map<string, Row> {
  const [begin, end] = bounds(block);
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/clients.md has no block ${block}`);
  const lines = text
    .slice(from + begin.length, to)
    .trim()
    .split('\n')
    .slice(2);
  const cellsOf = (row: string): Row =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('\\|', '|'));
  return new Map(lines.map(cellsOf).map((cells) => [cells[0] ?? '', cells]));
}

async function write(text: string, { block, head, rows }: Table): Promise<void> {
  const before = rowsOf(text, block);
  const [begin, end] = bounds(block);
  // What did not run here stays as it was.
  const kept = rows.map(({ name, cells }) => (cells ? [name, ...cells] : (before.get(name) ?? [name])));
  const table = [line(head), line(head.map(() => '---')), ...kept.map(line)].join('\n');
  const [above, below] = [text.slice(0, text.indexOf(begin)), text.slice(text.indexOf(end))];
  const all = `${above}${begin}\n\n${table}\n\n${below}`;
  await writeFile(file, await format(all, { ...(await resolveConfig(file)), parser: 'markdown' }));
}

/** Prints the table, and sees to it that the document has it. */
export async function settle(table: Table): Promise<void> {
  const shown = table.rows.map(({ name, cells }) => line(cells ? [name, ...cells] : [name, notInstalled]));
  console.log([line(table.head), ...shown].join('\n'));
  const text = await readFile(file, 'utf8');
  if (process.env['CLIENTS_DOCS'] === 'write') return write(text, table);
  const documented = rowsOf(text, table.block);
  expect([...documented.keys()], 'rows of docs/clients.md: npm run clients:docs').toEqual(
    table.rows.map(({ name }) => name),
  );
  for (const { name, cells } of table.rows)
    if (cells) expect(documented.get(name), 'docs/clients.md: npm run clients:docs').toEqual([name, ...cells]);
}
