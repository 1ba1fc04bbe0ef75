/**
 * The embedded DynamoDB, a process of its own so that it never shares an event loop with a broker. Started by
 * `machine.ts` over IPC: sends `{type:'ready', port, brokerPorts}` or `{type:'failed', message}`, and answers `{quiet: n}`, the place of a
 * port in that list (`broker-door.ts`). It outlives the brokers on purpose:
 * signals of a terminal or a process group do not stop it, only its parent does, by a message or by going away.
 *
 * Every write is in the page cache of the system before it is answered (LevelDB writes its log record by record, without
 * fsync), so what was acknowledged survives a kill of all processes; it may not survive a loss of power.
 */
import type { IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import dynalite from 'dynalite';
import { BrokerDoor } from './broker-door.js';
import { databaseWords } from './disk.js';
import { systemCode } from './failure.js';

const host = '127.0.0.1';
/** A port for each broker, so that it can be told when everything of one of them is over. */
const [path = '', port = '0', ...brokerPorts] = process.argv.slice(2);

/** After the parent is gone: how long a broker may go on writing its state before this process ends anyway. */
const orphanGraceMs = 5000;
const orphanCheckMs = 50;

const server = dynalite({
  ...(path === '' ? {} : { path }),
  createTableMs: 0,
  deleteTableMs: 0,
  updateTableMs: 0,
});

// dynalite throws when a client goes away in the middle of a request; a killed broker must not take the tables with it.
server.on('request', (request: IncomingMessage) => {
  request.removeAllListeners('error');
  request.on('error', () => {});
});

const brokerDoors = brokerPorts.map(() => new BrokerDoor(server));

process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.on('SIGHUP', () => {});
process.on('message', (message: 'stop' | { readonly quiet: number }) => {
  if (message === 'stop') return stop();
  const { quiet } = message;
  void brokerDoors[quiet]?.quiet().then(() => process.send?.({ type: 'quiet', quiet }));
});
process.on('disconnect', stopWhenAlone);
process.on('uncaughtException', (error) => {
  void reasonOf(error).then((reason) => {
    const why = databaseWords(path, reason) ?? error.message;
    fail(`the database${path === '' ? '' : ` in ${path}`} cannot be used: ${why}`);
  });
});

server.listen(Number(port), host, () => {
  void firstRequest()
    .then(() => Promise.all(brokerDoors.map((door, at) => door.listen(Number(brokerPorts[at]), host))))
    .then(
      (doors) => process.send?.({ type: 'ready', port: portOf(), brokerPorts: doors }),
      (error: Error) => fail(error.message),
    );
});

/** dynalite opens the database in the background and does not pass on why it cannot: another attempt tells. */
async function reasonOf(error: Error): Promise<unknown> {
  // Of the database, or of an iterator in it.
  if (path === '' || !/^LEVEL_\w+_NOT_OPEN$/.test(systemCode(error) ?? '')) return error;
  const ofDynalite = createRequire(createRequire(import.meta.url).resolve('dynalite'));
  const { Level } = ofDynalite('level') as { Level: new (path: string) => { open(): Promise<void> } };
  return await new Level(path).open().then(
    () => error,
    (reason: unknown) => reason,
  );
}

function fail(message: string): void {
  if (process.send === undefined) process.exit(1);
  process.send({ type: 'failed', message }, () => process.exit(1));
}

function portOf(): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** The database opens in the background: ready means that it has answered once. */
async function firstRequest(): Promise<void> {
  const response = await fetch(`http://${host}:${portOf()}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': 'DynamoDB_20120810.ListTables',
      'x-amz-date': '20260101T000000Z',
      authorization:
        'AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=a',
      connection: 'close',
    },
    body: '{}',
  });
  if (!response.ok) throw new Error(`the database answered ${response.status}: ${await response.text()}`);
}

function stop(): void {
  for (const door of brokerDoors) door.close();
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  // Clients keep their connections open; answers under way have a moment to leave.
  setTimeout(() => server.closeAllConnections(), 500).unref();
}

/** The parent is gone: the broker stops by itself and writes its state here first, so wait until nobody is connected. */
function stopWhenAlone(): void {
  const startedMs = performance.now();
  const timer = setInterval(() => {
    server.getConnections((_, count) => {
      if (
        brokerDoors.reduce((sum, door) => sum + door.connections, count) > 0 &&
        performance.now() - startedMs < orphanGraceMs
      )
        return;
      clearInterval(timer);
      stop();
    });
  }, orphanCheckMs);
}
