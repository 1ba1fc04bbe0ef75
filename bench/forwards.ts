/**
 * `npm run bench:forwards`: what a message costs that goes to a subscriber of another broker, against one more subscriber here. Two brokers,
 * their link and the clients are in one process; what the clients take is part of all figures, so only differences count.
 */
import { connect, type Socket } from 'node:net';
import { Command } from 'commander';
import { connectBytes, publishBytes, subscribeBytes } from '../test/support/packet-bytes.js';
import { password, type ServingBroker, serving } from '../test/support/serving-brokers.js';

const options = new Command('npm run bench:forwards --')
  .option('--messages <n>', 'of each run', '200000')
  .option('--payload <n>', 'bytes', '100')
  .option('--rounds <n>', 'of all runs, of which the median counts', '5')
  .parse()
  .opts<Record<'messages' | 'payload' | 'rounds', string>>();
const messages = Number(options.messages);
const atOnce = 50;
const pingreq = Buffer.of(0xc0, 0);
/** Bytes. */
const pingresp = 2;
/** Bursts that are not through. */
const window = 4;

async function client({ port }: ServingBroker, clientId: string, packet?: Buffer): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  const answered = (): Promise<void> => new Promise((resolve) => socket.once('data', () => resolve()));
  socket.write(connectBytes({ clientId, username: 'device@acme', password }));
  await answered();
  if (!packet) return socket;
  socket.write(packet);
  await answered();
  return socket;
}

/** CPU time of a message, in microseconds. */
async function run(qos: 0 | 1, on: readonly ServingBroker[], from: ServingBroker): Promise<number> {
  const filter = subscribeBytes([{ filter: 'bench/topic', qos: 0 }], 5, 1);
  const subscribers: Socket[] = [];
  for (const [i, broker] of on.entries()) subscribers.push(await client(broker, `s${i}`, filter));
  const publisher = await client(from, 'p');
  const payload = Buffer.alloc(Number(options.payload), 'x');
  const packets = Array.from({ length: atOnce }, (_, i) =>
    publishBytes({ topic: 'bench/topic', payload, qos, packetId: i + 1 }, 5),
  );
  const burst = Buffer.concat(packets);
  const one = publishBytes({ topic: 'bench/topic', payload }, 5);
  const isAlone = subscribers.length === 0;
  const bytesOf = (count: number): number => (isAlone ? (count / atOnce) * pingresp : count * one.length);
  // Where nobody gets the messages, answers to pings say how far the broker is.
  const readers = isAlone ? [publisher] : subscribers;
  if (!isAlone || qos > 0) publisher.resume();
  const got = readers.map(() => 0);
  let sent = 0;
  let done!: () => void;
  const all = new Promise<void>((resolve) => (done = resolve));
  const pump = (): void => {
    const through = Math.min(...got);
    while (sent < messages && bytesOf(sent) - through < bytesOf(window * atOnce)) {
      publisher.write(burst);
      if (isAlone) publisher.write(pingreq);
      sent += atOnce;
    }
    if (through >= bytesOf(messages)) done();
  };
  for (const [i, reader] of readers.entries())
    reader.on('data', (chunk: Buffer) => {
      got[i]! += chunk.length;
      pump();
    });
  const before = process.cpuUsage();
  pump();
  await all;
  const { user, system } = process.cpuUsage(before);
  for (const socket of [publisher, ...subscribers]) socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  return (user + system) / messages;
}

const median = (all: number[]): number => all.sort((a, b) => a - b)[Math.floor(all.length / 2)]!;

const [a, b] = (await serving(['a', 'b'])) as [ServingBroker, ServingBroker];
const rows = { nobody: [], 'one here': [a], 'two here': [a, a], 'one elsewhere': [b] } as const;
for (const qos of [0, 1] as const) {
  const all = new Map<string, number[]>();
  for (let round = 0; round <= Number(options.rounds); round++)
    for (const [name, on] of Object.entries(rows)) {
      if (qos > 0 && name === 'nobody') continue; // Its acknowledgements are told apart from nothing.
      const us = await run(qos, on, a);
      if (round > 0) all.set(name, [...(all.get(name) ?? []), us]); // The first is warming up.
    }
  const words = [...all].map(([name, us]) => `${name} ${median(us).toFixed(2)}`);
  console.log(`QoS ${qos}, us CPU a message, subscribers: ${words.join(', ')}`);
}
await a.stop();
await b.stop();
process.exit();
