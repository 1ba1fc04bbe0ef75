/** A QoS 0 message to a client that is there: sent now, or dropped and counted (G7). */
import type { DeliveryTerms, Message } from '../message/message.js';
import type { Channel } from './channel.js';
import type { SessionHost } from './ports.js';

export function deliver0(
  host: SessionHost,
  channel: Channel,
  message: Message,
  terms: DeliveryTerms,
  nowMs: number,
): void {
  const { meters, memory } = host;
  if (!host.takeDelivery(message.payloadBytes, nowMs)) {
    meters.droppedOverQuota++;
    return;
  }
  const sent = channel.publish0(message, terms, memory, nowMs);
  if (sent === 'sent') {
    meters.messagesSent++;
    meters.bytesSent += message.payloadEnd - message.payloadStart;
  } else if (sent === 'too-slow') meters.droppedSlowSubscriber++;
  else if (sent === 'no-memory') meters.droppedOverQuota++;
}
