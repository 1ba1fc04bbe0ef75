/**
 * What comes to the listeners for TLS and does not get through its handshake, in words. OpenSSL calls everything that is
 * not TLS a wrong version, so the first bytes are looked at before it reads them. Called by `transport.ts` for each such server.
 */
import type { Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Counter, Log, Metrics } from '../../kernel/kernel.js';
import { reasons, type Speech, speechOf } from '../wire/wire.js';
import { handOn, takeConnections } from './proxied.js';
import type { Origin } from './proxy-header.js';

/** Labels of the counter; the words for the log. */
const strangers: Readonly<Partial<Record<Speech, { readonly reason: string; readonly words: string }>>> = {
  mqtt: {
    reason: 'mqtt-on-tls-port',
    words: 'MQTT without TLS on a port for TLS: turn TLS on in the client (mqtts:// or wss://), or use the plain port',
  },
  http: {
    reason: 'http-on-tls-port',
    words: 'an HTTP request without TLS on a port for TLS: use wss:// or https:// in the client, or the plain port',
  },
  'proxy-header': { reason: 'unexpected-proxy-header', words: reasons.unexpectedProxyHeader.words },
};
const handshakeFailed = 'handshake-failed';

export interface TlsDoorOptions {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly takeOrigin: (socket: Socket) => Origin | undefined;
}

type TlsServer = Server & {
  on(event: 'tlsClientError', listener: (error: Error, socket: TLSSocket) => void): unknown;
};

export function tellTlsFailures<S extends TlsServer>(server: S, options: TlsDoorOptions): S {
  const { log, metrics, takeOrigin } = options;
  const counters = new Map(
    [...Object.values(strangers).map(({ reason }) => reason), handshakeFailed].map((reason) => [
      reason,
      failures(metrics, reason),
    ]),
  );
  const refuse = (socket: Socket, reason: string, detail: string): void => {
    counters.get(reason)!.add();
    log.info({ reason, detail, address: takeOrigin(socket)?.address ?? socket.remoteAddress }, 'TLS handshake failed');
    socket.destroy(); // Not every error has ended it.
  };
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: Socket) =>
    refuse(socket, handshakeFailed, error.code ?? error.message),
  );
  takeConnections(server, (socket, accept) => {
    let bytes: Buffer | undefined;
    const onData = (chunk: Buffer): void => {
      const all = bytes ? Buffer.concat([bytes, chunk]) : chunk;
      bytes = all;
      const speech = speechOf(all);
      if (speech === undefined) return;
      socket.off('data', onData);
      const stranger = strangers[speech];
      if (stranger) refuse(socket, stranger.reason, stranger.words);
      else handOn(socket, all, () => accept(socket)); // Anything else is for OpenSSL to judge.
    };
    socket.on('data', onData);
  });
  return server;
}

function failures(metrics: Metrics, reason: string): Counter {
  return metrics.counter('shoal_tls_failures_total', 'TLS handshakes that failed', { reason });
}
