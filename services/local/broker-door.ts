/**
 * A second port of the embedded database, for the broker alone. So it can be told when everything that a broker has sent is over,
 * after the process is gone: only then may the next one read what it has left.
 *
 * Of a process that is gone the system has every byte it will ever have. Its connections are in the queue of the listener or
 * accepted; each ends once its bytes are read, and each request in it is carried out, or dropped because its end is missing.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Server as Door, type Socket } from 'node:net';

export class BrokerDoor {
  readonly #door: Door;
  readonly #sockets = new Set<Socket>();
  /** Requests that are not carried out yet, whether or not anybody waits for the answer. */
  #underWay = 0;
  #whenQuiet: (() => void)[] = [];

  constructor(server: Server) {
    // As an HTTP server would accept them.
    this.#door = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        this.#look();
      });
      server.emit('connection', socket);
    });
    server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
      if (this.#sockets.has(request.socket)) this.#count(request, response);
    });
  }

  /** Its port. */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#door.once('error', reject);
      this.#door.listen(port, host, () => resolve((this.#door.address() as AddressInfo).port));
    });
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Call it when the broker's process is gone; resolves when nothing that it has sent can change anything any more. */
  async quiet(): Promise<void> {
    // Each turn accepts what is in the listener's queue, and reads what has come.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    await new Promise<void>((resolve) => {
      this.#whenQuiet.push(resolve);
      this.#look();
    });
  }

  close(): void {
    this.#door.close();
  }

  /** The database ends its answer when it has carried the request out, also when the client has gone. */
  #count(request: IncomingMessage, response: ServerResponse): void {
    let isOver = false;
    const over = (): void => {
      if (isOver) return;
      isOver = true;
      this.#underWay--;
      this.#look();
    };
    this.#underWay++;
    const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
    response.end = (...args: unknown[]) => {
      const ended = end(...args);
      over();
      return ended;
    };
    request.once('close', () => {
      if (!request.complete) over();
    });
  }

  #look(): void {
    if (this.#sockets.size > 0 || this.#underWay > 0) return;
    for (const resolve of this.#whenQuiet.splice(0)) resolve();
  }
}
