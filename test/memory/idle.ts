/**
 * Clients that do nothing, at a real transport and admission: prints what each takes of heap and of external memory. Run by
 * `idle.test.ts` with --expose-gc. The clients are in a process of their own, which is this program with a port.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Thread } from '../../services/broker/tenant/tenant.js';
import { Transport } from '../../services/broker/transport/transport.js';
import { TopicTable } from '../../services/broker/wire/wire.js';
import { silentLog } from '../../services/kernel/kernel.js';
import { connectBytes, subscribeBytes } from '../support/packet-bytes.js';
import { World } from '../unit/admission/world.js';
import { measure } from './measure.js';

const level = 5;
const connack = 2;
const suback = 9;
/** Before that some code has not been compiled, and tables that all share have not their size. */
const warmUpClients = 500;
const clients = 2000;

/** A clean session, and one subscription. */
async function beClient(port: number, name: string): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  const account = { username: 'device@acme', password: 'correct horse' };
  socket.write(connectBytes({ version: level, clientId: name, keepalive: 60, ...account }));
  await answered(socket, connack);
  socket.write(subscribeBytes([{ filter: `to/${name}`, qos: 1 }], level, 1));
  await answered(socket, suback);
}

async function answered(socket: ReturnType<typeof connect>, type: number): Promise<void> {
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (answer[0]! >> 4 !== type) throw new Error(`answered with ${answer.toString('hex')}`);
}

/** Told how many come, says when they are in. */
function beClients(port: number): void {
  let named = 0;
  process.on('message', (count: number) => {
    const comeIn = async (): Promise<void> => {
      for (let i = 0; i < count; i++) await beClient(port, `client-${named++}`);
    };
    void comeIn().then(() => process.send!('in'));
  });
}

async function main(): Promise<void> {
  const many = 1e9;
  const rates = { connectsPerSecond: many, packetsPerSecond: many, subscribesPerSecond: many };
  const { admission, clock, metrics, tables, records } = new World({ connections: null, memoryBytes: null, ...rates });
  const transport = new Transport({
    ...{ admission, clock, metrics, log: silentLog, topics: new TopicTable(), thread: new Thread(clock) },
    ...{ connectionsMax: 2 * clients, newcomersPercentMax: 100, newcomersPerAddressPercentMax: 100 },
    ...{ isWebSocketAtRoot: false, gate: { leave: () => 'all', onLapsed: () => undefined } },
  });
  const port = await transport.listen({ kind: 'mqtt', host: '127.0.0.1', port: 0 });
  const peers = fork(import.meta.filename, [String(port)], { execArgv: ['--import', 'tsx'] });
  const comeIn = async (count: number): Promise<void> => {
    peers.send(count);
    await once(peers, 'message');
    // What stands for the database, which is in this process only here.
    tables.records.clear();
    records.log.length = 0;
  };
  await comeIn(warmUpClients);
  const { held } = await measure('clients that do nothing', async () => {
    await comeIn(clients);
    return { counted: clients, kept: transport };
  });
  const { value: open } = [...metrics.samples()].find(
    ({ name, labels }) => name === 'shoal_sockets' && labels['state'] === 'open',
  )!;
  process.stdout.write(JSON.stringify({ open, bytes: held / clients }));
  peers.kill();
  process.exit(0);
}

if (process.argv[2] === undefined) await main();
else beClients(Number(process.argv[2]));
