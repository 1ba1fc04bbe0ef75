/**
 * Where aedes 1.2 and Shoal are known to differ, and why Shoal is right. A row looks at one difference only, and at the
 * circumstances that make it possible; that Shoal did what the model asks for has been checked before (`compare.ts`).
 */
import type { Difference } from './compare.js';
import { isWill, matches } from './model.js';

export interface KnownDifference {
  readonly aedes: string;
  /** What Shoal keeps to. */
  readonly statement: string;
  readonly explains: (difference: Difference) => boolean;
}

const isWildcard = (filter: string): boolean => /[+#]/.test(filter);

export const knownDifferences: readonly KnownDifference[] = [
  {
    aedes: 'says that there is no session when the session has no subscriptions',
    statement: '[MQTT-3.2.2-2] session present tells whether there is stored session state; that may be empty',
    explains: (d) => d.kind === 'session present' && d.required && d.shoal === true && d.subscriptions.size === 0,
  },
  {
    aedes: 'sends retained messages at the QoS of their PUBLISH',
    statement: '[MQTT-3.8.4-6] the QoS is the lower one of the message and the granted maximum',
    explains: (d) => d.kind === 'qos' && d.step.do === 'subscribe' && d.aedes.every(({ retain }) => retain),
  },
  {
    aedes: 'sends a retained message once when several filters of one SUBSCRIBE match it, or once for every two',
    statement: '[MQTT-3.8.4-4] several filters in one packet are handled as if each had come in a packet of its own',
    explains: (d) =>
      d.kind === 'copies' &&
      d.step.do === 'subscribe' &&
      d.step.filters.filter(([filter]) => matches(filter, d.topic)).length > 1 &&
      d.aedes.length > 0,
  },
  {
    aedes: 'sends retained messages of $-topics to filters that begin with a wildcard',
    statement: '[MQTT-4.7.2-1] such filters do not match topics that begin with $',
    explains: (d) =>
      d.kind === 'copies' &&
      d.step.do === 'subscribe' &&
      d.topic.startsWith('$') &&
      d.step.filters.some(([filter]) => /^[+#]/.test(filter)) &&
      d.aedes.length > d.shoal.length,
  },
  {
    aedes: 'does not find retained messages with an empty level under a wildcard',
    statement: '[MQTT-4.7.3-1] and section 4.7.1.3: a level may be empty, and + matches it',
    explains: (d) =>
      d.kind === 'copies' &&
      d.step.do === 'subscribe' &&
      d.topic.split('/').includes('') &&
      d.step.filters.some(([filter]) => isWildcard(filter) && matches(filter, d.topic)) &&
      d.aedes.length < d.shoal.length,
  },
  {
    aedes: 'keeps messages that are QoS 0 for the subscriber while it is away',
    statement:
      '[MQTT-3.1.2-5] asks for QoS 1 and 2 only; QoS 0 may be kept, and Shoal does not, to bound what is offline',
    explains: (d) =>
      d.kind === 'copies' && d.step.do === 'connect' && d.shoal.length === 0 && d.aedes.every(({ qos }) => qos === 0),
  },
  {
    aedes: 'takes the QoS of the first matching filter it finds, or for wildcards that of the message',
    statement: '[MQTT-3.3.5-1] [MQTT-3.8.4-6] the highest QoS of the matching filters, and no more than was granted',
    explains: (d) =>
      d.kind === 'qos' &&
      d.step.do !== 'subscribe' &&
      [...d.subscriptions.keys()].some((filter) => isWildcard(filter) && matches(filter, d.topic)),
  },
  {
    aedes: 'queues messages of $-topics for filters that begin with a wildcard',
    statement: '[MQTT-4.7.2-1] such filters do not match topics that begin with $',
    explains: (d) =>
      d.kind === 'copies' &&
      d.step.do === 'connect' &&
      d.topic.startsWith('$') &&
      [...d.subscriptions.keys()].some((filter) => /^[+#]/.test(filter)) &&
      d.aedes.length > d.shoal.length,
  },
  {
    aedes: 'does not keep the will of a client for the stored session of the same client',
    statement: '[MQTT-3.1.2-8] the will is published, and [MQTT-3.1.2-5] a stored session keeps what it subscribed to',
    explains: (d) =>
      d.kind === 'copies' &&
      d.step.do === 'connect' &&
      d.client === d.step.client &&
      isWill(d.payload) &&
      d.aedes.length === 0,
  },
  {
    aedes: 'sends what a take-over adds to the session (its will) from the queue and live',
    statement: '[MQTT-4.3.2-1] allows a second copy only as a retransmission with DUP',
    explains: (d) =>
      d.kind === 'copies' && d.step.do === 'connect' && d.shoal.length > 0 && d.aedes.length > d.shoal.length,
  },
  {
    aedes: 'sends what a take-over adds to the session with the RETAIN flag and the QoS of its PUBLISH',
    statement: '[MQTT-3.3.1-9] [MQTT-3.8.4-6] RETAIN is 0 for a subscription that was there, the QoS as granted',
    explains: (d) =>
      (d.kind === 'retain' || d.kind === 'qos') && d.step.do === 'connect' && d.aedes.some(({ retain }) => retain),
  },
];

export const explanationOf = (difference: Difference): KnownDifference | undefined =>
  knownDifferences.find(({ explains }) => explains(difference));
