/** `npm run conformance:docs`: writes docs/conformance.md from the tables. */
import { writeFile } from 'node:fs/promises';
import { conformanceDocument, documentFile } from './document.js';

await writeFile(documentFile, await conformanceDocument());
