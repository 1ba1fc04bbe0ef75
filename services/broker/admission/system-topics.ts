/**
 * `$SYS/broker/…`: a tenant's own numbers, never another's and never the broker's. Names follow mosquitto where it has
 * one, so that existing dashboards find them. Below `$SYS/broker/connection/` there is what clients of the tenant publish.
 */
import { bridgeStates } from '../../tenancy/tenancy.js';
import { filterMatches, filtersOverlap } from '../../topic/topic.js';
import { Message } from '../message/message.js';
import type { RetainedRead } from '../session/session.js';
import type { Tenant } from './tenant.js';

/** How often subscribers are told. */
export const systemTopicsEveryMs = 10_000;

const values: Readonly<Record<string, (tenant: Tenant) => number>> = {
  '$SYS/broker/clients/connected': (tenant) => tenant.connections,
  '$SYS/broker/clients/disconnected': (tenant) => tenant.residences.size - tenant.connections,
  '$SYS/broker/clients/total': (tenant) => tenant.residences.size,
  '$SYS/broker/subscriptions/count': (tenant) => tenant.subscriptions,
  '$SYS/broker/messages/received': (tenant) => tenant.meters.messagesReceived,
  '$SYS/broker/messages/sent': (tenant) => tenant.meters.messagesSent,
  '$SYS/broker/bytes/received': (tenant) => tenant.meters.bytesReceived,
  '$SYS/broker/bytes/sent': (tenant) => tenant.meters.bytesSent,
  '$SYS/broker/publish/messages/dropped': ({ meters }) => meters.droppedSlowSubscriber + meters.droppedOverQuota,
  '$SYS/broker/publish/messages/refused': ({ meters }) => meters.refusedPublishes,
  '$SYS/broker/publish/messages/expired': ({ meters }) => meters.expiredMessages,
};

/** Whether it matches one of the tenant's numbers. */
export function isSystemFilter(filter: string): boolean {
  if (filter !== '$SYS' && !filter.startsWith('$SYS/')) return false;
  return Object.keys(values).some((topic) => filterMatches(filter, topic));
}

/** Behind all numbers and before all states of bridges: no topic. */
const behindNumbers = bridgeStates.slice(0, -1);

/**
 * A bite of what a new subscription to numbers gets, as they stand now, in the order of their topics. Then come the states of
 * bridges, which are retained like any message: from the table by `readStates`.
 */
export function readSystemTopics(
  tenant: Tenant,
  filter: string,
  read: RetainedRead,
  readStates: (read: RetainedRead) => Promise<void>,
): Promise<void> {
  const { after, messagesMax } = read;
  if (after.startsWith(bridgeStates)) return readStates(read);
  if (after === behindNumbers) return readStates({ ...read, after: '' });
  const messages = systemMessages(tenant, filter, true).filter(({ topic }) => topic.text > after);
  const bite = messages.slice(0, messagesMax);
  const behind = filtersOverlap(filter, `${bridgeStates}#`) ? behindNumbers : undefined;
  read.take(bite, bite.length < messages.length ? bite.at(-1)!.topic.text : behind);
  return Promise.resolve();
}

/** The numbers whose topic the filter matches, in the order of their topics. */
export function systemMessages(tenant: Tenant, filter: string, retain: boolean): Message[] {
  return Object.entries(values)
    .filter(([topic]) => filterMatches(filter, topic))
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([topic, value]) =>
      Message.of({
        topic: { text: topic, bytes: Buffer.from(topic) },
        payload: Buffer.from(String(value(tenant))),
        qos: 0,
        retain,
      }),
    );
}
