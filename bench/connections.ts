/**
 * `npm run bench:connections -- [--connections 2000]`: what a connection and a durable session cost Shoal's broker, over
 * TCP and with TLS in the broker: CPU time of each CONNECT, SUBSCRIBE, PINGREQ and return, request units of each, and
 * memory of a connection that is idle. docs/cost.md reckons with these figures.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { parseArgs } from 'node:util';
import type { RunningBroker } from './brokers/broker.js';
import { shoal } from './brokers/shoal.js';
import { readDatabaseUse, usedSince } from './load/database.js';
import { connectPacket, subscribePacket, type Credentials, type Durable } from './load/packets.js';
import { readCpuSeconds, readRssBytes } from './proc.js';

const version = 5;
const atOnce = 20;
const warmUpConnections = 300;
const pingRounds = 10;
const durable: Durable = { sessionExpirySeconds: 3600, resumes: true };
const pingreq = Buffer.from([0xc0, 0]);
const types = { connack: 2, suback: 9, pingresp: 13 };
const lookEveryMs = 250;
const looksMax = 80;
const quietLooks = 4;
/** Each of the `atOnce` waits as long before it closes the next one: the database on this machine is slow. */
const closeEveryMs = 100;
/** A lease is renewed for a unit, every second. */
const leaseUnits = 1;

interface Step {
  readonly what: string;
  readonly cpuUs: number;
  readonly writeUnits: number;
  readonly readUnits: number;
}

type Open = () => Promise<Socket>;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** TLS 1.3 and a full handshake each time, as devices do that have been away. */
function opener(data: string, kind: 'tcp' | 'tls'): Open {
  const { mqtt, mqtts, caFile } = JSON.parse(readFileSync(join(data, 'endpoints.json'), 'utf8')) as {
    mqtt: { port: number };
    mqtts: { port: number };
    caFile: string;
  };
  const ca = readFileSync(caFile);
  return () =>
    new Promise((resolve, reject) => {
      const socket =
        kind === 'tcp'
          ? connectTcp({ host: '127.0.0.1', port: mqtt.port, noDelay: true }, () => resolve(socket))
          : connectTls({ host: '127.0.0.1', port: mqtts.port, ca, servername: 'localhost' }, () => resolve(socket));
      socket.once('error', reject);
    });
}

/** Sends one packet and waits for its answer, which is all that the broker has to say at that moment. */
async function ask(socket: Socket, packet: Buffer, answerType: number): Promise<void> {
  const answer = await new Promise<Buffer>((resolve, reject) => {
    const lost = (): void => reject(new Error('the broker closed a connection'));
    socket.once('close', lost);
    socket.once('data', (bytes) => {
      socket.off('close', lost);
      resolve(bytes);
    });
    socket.write(packet);
  });
  const code = answerType === types.connack ? answer[3]! : answerType === types.suback ? answer.at(-1)! : 0;
  if (answer[0]! >> 4 !== answerType || code >= 0x80) throw new Error(`answered with ${answer.toString('hex')}`);
}

/** `run` for each of 0 to count - 1, some at a time. */
async function forEach(count: number, run: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await run(index);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** Until the broker has nothing more to write; no longer, for what an idle process does would be counted, too. */
async function untilWritten(metricsUrl: string | undefined): Promise<void> {
  for (let look = 0, quiet = 0, last = -1; look < looksMax && quiet < quietLooks; look++) {
    await pause(lookEveryMs);
    const { writeUnits } = (await readDatabaseUse(metricsUrl))!;
    quiet = writeUnits - last <= leaseUnits ? quiet + 1 : 0;
    last = writeUnits;
  }
}

async function measure(broker: RunningBroker, open: Open, count: number): Promise<{ steps: Step[]; rssBytes: number }> {
  const { pid, metricsUrl, target } = broker;
  const credentials: Credentials = target.credentials!;
  const enter = async (clientId: string, session?: Durable): Promise<Socket> => {
    const socket = await open();
    await ask(socket, connectPacket(clientId, version, credentials, session), types.connack);
    return socket;
  };
  const steps: Step[] = [];
  const step = async (what: string, times: number, run: () => Promise<void>): Promise<void> => {
    await untilWritten(metricsUrl);
    const before = { cpu: readCpuSeconds(pid), database: await readDatabaseUse(metricsUrl) };
    await run();
    await untilWritten(metricsUrl);
    const cpuSeconds = readCpuSeconds(pid) - before.cpu;
    const used = usedSince(before.database, await readDatabaseUse(metricsUrl))!;
    const each = (value: number): number => value / times;
    const units = { writeUnits: each(used.writeUnits), readUnits: each(used.readUnits) };
    steps.push({ what, cpuUs: each(cpuSeconds) * 1e6, ...units });
  };

  await forEach(warmUpConnections, async (index) => {
    const socket = await enter(`warm-${index}`);
    await ask(socket, subscribePacket('bench/warm', 1, version), types.suback);
    await ask(socket, pingreq, types.pingresp);
    socket.destroy();
  });
  await untilWritten(metricsUrl);
  const rssBefore = readRssBytes(pid);
  const sockets: Socket[] = [];
  const enterAll = (): Promise<void> =>
    forEach(count, async (index) => {
      sockets[index] = await enter(`device-${index}`, durable);
    });
  await step('CONNECT, new session', count, enterAll);
  await step('SUBSCRIBE', count, () =>
    forEach(count, (index) => ask(sockets[index]!, subscribePacket(`bench/to/${index}`, 1, version), types.suback)),
  );
  const rssBytes = (readRssBytes(pid) - rssBefore) / count;
  await step('PINGREQ', count * pingRounds, () =>
    forEach(count * pingRounds, (index) => ask(sockets[index % count]!, pingreq, types.pingresp)),
  );
  await step('connection lost', count, () =>
    forEach(count, async (index) => {
      sockets[index]!.destroy();
      await pause(closeEveryMs);
    }),
  );
  await step('CONNECT, session resumed', count, enterAll);
  for (const socket of sockets) socket.destroy();
  return { steps, rssBytes };
}

const { connections } = parseArgs({ options: { connections: { type: 'string', default: '2000' } } }).values;
const count = Number(connections);
const processors = cpus();
console.log(`${count} connections, Node.js ${process.versions.node}, ${processors.length} x ${processors[0]?.model}\n`);
for (const kind of ['tcp', 'tls'] as const) {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-connections-'));
  const broker = await shoal.start({
    version,
    folder,
    shoal: { quotas: 'high', database: { engine: 'dynalite', delayMs: 0 } },
    unboundedQueues: true,
  });
  try {
    const { steps, rssBytes } = await measure(broker, opener(join(folder, 'data'), kind), count);
    console.log(`${kind}: ${(rssBytes / 1024).toFixed(1)} KB of memory for each idle connection with a subscription`);
    console.table(
      Object.fromEntries(
        steps.map(({ what, cpuUs, writeUnits, readUnits }) => [
          what,
          { 'CPU us': Math.round(cpuUs), 'write units': writeUnits.toFixed(2), 'read units': readUnits.toFixed(2) },
        ]),
      ),
    );
  } finally {
    await broker.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
