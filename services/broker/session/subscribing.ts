/** SUBSCRIBE and UNSUBSCRIBE of one session: what is granted, refused, replaced, and how it is answered. */
import { levelsError, parseShared, topicBytesMax, topicFilterError } from '../../topic/topic.js';
import { protocolError, type SubscribePacket, type SubscriptionRequest, type UnsubscribePacket } from '../wire/wire.js';
import type { StoredRoute, StoredRoutes } from '../inbox/inbox.js';
import { bothReceipts, handedOn, PendingReceipt, type Receipt } from '../message/message.js';
import type { Channel } from './channel.js';
import type { Access, SessionHost, Subscription } from './ports.js';
import type { Session } from './client-session.js';
import type { Owed, OwedRetained } from './owed-retained.js';
import { subscriptionOf } from './subscriptions.js';

/** Before MQTT 5.0 a refusal has one code. */
const failure3 = 0x80;

export function receiveSubscribe(
  session: Session,
  host: SessionHost,
  access: Access,
  channel: Channel,
  packet: SubscribePacket,
  owed: OwedRetained,
  stored: StoredRoutes | undefined,
): void {
  const codes: number[] = [];
  const refusals: string[] = [];
  /** What is there twice is done once, as it is said last, and has a code each time. [MQTT-3.8.4-5] */
  const granted = new Map<string, Subscription>();
  const refused = new Map<string, number>();
  const owing = new Map<string, Owed>();
  const answer = (reasonCode: number): void => {
    const answers = reasonCode < 0x80 ? codes : codes.map((code) => (code >= 0x80 ? code : 0x83));
    channel.suback(packet.packetId, answers, refusals[0]); // [MQTT-3.8.4-1] [MQTT-3.8.4-6]
    if (reasonCode < 0x80) owed.start(owing.values());
    else owed.drop(owing.values());
  };
  if (!channel.takesSuback(packet.subscriptions.length))
    return channel.suback(packet.packetId, new Array<number>(packet.subscriptions.length).fill(0), undefined);
  // [MQTT-3.8.3-4] Before anything is done for the others: no filter of such a packet counts.
  for (const { filter, noLocal } of packet.subscriptions)
    if (noLocal && typeof parseShared(filter) === 'object') throw protocolError('No Local on a shared subscription');
  const id = packet.properties.subscriptionIdentifier ?? 0;
  const last = new Map(packet.subscriptions.map((request) => [request.filter, request]));
  for (const { filter, qos, retainHandling } of packet.subscriptions) {
    let isNew = false;
    if (!granted.has(filter) && !refused.has(filter)) {
      const request = last.get(filter)!;
      const subscription = examine(session, host, access, channel.isBridge ? ofBridge(request) : request, id);
      if ('code' in subscription) {
        refused.set(filter, channel.version === 5 ? subscription.code : failure3);
        refusals.push(`${filter}: ${subscription.why}`);
      } else {
        isNew = !session.subscriptions.has(filter);
        session.subscriptions.set(filter, subscription); // [MQTT-3.8.4-3] Replaces, and misses nothing.
        host.subscribe(session, subscription, isNew);
        granted.set(filter, subscription);
      }
    }
    const code = refused.get(filter);
    codes.push(code ?? qos);
    if (code !== undefined) {
      host.meters.refusedSubscriptions++;
      continue;
    }
    // [MQTT-3.3.1-9] … [MQTT-3.3.1-11]; a shared subscription gets no retained messages when it is made (section 4.8.2).
    const isOwed = retainHandling === 0 || (retainHandling === 1 && isNew);
    if (isOwed && granted.get(filter)!.group === undefined && !owing.has(filter))
      owing.set(filter, owed.request(filter));
  }
  const matched = matchedBy(host);
  if (!stored && matched === handedOn) return answer(0);
  channel.owedAnswers++;
  if (!stored) return answerWhen(matched, channel, session, answer);
  whenStoredWith(granted, owing, session, host, owed, stored, (receipt) =>
    answerWhen(matched === handedOn ? receipt : bothReceipts(receipt, matched), channel, session, answer),
  );
}

/** Settles when all brokers match what has been subscribed to so far: a message that is sent anywhere after the SUBACK is not missed (G2). */
function matchedBy(host: SessionHost): Receipt {
  let matched: Receipt | undefined;
  host.whenMatched(() => {
    if (matched) (matched as PendingReceipt).settle(0);
    else matched = handedOn;
  });
  return (matched ??= new PendingReceipt());
}

