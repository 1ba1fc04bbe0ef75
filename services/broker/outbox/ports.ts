/** Where the bytes of a queue go. */
export interface OutboxStream {
  /** Bytes written that the network has not taken yet. */
  readonly unsentBytes: number;
  /** Whole packets, one or more. */
  write(packets: Buffer): void;
  destroy(): void;
}

/**
 * Whether acknowledgements may leave, asked at the last moment before the network: a process that was frozen wakes up
 * with packets that it had put together in another time.
 */
export interface AcknowledgementGate {
  /** All, those made since the last `onLapsed`, none. */
  leave(): 'all' | 'new' | 'none';
  onLapsed(listener: () => void): void;
}

/** The tenant's account of the thread. */
export interface Payer {
  /** Takes `ms` of its time for work that is done without being measured. */
  spend(ms: number): void;
}
