/** What the runner asks of a load process, and what it answers. Both cross the IPC channel as JSON. */
import type { Scenario } from '../scenarios.js';
import type { Target } from './connection.js';
import type { DatabaseUse } from './database.js';

export interface Job {
  readonly scenario: Scenario;
  readonly target: Target;
  readonly brokerPid: number;
  readonly metricsUrl?: string;
  /** SIGUSR2 tells the broker where the measurement begins and ends. */
  readonly isProfiled: boolean;
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

export interface Measurement {
  /** Messages counted at the receivers while it was measured; connections accepted, in the idle scenario. */
  readonly messages: number;
  readonly seconds: number;
  /** User and system time of all threads. */
  readonly brokerCpuSeconds: number;
  readonly loadCpuSeconds: number;
  /** Of all processes of the machine, these two included. */
  readonly machineCpuSeconds: number;
  /** Of the whole run with warm-up: deliveries that should have arrived, and those that never did. */
  readonly sent: number;
  readonly lost: number;
  readonly latencyUs?: { readonly p50: number; readonly p99: number };
  readonly rssBytesPerConnection?: number;
  /** What the broker asked of its database for these messages; absent where it has none or does not tell. */
  readonly database?: DatabaseUse;
  /** Before the session came back, and the most while it was drained. */
  readonly rssBytes?: { readonly before: number; readonly peak: number };
}

export type Outcome = { readonly measured: Measurement } | { readonly failed: string };
