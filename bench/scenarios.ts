/** What is measured: one row a scenario, read by the runner, the load process and the report. */

interface Common {
  readonly title: string;
  readonly payloadBytes: number;
  /** Subscribers have sessions that outlive their connection: MQTT 5, in a broker that keeps whatever waits for them. */
  readonly durable?: boolean;
}

/** One publisher as fast as it can, QoS 0. `aheadMax` bounds how far it may be ahead of the slowest subscriber. */
export interface Flood extends Common {
  readonly kind: 'flood';
  readonly subscribers: number;
  readonly aheadMax?: number;
}

/** Pairs of one publisher and one subscriber, QoS 1, each with a full window of unacknowledged messages. */
export interface Window extends Common {
  readonly kind: 'window';
  readonly pairs: number;
  readonly window: number;
  /** Instead of a subscriber for each publisher: one for all of them, or one publisher for all subscribers. */
  readonly shape?: 'fan-in' | 'fan-out';
}

/** Publishers with a full window each, QoS 1; each has a subscriber of its own with a durable session, which is away. */
export interface Offline extends Common {
  readonly kind: 'offline';
  readonly pairs: number;
  readonly window: number;
}

/** One durable session that comes back to as many messages. */
export interface Drain extends Common {
  readonly kind: 'drain';
  readonly messages: number;
  readonly publishers: number;
  readonly window: number;
}

/** Pairs with little traffic each, QoS 1, at a given rate: what most fleets of devices look like. */
export interface Sparse extends Common {
  readonly kind: 'sparse';
  readonly pairs: number;
  readonly messagesPerSecond: number;
}

/** Publishers with little traffic each, QoS 0, at a given rate in all, to one subscriber. */
export interface Trickle extends Common {
  readonly kind: 'trickle';
  readonly publishers: number;
  readonly messagesPerSecond: number;
}

/** Connections that do nothing. */
export interface Idle extends Common {
  readonly kind: 'idle';
  readonly connections: number;
}

export type Scenario = Flood | Window | Offline | Drain | Sparse | Trickle | Idle;

/**
 * About 0.6 MB of 64-byte messages: less than what brokers queue for one subscriber, more than a bandwidth-delay product
 * of loopback. A broker that drops with so little outstanding would drop in any use.
 */
const losslessAhead = 8192;
const payloadBytes = 64;

/** Names of several scenarios, for `--only`. */
export const groups: Readonly<Record<string, readonly string[]>> = {
  sparse: ['sparse-qos1', 'sparse-fan-in', 'pairs-qos1', '1to100-qos1', 'idle'],
  durable: ['durable-online', 'durable-offline', 'durable-offline-10', 'durable-drain'],
};

export const scenarios: Readonly<Record<string, Scenario>> = {
  '1to1-qos0': {
    kind: 'flood',
    title: '1 publisher to 1 subscriber, QoS 0, unthrottled',
    subscribers: 1,
    payloadBytes,
  },
  '1to1-qos0-lossless': {
    kind: 'flood',
    title: '1 publisher to 1 subscriber, QoS 0, as fast as nothing is lost',
    subscribers: 1,
    aheadMax: losslessAhead,
    payloadBytes,
  },
  'pairs-qos1': { kind: 'window', title: '10 pairs, QoS 1, window 100', pairs: 10, window: 100, payloadBytes },
  '100to1-qos1': {
    kind: 'window',
    title: '100 publishers, QoS 1, window 10, to 1 subscriber',
    pairs: 100,
    window: 10,
    shape: 'fan-in',
    payloadBytes,
  },
  '1to100-qos0': {
    kind: 'flood',
    title: '1 publisher to 100 subscribers, QoS 0, unthrottled (deliveries)',
    subscribers: 100,
    payloadBytes,
  },
  '1to100-qos0-lossless': {
    kind: 'flood',
    title: '1 publisher to 100 subscribers, QoS 0, as fast as nothing is lost (deliveries)',
    subscribers: 100,
    aheadMax: losslessAhead,
    payloadBytes,
  },
  'sparse-qos1': {
    kind: 'sparse',
    title: '1000 sparse pairs, QoS 1, 20 messages/s a pair',
    pairs: 1000,
    messagesPerSecond: 20_000,
    payloadBytes,
  },
  'sparse-fan-in': {
    kind: 'trickle',
    title: '1000 sparse publishers to 1 subscriber, QoS 0, 50 messages/s a publisher',
    publishers: 1000,
    messagesPerSecond: 50_000,
    payloadBytes,
  },
  '1to100-qos1': {
    kind: 'window',
    title: '1 publisher, QoS 1, window 100, to 100 subscribers (deliveries)',
    pairs: 100,
    window: 100,
    shape: 'fan-out',
    payloadBytes,
  },
  'durable-online': {
    kind: 'window',
    title: '1 pair, QoS 1, window 100, durable session that acknowledges at once',
    pairs: 1,
    window: 100,
    payloadBytes,
    durable: true,
  },
  'durable-offline': {
    kind: 'offline',
    title: '1 publisher, QoS 1, window 100, to a durable session that is away (acknowledged)',
    pairs: 1,
    window: 100,
    payloadBytes,
    durable: true,
  },
  'durable-offline-10': {
    kind: 'offline',
    title: '10 publishers, QoS 1, window 100, each to a durable session that is away (acknowledged)',
    pairs: 10,
    window: 100,
    payloadBytes,
    durable: true,
  },
  'durable-drain': {
    kind: 'drain',
    title: 'a durable session comes back to 100 000 messages, QoS 1 (from CONNECT to the last one)',
    messages: 100_000,
    publishers: 10,
    window: 100,
    payloadBytes,
    durable: true,
  },
  idle: { kind: 'idle', title: 'idle connections', connections: 5000, payloadBytes: 0 },
};
