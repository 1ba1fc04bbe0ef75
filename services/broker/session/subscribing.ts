/** SUBSCRIBE and UNSUBSCRIBE of one session: what is granted, refused, replaced, and how it is answered. */
import { parseShared, topicFilterError } from '../../topic/topic.js';
import { protocolError, type SubscribePacket, type SubscriptionRequest, type UnsubscribePacket } from '../wire/wire.js';
import type { StoredRoute, StoredRoutes } from '../inbox/inbox.js';
import type { Channel } from './channel.js';
import { topicBytesMax } from './inbound.js';
import type { Access, SessionHost, Subscription } from './ports.js';
import type { Session } from './client-session.js';

/** Before MQTT 5.0 a refusal has one code. */
const failure3 = 0x80;

export function receiveSubscribe(
  session: Session,
  host: SessionHost,
  access: Access,
  channel: Channel,
  packet: SubscribePacket,
  stored: StoredRoutes | undefined,
): void {
  const codes: number[] = [];
  const refusals: string[] = [];
  const retainedFor: Subscription[] = [];
  const id = packet.properties.subscriptionIdentifier ?? 0;
  for (const request of packet.subscriptions) {
    const subscription = examine(session, host, access, request, id);
    if ('code' in subscription) {
      codes.push(channel.version === 5 ? subscription.code : failure3);
      refusals.push(`${request.filter}: ${subscription.why}`);
      continue;
    }
    const isNew = !session.subscriptions.has(request.filter);
    session.subscriptions.set(request.filter, subscription); // [MQTT-3.8.4-3] Replaces, and misses nothing.
    host.subscribe(session, subscription, isNew);
    stored?.set(routeOf(subscription));
    codes.push(subscription.qos);
    // [MQTT-3.3.1-9] … [MQTT-3.3.1-11]; a shared subscription gets no retained messages when it is made (section 4.8.2).
    const { retainHandling, group } = subscription;
    if (group === undefined && (retainHandling === 0 || (retainHandling === 1 && isNew)))
      retainedFor.push(subscription);
  }
  whenStored(stored, channel, session, (reasonCode) => {
    const answers = reasonCode < 0x80 ? codes : codes.map((code) => (code >= 0x80 ? code : 0x83));
    channel.suback(packet.packetId, answers, refusals[0]); // [MQTT-3.8.4-1] [MQTT-3.8.4-6]
    for (const subscription of retainedFor) host.sendRetained(session, subscription);
  });
}

/** A subscription of a session that outlives its connection is stored before the client is told (G1). */
function whenStored(
  stored: StoredRoutes | undefined,
  channel: Channel,
  session: Session,
  answer: (reasonCode: number) => void,
): void {
  if (!stored) return answer(0);
  const receipt = stored.stored;
  channel.owedAnswers++;
  receipt.whenSettled(() => {
    channel.owedAnswers--;
    if (session.channel !== channel) return;
    try {
      answer(receipt.reasonCode!);
    } catch (error) {
      channel.failed(error);
    }
  });
}

function routeOf({ filter, qos, noLocal, retainAsPublished, retainHandling, id }: Subscription): StoredRoute {
  return { filter, qos, noLocal, retainAsPublished, retainHandling, id };
}

/** A refusal: MQTT 5.0 reason code, and the words for the reason string. */
interface Refusal {
  readonly code: number;
  readonly why: string;
}

function examine(
  session: Session,
  host: SessionHost,
  access: Access,
  request: SubscriptionRequest,
  id: number,
): Subscription | Refusal {
  const shared = parseShared(request.filter);
  if (typeof shared === 'string') return { code: 0x8f, why: shared };
  if (shared !== undefined && request.noLocal) throw protocolError('No Local on a shared subscription'); // [MQTT-3.8.3-4]
  const topicFilter = shared?.filter ?? request.filter;
  const error = topicFilterError(topicFilter);
  if (error !== undefined) return { code: 0x8f, why: error };
  if (Buffer.byteLength(request.filter) > topicBytesMax)
    return { code: 0x8f, why: `a topic filter has at most ${topicBytesMax} bytes here` };
  if (!access.maySubscribe(topicFilter))
    return { code: 0x87, why: 'not allowed by the access rules of the credential' };
  const { subscriptions } = session;
  const previous = subscriptions.get(request.filter);
  const { subscriptionsPerSession } = host.limits;
  if (!previous && subscriptions.size >= subscriptionsPerSession)
    return { code: 0x97, why: `a session may have ${subscriptionsPerSession} subscriptions` };
  const replay = request.retainHandling === 0 || !previous ? {} : previous.replay;
  return { ...request, topicFilter, group: shared?.group, id, replay };
}

export function receiveUnsubscribe(
  session: Session,
  host: SessionHost,
  channel: Channel,
  packet: UnsubscribePacket,
  stored: StoredRoutes | undefined,
): void {
  const codes = packet.filters.map((filter) => {
    const shared = parseShared(filter);
    const grammar = typeof shared === 'string' ? shared : topicFilterError(shared?.filter ?? filter);
    if (grammar !== undefined) return 0x8f;
    const subscription = session.subscriptions.get(filter); // [MQTT-3.10.4-1]
    if (subscription === undefined) return 0x11; // No subscription existed.
    session.subscriptions.delete(filter);
    host.unsubscribe(session, subscription);
    stored?.remove(filter);
    return 0x00;
  });
  // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
  whenStored(stored, channel, session, (reasonCode) =>
    channel.unsuback(
      packet.packetId,
      codes.map((code) => Math.max(code, reasonCode)),
    ),
  );
}
