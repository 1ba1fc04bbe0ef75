/**
 * `$SYS/broker/…`: a tenant's own numbers, never another's and never the broker's. Names and units are those of mosquitto 2
 * where it has one, so that its dashboards and exporters find them. Below `$SYS/broker/connection/` there is what clients of the
 * tenant publish.
 *
 * Subscribers get all values when they subscribe, and then those that have changed. All are counted as they happen: a tenant
 * that nobody asks costs its load averages, one with subscribers 5 us more every 10 s, and a message for each change.
 */
import npmPackage from '../../../package.json' with { type: 'json' };
import type { SparseMap } from '../../kernel/kernel.js';
import { bridgeStates } from '../../tenancy/tenancy.js';
import { filterMatches, filtersOverlap } from '../../topic/topic.js';
import type { RetainedCount } from '../fanout/fanout.js';
import { Message } from '../message/message.js';
import type { RetainedRead } from '../session/session.js';
import { droppedMessages, loadMinutes, loadNames } from './load.js';
import type { Tenant } from './local-tenant.js';

/** How often subscribers are told. */
export const systemTopicsEveryMs = 10_000;

type Value = (tenant: Tenant) => number | string;

const retained = (tenant: Tenant): RetainedCount => tenant.retainedCount;
/** With the messages that wait for sessions which outlive their connections, and for shared subscriptions. */
const stored = (tenant: Tenant): number => retained(tenant).messages + tenant.backlog.messages;
const connected = (tenant: Tenant): number => tenant.connections;
const disconnected = (tenant: Tenant): number => tenant.residences.size - tenant.connections;

const named: Readonly<Record<string, Value>> = {
  version: () => `shoal version ${npmPackage.version}`,
  uptime: (tenant) => `${tenant.countingSeconds} seconds`,
  'clients/connected': connected,
  'clients/active': connected,
  'clients/disconnected': disconnected,
  'clients/inactive': disconnected,
  'clients/total': (tenant) => tenant.residences.size,
  'clients/maximum': (tenant) => tenant.connectionsMax,
  'clients/expired': ({ meters }) => meters.expiredSessions,
  'messages/received': ({ meters }) => meters.packetsReceived,
  'messages/sent': ({ meters }) => meters.packetsSent,
  'messages/stored': stored,
  'bytes/received': ({ meters }) => meters.packetBytesReceived,
  'bytes/sent': ({ meters }) => meters.packetBytesSent,
  'publish/messages/received': ({ meters }) => meters.messagesReceived,
  'publish/messages/sent': ({ meters }) => meters.messagesSent,
  'publish/messages/dropped': ({ meters }) => droppedMessages(meters),
  'publish/messages/refused': ({ meters }) => meters.refusedPublishes,
  'publish/messages/expired': ({ meters }) => meters.expiredMessages,
  'publish/bytes/received': ({ meters }) => meters.bytesReceived,
  'publish/bytes/sent': ({ meters }) => meters.bytesSent,
  'heap/current': ({ memory }) => memory.bytes,
  'retained messages/count': (tenant) => retained(tenant).messages,
  'store/messages/count': stored,
  'store/messages/bytes': (tenant) => retained(tenant).bytes,
  'database/units/month': ({ units }) => Math.floor(units.monthUnits),
  'subscriptions/count': (tenant) => tenant.subscriptions,
  'thread/seconds': ({ time }) => (time.usedMs / 1000).toFixed(2),
  'shared_subscriptions/count': (tenant) => tenant.sharedSubscriptions,
};

const loads = loadNames.flatMap((name, i) =>
  loadMinutes.map((minutes, window): [string, Value] => [
    `load/${name}/${minutes}min`,
    ({ load }) => load.average(i, window).toFixed(2),
  ]),
);

/** In the order of their topics. */
const values: readonly (readonly [topic: string, value: Value])[] = [...Object.entries(named), ...loads]
  .map(([name, value]) => [`$SYS/broker/${name}`, value] as const)
  .sort(([one], [other]) => (one < other ? -1 : 1));

/** Whether it matches one of the tenant's numbers. */
export function isSystemFilter(filter: string): boolean {
  if (filter !== '$SYS' && !filter.startsWith('$SYS/')) return false;
  return values.some(([topic]) => filterMatches(filter, topic));
}

/** Behind all numbers and before all states of bridges: no topic. */
const behindNumbers = bridgeStates.slice(0, -1);

/**
 * A bite of what a new subscription to numbers gets, as they stand now, in the order of their topics. Then come the states of
 * bridges, which are retained like any message: from the table by `readStates`.
 */
export async function readSystemTopics(
  tenant: Tenant,
  filter: string,
  read: RetainedRead,
  readStates: (read: RetainedRead) => Promise<void>,
): Promise<void> {
  const { after, messagesMax } = read;
  if (after.startsWith(bridgeStates)) return readStates(read);
  if (after === behindNumbers) return readStates({ ...read, after: '' });
  await tenant.countRetained();
  if (!read.isWanted()) return;
  const messages = values
    .filter(([topic]) => topic > after && filterMatches(filter, topic))
    .map(([topic, value]) => messageOf(topic, String(value(tenant)), true));
  const bite = messages.slice(0, messagesMax);
  const behind = filtersOverlap(filter, `${bridgeStates}#`) ? behindNumbers : undefined;
  read.take(bite, bite.length < messages.length ? bite.at(-1)!.topic.text : behind);
}

/** The values that are not as they were told; remembers them as told. */
export function changedSystemMessages(tenant: Tenant, told: SparseMap<string, string>): Message[] {
  const changed: Message[] = [];
  for (const [topic, value] of values) {
    const text = String(value(tenant));
    if (told.get(topic) === text) continue;
    told.set(topic, text);
    changed.push(messageOf(topic, text, false));
  }
  return changed;
}

function messageOf(topic: string, text: string, retain: boolean): Message {
  return Message.of({ topic: { text: topic, bytes: Buffer.from(topic) }, payload: Buffer.from(text), qos: 0, retain });
}
