/** A way between two brokers that a test slows, stops and cuts. */
import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { readAddress } from '../../../services/broker/mesh/mesh.js';
import { until } from '../../support/until.js';

export class Relay {
  /** `host:port` of this end. */
  readonly address: string;
  /** Of each piece, in each direction. */
  delayMs = 0;
  /** Nobody gets through any more. */
  isClosed = false;
  readonly #between: Set<Socket>;

  private constructor(port: number, between: Set<Socket>) {
    this.address = `127.0.0.1:${port}`;
    this.#between = between;
  }

  static async to(address: string): Promise<Relay> {
    const between = new Set<Socket>();
    const server = createServer((near) => {
      if (relay.isClosed) return void near.destroy();
      const far = connect({ ...readAddress(address)! });
      relay.#pass(near, far);
      relay.#pass(far, near);
    });
    server.listen(0, '127.0.0.1');
    await until(() => server.listening);
    const relay = new Relay((server.address() as { port: number }).port, between);
    onTestFinished(() => {
      server.close();
      relay.cut();
    });
    return relay;
  }

  #pass(from: Socket, to: Socket): void {
    this.#between.add(from);
    from.on('error', () => undefined).on('close', () => to.destroy());
    from.on('data', (chunk: Buffer) => {
      if (this.delayMs === 0) return void this.#write(to, from, chunk);
      setTimeout(() => this.#write(to, from, chunk), this.delayMs);
    });
  }

  #write(to: Socket, from: Socket, chunk: Buffer): void {
    if (to.destroyed || to.write(chunk)) return;
    from.pause();
    to.once('drain', () => this.#isFrozen || from.resume());
  }

  #isFrozen = false;

  /** Nothing gets through, and nobody notices: buffers fill. */
  freeze(): void {
    this.#isFrozen = true;
    for (const socket of this.#between) socket.pause();
  }

  thaw(): void {
    this.#isFrozen = false;
    for (const socket of this.#between) socket.resume();
  }

  /** Both sides notice; the next connection gets through. */
  cut(): void {
    for (const socket of this.#between) socket.destroy();
    this.#between.clear();
  }
}
