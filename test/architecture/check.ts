/** `npm run check:rooms`: the rules of `rooms.ts` over the whole tree; ends with 1 when one is broken. */
import { existsSync } from 'node:fs';
import { checkRooms } from './rules.js';

const root = process.cwd();
const scanned = ['services', 'tenants-api', 'infra', 'test', 'bench', 'smoke'].filter((folder) => existsSync(folder));
const { files, violations } = await checkRooms(root, scanned);
for (const violation of violations) console.error(violation);
console.log(`rooms: ${files.length} files, ${violations.length} broken rules`);
process.exitCode = violations.length > 0 || files.length === 0 ? 1 : 0;
