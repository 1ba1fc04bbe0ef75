/** The text of docs/conformance.md, from the tables. Used by generate.ts, which writes it, and by the test that it is current. */
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import type { Row, Table } from './row.js';
import { tables } from './tables.js';

export const documentFile = join(import.meta.dirname, '../../docs/conformance.md');

const introduction = `# Conformance

Generated from \`test/conformance\` by \`npm run conformance:docs\`; a test fails when it is out of date.

Every numbered statement of the OASIS standards [MQTT 5.0](https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html)
and [MQTT 3.1.1](https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html) has a row, with its gist in our words.
Where a statement binds only clients, the row shows what the broker does about a client that breaks it, if the standard
asks for something. Below come rows of our own: rules without a number, and what Shoal does where the standards leave a choice.

The tests drive the whole stack (broker, tenant API, embedded DynamoDB) packet by packet over real sockets. Their client has
a codec of its own, which checks every packet the broker sends, in every row: reserved bits, shortest lengths, UTF-8,
properties and reason codes allowed on that packet, nothing before CONNACK, and the limits that its CONNECT named.

- \`npx vitest run test/conformance\` runs all rows, \`-t MQTT-3.3.1-5\` those of one identifier.
- \`CONFORMANCE_TARGET=mosquitto npx vitest run test/conformance\` runs them against mosquitto 2.0.11 (Debian's), to check
  the rows; where that broker is known to differ (\`test/conformance/peer.ts\`), rows are skipped.
`;

const shown = (row: Row): string => {
  if (row.test) return 'test';
  if (row.coveredBy !== undefined) return `test of ${row.coveredBy}`;
  return `not tested: ${row.notTestable}`;
};

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('$', '\\$');

function section(table: Table): string {
  const lines = table.rows.map((row) => `| ${row.id} | ${row.binds} | ${cell(row.says)} | ${cell(shown(row))} |`);
  return `## ${table.title}\n\n| statement | binds | gist | shown by |\n|---|---|---|---|\n${lines.join('\n')}\n`;
}

function summary(): string {
  const lines = tables.map(({ title, rows }) => {
    const tests = rows.filter((row) => row.test).length;
    const covered = rows.filter((row) => row.coveredBy !== undefined).length;
    return `| ${title} | ${rows.length} | ${tests} | ${covered} | ${rows.length - tests - covered} |`;
  });
  const head =
    '| table | rows | with a test of their own | shown by the test of another row | not tested, with reason |';
  return `${head}\n|---|---|---|---|---|\n${lines.join('\n')}\n`;
}

export async function conformanceDocument(): Promise<string> {
  const text = [introduction, summary(), ...tables.map(section)].join('\n');
  return format(text, { ...(await resolveConfig(documentFile)), parser: 'markdown' });
}
