/**
 * Where the kernel keeps connections until they are accepted. One queue has 4096 places (`net.core.somaxconn`), and libuv takes one
 * from it in a turn of the event loop. A SYN that finds it full is dropped and comes again after 1, 3, 7 and 15 s: when 16 000
 * devices lost their connections at once, that happened 119 000 times, and the last waited for 17 s while the broker had time left.
 * So a listener has several queues (SO_REUSEPORT), between which the kernel shares what comes. Other systems than Linux, and Node.js
 * before 22.12, cannot do that and have one.
 *
 * Another process of the same user could then share the port without anybody noticing, above all a second broker that was
 * started by mistake. So the port is first taken without sharing, for a moment.
 */
import { createServer, type Server, type ServerOpts } from 'node:net';
import { guarded } from '../../kernel/kernel.js';

/** Places of one, as far as the system allows them. */
const backlog = 4096;
/** A storm of 20 000, and some. Each queue costs one look a turn in which somebody comes, and nothing otherwise. */
const queuesMax = 8;
/** Elsewhere Node refuses to listen with it, as on macOS. */
const sharing = process.platform === 'linux' ? { reusePort: true } : {};

export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * `server` listens, and gets the connections of all queues. Resolves with all whose `close` ends that. Rejects with the system's
 * error when it cannot listen.
 */
export async function listenInQueues(server: Server, address: Address): Promise<Server[]> {
  if (address.port !== 0) await takeAlone(address);
  await listen(server, address);
  const bound = server.address();
  const port = typeof bound === 'object' && bound ? bound.port : address.port;
  const all = [server];
  const sockets = socketOptionsOf(server);
  while (all.length < queuesMax) {
    const queue = createServer(sockets, (socket) => guarded('accept', () => server.emit('connection', socket)));
    try {
      await listen(queue, { host: address.host, port });
    } catch {
      break; // It cannot be shared.
    }
    all.push(queue);
  }
  return all;
}

async function takeAlone(address: Address): Promise<void> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(address, resolve);
  });
  await new Promise((resolve) => probe.close(resolve));
}

function listen(server: Server, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...address, backlog, ...sharing }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** A socket is the same whichever queue it has come from. Servers have these as they were given, or as their kind chooses. */
function socketOptionsOf(server: Server): ServerOpts {
  const { allowHalfOpen, noDelay, pauseOnConnect } = server as Server & ServerOpts;
  return { allowHalfOpen, noDelay, pauseOnConnect };
}
