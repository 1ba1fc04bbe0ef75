/**
 * The fast database as a process, in the place of the embedded one: `instead.mjs` has it loaded where Shoal loads
 * `dynamodb.js`, with the same arguments (a folder, which is not used, and a port) and the same words over IPC.
 */
import { Database } from './server.js';

const [, port = '0'] = process.argv.slice(2);
const delayMs = Number(process.env['BENCH_DATABASE_DELAY_MS'] ?? '0');

// Signals of a terminal or a process group are for its parent, which ends it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit(0));
process.on('message', (message) => {
  if (message === 'stop') process.exit(0);
});

const database = await Database.listen({ port: Number(port), delayMs });
process.send?.({ type: 'ready', port: database.port });
