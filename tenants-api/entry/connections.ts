/**
 * What a connection of the local server may cost before it has asked for anything, and when it takes no answer. Behind API
 * Gateway requests arrive whole, and none of this is needed.
 */
import type { IncomingMessage, Server, ServerOptions } from 'node:http';
import type { Socket } from 'node:net';

export interface ConnectionLimits {
  /** From the first moment to the last byte of the body. A client that is slower is not one of ours: 408. */
  readonly requestMs: number;
  /** How long nothing moves before the connection is destroyed: nobody takes the answer. */
  readonly stallMs: number;
  readonly connectionsMax: number;
}

export const connectionLimits: ConnectionLimits = { requestMs: 10_000, stallMs: 30_000, connectionsMax: 1000 };

const tcpKeepAliveMs = 60_000;

export function serverOptions({ requestMs }: ConnectionLimits): ServerOptions {
  return {
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: requestMs / 10,
    keepAlive: true,
    keepAliveInitialDelay: tcpKeepAliveMs,
  };
}

/** Who comes when there is no room takes the place of whoever has waited longest without a whole request. */
export function limitConnections(server: Server, { stallMs, connectionsMax }: ConnectionLimits): void {
  server.setTimeout(stallMs);
  const requests = new Map<Socket, IncomingMessage | undefined>();
  server.on('connection', (socket: Socket) => {
    if (requests.size >= connectionsMax) {
      const idle = [...requests].find(([, request]) => request?.complete !== true)?.[0] ?? socket;
      requests.delete(idle);
      idle.destroy();
      if (idle === socket) return;
    }
    requests.set(socket, undefined);
    socket.on('close', () => requests.delete(socket));
  });
  server.on('request', (request: IncomingMessage, response: NodeJS.EventEmitter) => {
    const { socket } = request;
    if (requests.has(socket)) requests.set(socket, request);
    response.on('close', () => {
      if (requests.get(socket) !== request) return;
      requests.delete(socket); // It waits from now on.
      if (!socket.destroyed) requests.set(socket, undefined);
    });
  });
}
