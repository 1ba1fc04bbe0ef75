/** The API behind an HTTP server of its own, for one machine. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import { getConnInfo } from '@hono/node-server/conninfo';
import { createApp } from '../app.js';
import type { ApiDeps } from '../deps.js';
import { connectionLimits, type ConnectionLimits, limitConnections, serverOptions } from './connections.js';

export type { ApiDeps, Endpoints, Health } from '../deps.js';

export interface ServeOptions extends Omit<ApiDeps, 'sourceAddress' | 'isCutOff'> {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly limits?: ConnectionLimits;
}

export interface ServedApi {
  readonly port: number;
  /** Lets requests under way finish, for a moment. */
  close(): Promise<void>;
}

const closingMs = 2000;

/** Rejects with the error of `listen` (EADDRINUSE and the like) when it cannot. */
export async function serveApi({ host, port, limits = connectionLimits, ...deps }: ServeOptions): Promise<ServedApi> {
  const app = createApp({
    ...deps,
    sourceAddress: (c) => getConnInfo(c).remote.address ?? 'unknown',
    isCutOff(c) {
      const { incoming } = c.env as HttpBindings;
      return incoming.destroyed && !incoming.complete;
    },
  });
  const options = { fetch: app.fetch, hostname: host, serverOptions: serverOptions(limits) };
  const server = createAdaptorServer(options) as Server;
  limitConnections(server, limits);
  server.listen(port, host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      const cancel = deps.clock.after(closingMs, () => server.closeAllConnections());
      await closed;
      cancel();
    },
  };
}
