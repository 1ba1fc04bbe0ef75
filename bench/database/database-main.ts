/**
 * The fast database as a process, in the place of the embedded one: `instead.mjs` has it loaded where Shoal loads
 * `dynamodb.js`, with the same arguments (a folder, which is not used, a port, and the broker's) and the same words over IPC, those of
 * checkouts from before several brokers included. It has a port for one broker.
 */
import { Database } from './server.js';

const [, port = '0', brokerPort = '0'] = process.argv.slice(2);
const delayMs = Number(process.env['BENCH_DATABASE_DELAY_MS'] ?? '0');

// Signals of a terminal or a process group are for its parent, which ends it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit(0));
const database = await Database.listen({ port: Number(port), delayMs });
process.on('message', (message) => {
  if (message === 'stop') process.exit(0);
  else void database.quiet().then(() => process.send?.({ type: 'quiet', quiet: 0 }));
});
const doorPort = await database.listenForBroker(Number(brokerPort));
process.send?.({ type: 'ready', port: database.port, brokerPort: doorPort, brokerPorts: [doorPort] });
