/** The last packet that a client gets from the broker: a CONNACK that refuses it, or DISCONNECT. */
import { encodeConnack, encodeDisconnect, type PeerFault, type ProtocolVersion, reasons } from '../wire/wire.js';

/** Undefined where the dialect has no such answer. */
export function refusalOf(
  { reason, message }: PeerFault,
  dialect: ProtocolVersion | undefined,
  packetBytesMax: number,
): Buffer | undefined {
  if (dialect === undefined) return undefined;
  if (dialect !== 5) return reason.connack3 === undefined ? undefined : encodeConnack(dialect, false, reason.connack3);
  // [MQTT-3.2.2-8] CONNACK has no code for a client that has connected again before it had its answer.
  if (reason.code === undefined || reason.code === reasons.sessionTakenOver.code) return undefined;
  const withWords = encodeConnack(5, false, reason.code, { reasonString: message });
  // [MQTT-3.2.2-19] Not larger than the client takes.
  return withWords.length <= packetBytesMax ? withWords : encodeConnack(5, false, reason.code);
}

/** MQTT 5.0 only. */
export function disconnectOf(code: number, words: string, packetBytesMax: number): Buffer {
  const withWords = encodeDisconnect(code, { reasonString: words });
  // [MQTT-3.14.2-3] Not larger than the client takes. [MQTT-3.1.2-29] allows the words in DISCONNECT.
  return withWords.length <= packetBytesMax ? withWords : encodeDisconnect(code);
}