/** Unless the client has gone by then. The count of owed answers has been raised before. */
function answerWhen(receipt: Receipt, channel: Channel, session: Session, answer: (reasonCode: number) => void): void {
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

/**
 * A subscription of a session that outlives its connection is stored before the client is told (G1), together with the
 * retained messages that it owes. That they have been handed over is one more write. So the table is asked first whether
 * there are any, and a subscription that owes nothing is written once.
 */
function whenStoredWith(
  granted: ReadonlyMap<string, Subscription>,
  owing: ReadonlyMap<string, Owed>,
  session: Session,
  host: SessionHost,
  owed: OwedRetained,
  stored: StoredRoutes,
  then: (receipt: Receipt) => void,
): void {
  /** Unless another SUBSCRIBE, an UNSUBSCRIBE or the end of the session has overtaken the look. */
  const current = (): Subscription[] =>
    [...granted.values()].filter((subscription) => session.subscriptions.get(subscription.filter) === subscription);
  const store = (): void => {
    for (const subscription of current()) stored.set(routeOf(subscription, owed.storedPlace(subscription.filter)));
    then(stored.stored);
  };
  if (owing.size === 0) return store();
  const topicFilters = [...owing.keys()].map((filter) => granted.get(filter)!.topicFilter);
  host.whichMayBeRetained(topicFilters, (matched) => {
    const isNothing = ({ topicFilter }: Subscription): boolean => !matched.has(topicFilter);
    owed.drop(
      current()
        .filter(isNothing)
        .flatMap(({ filter }) => owing.get(filter) ?? []),
    );
    store();
  });
}

/** `owedAfter`: behind which topic retained messages are owed, if there are any. */
export function routeOf(subscription: Subscription, owedAfter: string | undefined): StoredRoute {
  const { filter, qos, noLocal, retainAsPublished, retainHandling, id } = subscription;
  return {
    filter,
    qos,
    noLocal,
    retainAsPublished,
    retainHandling,
    id,
    ...(owedAfter !== undefined && { owedAfter }),
  };
}

/**
 * A bridge before MQTT 5.0 cannot say what it needs: that its own messages do not come back, which would go round for ever,
 * and that the others are retained by its broker as they are here. A shared subscription has no No Local [MQTT-3.8.3-4].
 */
function ofBridge(request: SubscriptionRequest): SubscriptionRequest {
  return { ...request, noLocal: parseShared(request.filter) === undefined, retainAsPublished: true };
}

/** A refusal: MQTT 5.0 reason code, and the words for the reason string. */
interface Refusal {
  readonly code: number;
  readonly why: string;
}

/** What the filter asks for; or what is wrong with it. */
function parse(filter: string, levelsMax: number): Pick<Subscription, 'topicFilter' | 'group'> | string {
  if (Buffer.byteLength(filter) > topicBytesMax) return `a topic filter can have at most ${topicBytesMax} bytes`;
  const shared = parseShared(filter);
  if (typeof shared === 'string') return shared;
  const { filter: topicFilter, group } = shared ?? { filter, group: undefined };
  const error = levelsError('a topic filter', topicFilter, levelsMax) ?? topicFilterError(topicFilter);
  return error ?? { topicFilter, group };
}

function examine(
  session: Session,
  host: SessionHost,
  access: Access,
  request: SubscriptionRequest,
  id: number,
): Subscription | Refusal {
  const parsed = parse(request.filter, host.topicLevelsMax);
  if (typeof parsed === 'string') return { code: 0x8f, why: parsed };
  const { topicFilter, group } = parsed;
  const isNew = !session.subscriptions.has(request.filter);
  const { subscriptionsPerSession, subscriptions } = host.limits;
  // Before the rules, which take longest: of a thousand filters in a packet most may be too many.
  if (isNew && session.subscriptions.size >= subscriptionsPerSession)
    return { code: 0x97, why: `a session can have at most ${subscriptionsPerSession} subscriptions` };
  if (!access.maySubscribe(topicFilter))
    return { code: 0x87, why: 'not allowed by the access rules of the credential' };
  if (isNew) {
    if (host.subscriptions >= subscriptions)
      return { code: 0x97, why: `all sessions of the tenant together can have at most ${subscriptions} subscriptions` };
    const error = host.filterError(topicFilter);
    if (error !== undefined) return { code: 0x97, why: error };
    const short = host.memory.refusal();
    if (short !== undefined) return { code: 0x97, why: short };
  }
  return subscriptionOf(request, topicFilter, group, id);
}

export function receiveUnsubscribe(
  session: Session,
  host: SessionHost,
  channel: Channel,
  packet: UnsubscribePacket,
  owed: OwedRetained,
  stored: StoredRoutes | undefined,
): void {
  const codes = packet.filters.map((filter) => {
    const subscription = session.subscriptions.get(filter); // [MQTT-3.10.4-1]
    if (subscription === undefined) return typeof parse(filter, host.topicLevelsMax) === 'string' ? 0x8f : 0x11; // No subscription existed.
    session.subscriptions.delete(filter);
    owed.forget(filter);
    host.unsubscribe(session, subscription);
    stored?.remove(filter);
    return 0x00;
  });
  channel.owedAnswers++;
  answerWhen(stored?.stored ?? handedOn, channel, session, (reasonCode) => {
    const answers = codes.map((code) => Math.max(code, reasonCode));
    channel.unsuback(packet.packetId, answers); // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
  });
}
