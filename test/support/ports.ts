/** Ports of this machine, for programs that cannot be told to choose one. */
import { connect, createServer } from 'node:net';

/** Below those that the system gives to connections: one that is free stays so until a program of ours listens. */
const [first, last] = [10_000, 32_000];
let next = first + ((process.pid * 97) % (last - first));

/** On 127.0.0.1, and not the same one twice. */
export async function freePort(): Promise<number> {
  for (;;) {
    next = next < last ? next + 1 : first;
    if (await isFree(next)) return next;
  }
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Whether somebody listens. */
export const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
