/** The two brokers that play the same scenario: where to connect, as whom, and when nothing is under way any more. */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { Aedes } from 'aedes';
import type { Credential } from '../support/broker.js';
import type { Stack } from '../support/stack.js';

export interface Peer {
  readonly name: 'aedes' | 'shoal';
  readonly port: number;
  readonly account: Credential | undefined;
  /** Resolves when the broker has done what follows from all packets that it has answered. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

/** More turns of the event loop than the longest chain of callbacks of aedes with a store in memory. */
const turns = 40;

/** A new and empty one, in this process. */
export async function startAedes(): Promise<Peer> {
  const aedes = await Aedes.createBroker();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    aedes.handle(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    name: 'aedes',
    port: (server.address() as AddressInfo).port,
    account: undefined,
    async settle() {
      for (let turn = 0; turn < turns; turn++) await setImmediate();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await new Promise<void>((resolve) => aedes.close(resolve));
    },
  };
}

/** A retained message that no filter of a scenario matches: it begins with $. */
export const lastRetained = '$last';

/** One tenant of a running Shoal. Its answers come when the work is done: there is nothing else to wait for. */
export async function peerOf(stack: Stack): Promise<Peer> {
  const tenant = await stack.tenant();
  const client = await tenant.client();
  await client.publish({ topic: lastRetained, qos: 1, retain: true, payload: 'x' });
  await client.disconnect();
  return {
    name: 'shoal',
    port: stack.endpoints.mqtt.port,
    account: await tenant.account(),
    settle: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
