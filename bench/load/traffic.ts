/** What every kind of traffic shows to the load process, which takes all readings the same way. */
export interface Traffic {
  /** Deliveries that should have arrived by now if nothing were lost or on its way. */
  readonly expected: number;
  /** Deliveries counted at the receivers. */
  readonly received: number;
  /** Microseconds from send to receipt of each message since the last call; only where it is measured. */
  takeLatencies?(): number[];
  start(): void;
  /** No new messages; what is on its way still arrives and is counted. */
  stop(): void;
  close(): void;
}
