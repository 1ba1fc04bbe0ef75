/**
 * Why a connection ended or a request was refused: one row a reason. The name is the metric label and the word in
 * the log; `code` is the MQTT 5.0 reason code (section 2.4); `connack3` is the MQTT 3.1.1 CONNACK return code
 * (section 3.2.2.3), where a refused CONNECT of MQTT 3.x has an answer at all.
 */
import { StacklessError } from '../../kernel/kernel.js';
import type { ProtocolVersion } from './packets.js';

export interface Reason {
  readonly name: string;
  /** MQTT 5.0 reason code; undefined where nobody is left to be told. */
  readonly code: number | undefined;
  readonly connack3?: number;
  /** Told to MQTT 5.0 clients as Reason String. */
  readonly words: string;
  readonly fault: 'nobody' | 'client' | 'operator' | 'server';
}

const row = (
  name: string,
  code: number | undefined,
  fault: Reason['fault'],
  words: string,
  connack3?: number,
): Reason => ({ name, code, fault, words, ...(connack3 === undefined ? {} : { connack3 }) });

export const reasons = {
  normalDisconnection: row('normal-disconnection', 0x00, 'nobody', 'the client disconnected'),
  disconnectWithWill: row(
    'disconnect-with-will',
    0x04,
    'nobody',
    'the client disconnected and asked for its will to be published',
  ),
  unspecifiedError: row('unspecified-error', 0x80, 'server', 'internal server error', 0x03),
  malformedPacket: row('malformed-packet', 0x81, 'client', 'the packet does not follow the MQTT specification'),
  protocolError: row('protocol-error', 0x82, 'client', 'the packet is not allowed at this point'),
  unsupportedProtocolVersion: row(
    'unsupported-protocol-version',
    0x84,
    'client',
    'unsupported protocol version: use MQTT 3.1, 3.1.1 or 5.0',
    0x01,
  ),
  clientIdentifierNotValid: row(
    'client-identifier-not-valid',
    0x85,
    'client',
    'this client identifier is not valid',
    0x02,
  ),
  badUserNameOrPassword: row(
    'bad-user-name-or-password',
    0x86,
    'client',
    'wrong user name (name@tenant) or password',
    0x04,
  ),
  notAuthorized: row('not-authorized', 0x87, 'client', 'not authorized', 0x05),
  serverUnavailable: row(
    'server-unavailable',
    0x88,
    'server',
    'the service cannot admit clients at the moment; try again later',
    0x03,
  ),
  serverShuttingDown: row('server-shutting-down', 0x8b, 'operator', 'the broker is shutting down; reconnect', 0x03),
  serverBusy: row('server-busy', 0x89, 'client', 'too many clients are connecting at once; try again later', 0x03),
  badAuthenticationMethod: row(
    'bad-authentication-method',
    0x8c,
    'client',
    'enhanced authentication is not supported',
    0x05,
  ),
  keepAliveTimeout: row(
    'keep-alive-timeout',
    0x8d,
    'client',
    'no packet received for one and a half keep alive intervals',
  ),
  sessionTakenOver: row('session-taken-over', 0x8e, 'client', 'another connection took over this client identifier'),
  topicFilterInvalid: row('topic-filter-invalid', 0x8f, 'client', 'this topic filter is not valid'),
  // MQTT 3.x closes without CONNACK on an invalid topic name; this one is valid, and code 5 stops a client that would try for ever.
  willTopicTooLong: row('will-topic-too-long', 0x90, 'client', 'the will topic is too long', 0x05),
  topicNameInvalid: row('topic-name-invalid', 0x90, 'client', 'this topic name is not valid'),
  receiveMaximumExceeded: row(
    'receive-maximum-exceeded',
    0x93,
    'client',
    'more unacknowledged messages than Receive Maximum allows',
  ),
  topicAliasInvalid: row(
    'topic-alias-invalid',
    0x94,
    'client',
    'this topic alias is not set, or is above Topic Alias Maximum',
  ),
  packetTooLarge: row('packet-too-large', 0x95, 'client', 'the packet is larger than Maximum Packet Size'),
  // Before the row that says what 0x97 is in general.
  tooManyProperties: row(
    'too-many-properties',
    0x97,
    'client',
    'a packet can have at most 1000 properties, and 64 KiB of them',
    0x03,
  ),
  tooManyFilters: row(
    'too-many-filters',
    0x97,
    'client',
    'SUBSCRIBE and UNSUBSCRIBE can have at most 1000 topic filters',
  ),
  quotaExceeded: row('quota-exceeded', 0x97, 'client', 'a quota of the tenant is exhausted', 0x03),
  tooManyWrongPasswords: row(
    'too-many-wrong-passwords',
    0x9f,
    'client',
    'too many wrong passwords for this user name or from this address; try again in a minute',
    0x03,
  ),
  connectionRateExceeded: row(
    'connection-rate-exceeded',
    0x9f,
    'client',
    'the clients of the tenant connect faster than its quota allows; try again later',
    0x03,
  ),
  administrativeAction: row('administrative-action', 0x98, 'operator', 'disconnected by the tenant or the operator'),
  // Endings that no client hears of.
  connectTimeout: row('connect-timeout', undefined, 'client', 'no CONNECT received in time'),
  connectionLost: row('connection-lost', undefined, 'nobody', 'the network connection closed without DISCONNECT'),
  notMqtt: row('not-mqtt', undefined, 'client', 'the first packet was not CONNECT'),
  webSocketFault: row('websocket-fault', undefined, 'client', 'the WebSocket frames are invalid'),
  // What has come instead, in `first-bytes.ts`.
  tlsOnPlainPort: row(
    'tls-on-plain-port',
    undefined,
    'client',
    'a TLS handshake on a port without TLS: use the port for TLS, or turn TLS off in the client (mqtt:// or ws://)',
  ),
  httpOnMqttPort: row(
    'http-on-mqtt-port',
    undefined,
    'client',
    'an HTTP request on an MQTT port: MQTT over WebSocket and the API have their own ports',
  ),
  unexpectedProxyHeader: row(
    'unexpected-proxy-header',
    undefined,
    'operator',
    'an unexpected PROXY protocol header: name the load balancer in --trust-proxy (SHOAL_TRUST_PROXY), ' +
      'or turn the header off there; it must come once, before TLS',
  ),
  clientTooSlow: row('client-too-slow', undefined, 'client', 'the client is not reading its socket'),
} as const satisfies Record<string, Reason>;

const wordsByCode = new Map(Object.values<Reason>(reasons).map(({ code, words }) => [code, words]));

/** What a reason code of 0x80 or above means, in words. */
export function reasonWords(code: number): string {
  return wordsByCode.get(code) ?? reasons.unspecifiedError.words;
}

/** Thrown by the decoder and by checks on what a peer sent; ends that one connection. */
export class PeerFault extends StacklessError {
  override readonly name = 'PeerFault';
  readonly reason: Reason;
  /** Of a CONNECT that could not be accepted: the dialect in which its sender understands an answer. */
  dialect: ProtocolVersion | undefined;

  constructor(reason: Reason, detail: string, dialect?: ProtocolVersion) {
    super(detail);
    this.reason = reason;
    this.dialect = dialect;
  }
}

export const malformed = (detail: string): PeerFault => new PeerFault(reasons.malformedPacket, detail);
export const protocolError = (detail: string): PeerFault => new PeerFault(reasons.protocolError, detail);
