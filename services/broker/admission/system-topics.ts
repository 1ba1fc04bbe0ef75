/**
 * `$SYS/broker/…`: a tenant's own numbers, never another's and never the broker's. Names follow mosquitto where it has
 * one, so that existing dashboards find them.
 */
import { filterMatches } from '../../topic/topic.js';
import { Message } from '../message/message.js';
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

export function isSystemFilter(filter: string): boolean {
  return filter === '$SYS' || filter.startsWith('$SYS/');
}

/**
 * The values whose topic the filter matches, as they stand now, in the order of their topics; `retain` for a subscription
 * that has just been made, which may have got those up to `after` already.
 */
export function systemMessages(tenant: Tenant, filter: string, retain: boolean, after = ''): Message[] {
  return Object.entries(values)
    .filter(([topic]) => topic > after && filterMatches(filter, topic))
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
