/** What is asked of the process that is the neighbour, and what it says about how it was served. */
import type { Credential } from '../support/broker.js';

export interface NeighbourJob {
  readonly port: number;
  readonly credential: Credential;
  /** Used for one CONNECT each, in turn with `credential`. */
  readonly chosen: readonly Credential[];
}

/** In milliseconds; of those that have come. */
export interface Latencies {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** What has not come within ten seconds after it was last asked for, or was refused. */
  readonly lost: number;
}

/**
 * `qos0`: from a PUBLISH to the message at the own subscriber. `qos1`: until the PUBACK has come, too. `stored`: from a
 * PUBLISH of QoS 1 for a stored session that is away to its PUBACK. `connects`: from the open socket to the CONNACK.
 */
export type Stream = 'qos0' | 'qos1' | 'stored' | 'connects';

export type Served = Readonly<Record<Stream, Latencies>>;

export const streams: readonly Stream[] = ['qos0', 'qos1', 'stored', 'connects'];
