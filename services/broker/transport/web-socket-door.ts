/**
 * The HTTP side of the WebSocket listeners: which upgrades are let in, and what everybody else is told. Each refusal is
 * one line of the log, one count and one answer. Called by `transport.ts`, which makes connections of what is let in.
 */
import { type IncomingMessage, type Server as HttpServer, STATUS_CODES } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import type { Log, Metrics } from '../../kernel/kernel.js';
import { reasons, type Speech, speechOf } from '../wire/wire.js';
import type { Doorstep } from './doorstep.js';
import { PatientWebSocket } from './patient-web-socket.js';
import type { Origin } from './proxy-header.js';

export interface WebSocketDoorOptions {
  readonly doorstep: Doorstep;
  readonly log: Log;
  readonly metrics: Metrics;
  /** `/`, or no path at all, is taken as the path. */
  readonly isAtRoot: boolean;
  readonly takeOrigin: (socket: Socket) => Origin | undefined;
  /** `below`: what carries the WebSocket. */
  readonly onWebSocket: (webSocket: PatientWebSocket, below: Socket, origin: Origin | undefined) => void;
}

/** One WebSocket frame; an MQTT packet may be cut into several. */
const frameBytesMax = 1 << 20;
/** Zero would be the default of `ws`. */
const neverMs = 2 ** 31 - 1;
const path = '/mqtt';
/**
 * The first that is offered is taken. [MQTT-6.0.0-3] [MQTT-6.0.0-4] say `mqtt`; the other was in use before, and clients that
 * speak MQTT 3.1, or fall back to it, offer it alone. It says nothing of the version, which is in CONNECT.
 */
const subprotocols = ['mqtt', 'mqttv3.1'];
/** What a peer has said, in an answer or a line of the log. */
const shownMax = 100;

/** Why an upgrade is refused: label of the metric, and the status of the answer. */
const statuses = {
  'no-upgrade': 426,
  'wrong-path': 404,
  'wrong-subprotocol': 400,
  'bad-handshake': 400,
  'bad-request': 400,
  'mqtt-on-websocket-port': 400,
  'tls-on-plain-port': 400,
  'unexpected-proxy-header': 400,
} as const;
type Refusal = keyof typeof statuses;

const strangers: Readonly<Partial<Record<Speech, { readonly reason: Refusal; readonly words: string }>>> = {
  mqtt: {
    reason: 'mqtt-on-websocket-port',
    words: 'MQTT without WebSocket on a port for WebSocket: use ws:// or wss:// in the client, or the port for MQTT',
  },
  tls: { reason: 'tls-on-plain-port', words: reasons.tlsOnPlainPort.words },
  'proxy-header': { reason: 'unexpected-proxy-header', words: reasons.unexpectedProxyHeader.words },
};

type ParseError = NodeJS.ErrnoException & { readonly rawPacket?: Buffer; readonly reason?: string };

