/** A QoS 0 message: sent now, or dropped and counted (G7). Both kinds of `Outbound` call it; nothing is ever kept. */
import type { DeliveryTerms, Message } from '../message/message.js';
import type { Channel } from './channel.js';
import type { SessionHost } from './ports.js';

export function deliver0(
  host: SessionHost,
  channel: Channel | undefined,
  message: Message,
  terms: DeliveryTerms,
  nowMs: number,
): void {
  const { meters, memory } = host;
  if (channel === undefined) {
    meters.droppedOffline++;
    return;
  }
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
