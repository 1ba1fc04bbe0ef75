/** `npm run cost`: reckons what fleets cost and writes the tables of docs/cost.md. */
import { readFile, writeFile } from 'node:fs/promises';
import { documentFile, withTables } from './cost/document.js';

await writeFile(documentFile, await withTables(await readFile(documentFile, 'utf8')));