export function acceptWebSockets<S extends HttpServer | HttpsServer>(server: S, options: WebSocketDoorOptions): S {
  const { doorstep, log, metrics, isAtRoot, takeOrigin, onWebSocket } = options;
  // The doorstep ends a closing handshake that takes too long, by the broker's clock. Missing in the types.
  const closing = { closeTimeout: neverMs };
  const acceptor = new WebSocketServer({
    ...closing,
    WebSocket: PatientWebSocket,
    noServer: true,
    maxPayload: frameBytesMax,
    perMessageDeflate: false,
    handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
  });
  const where = `${path}${isAtRoot ? ' or /' : ''}, subprotocol ${subprotocols.join(' or ')}`;

  /** Requests may come one behind the other: the first decides. */
  const refused = new WeakSet<Socket>();

  /** Told and counted; returns the answer's headers and body. */
  const refuse = (socket: Socket, reason: Refusal, detail: string) => {
    refused.add(socket);
    const help = 'Requests to the WebSocket listeners that were refused, and input that was no request';
    metrics.counter('shoal_upgrades_refused_total', help, { reason }).add();
    const address = takeOrigin(socket)?.address ?? `${socket.remoteAddress}:${socket.remotePort}`;
    log.info({ reason, detail, address }, 'connection refused');
    doorstep.of(socket)?.become('closing'); // Its own end is not awaited for long.
    const body = `${detail}\nMQTT over WebSocket is at ${where}\n`;
    const headers = {
      Connection: 'close',
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
      'X-Content-Type-Options': 'nosniff', // What the peer has sent is in it.
      ...(reason === 'no-upgrade' && { Upgrade: 'websocket' }),
      ...(reason === 'bad-handshake' && { 'Sec-WebSocket-Version': 13 }),
    };
    return { headers, body };
  };
  /** Where the server has let go of the socket. */
  const refuseAt = (socket: Socket, reason: Refusal, detail: string, status: number = statuses[reason]): void => {
    const { headers, body } = refuse(socket, reason, detail);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.on('error', () => undefined).resume(); // What is not read would make of its end a reset, and take the answer along.
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`);
  };
  const faultOf = (request: IncomingMessage): [Refusal, string] | undefined => {
    const asked = pathOf(request);
    if (asked !== path && !(isAtRoot && asked === '/')) return ['wrong-path', `nothing is served at ${shown(asked)}`];
    const offered = request.headers['sec-websocket-protocol'];
    if (offered?.split(',').some((name) => subprotocols.includes(name.trim()))) return undefined;
    const what = offered === undefined ? 'no subprotocol was offered' : `the subprotocol offered was ${shown(offered)}`;
    return ['wrong-subprotocol', what];
  };

  server.on('request', (request, response) => {
    if (refused.has(request.socket)) return;
    const { headers, body } = refuse(request.socket, 'no-upgrade', `${request.method} without an upgrade to WebSocket`);
    response.writeHead(statuses['no-upgrade'], headers).end(body);
  });
  server.on('connect', (request) => {
    if (!refused.has(request.socket)) refuseAt(request.socket, 'no-upgrade', 'CONNECT: this is not an HTTP proxy');
  });
  server.on('clientError', (error: ParseError, socket: Socket) => {
    if (refused.has(socket)) return; // It goes on all the same.
    // The peer has gone, in the middle of a request or before it; TLS tells what its own errors are.
    if (!error.code?.startsWith('HPE_') || error.code === 'HPE_INVALID_EOF_STATE') return void socket.destroy();
    const stranger = error.rawPacket && strangers[speechOf(error.rawPacket) ?? 'unknown'];
    if (stranger) return refuseAt(socket, stranger.reason, stranger.words);
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : statuses['bad-request'];
    refuseAt(socket, 'bad-request', `not a readable HTTP request: ${error.reason ?? error.code}`, status);
  });
  acceptor.on('wsClientError', (error, _socket, request) =>
    refuseAt(request.socket, 'bad-handshake', `not a valid WebSocket handshake: ${error.message}`),
  );
  server.on('upgrade', (request, socket, head) => {
    if (refused.has(request.socket)) return;
    const fault = faultOf(request);
    const below = request.socket;
    if (fault) return refuseAt(below, ...fault);
    acceptor.handleUpgrade(request, socket, head, (webSocket) => {
      below.setNoDelay(true);
      onWebSocket(webSocket, below, takeOrigin(below));
    });
  });
  return server;
}

/** Without the query, which says nothing of the place, and in which AWS's SDKs sign: it belongs in no log. */
function pathOf({ url = '' }: IncomingMessage): string {
  const asked = url.replace(/^[a-z]+:\/\/[^/?]*/i, '').replace(/\?.*$/s, '');
  return asked === '' ? '/' : asked;
}

/** Readable, short, and on one line. */
function shown(text: string): string {
  const readable = text.replace(/[^\x20-\x7e]/g, '?');
  return JSON.stringify(readable.length > shownMax ? `${readable.slice(0, shownMax)}...` : readable);
}
