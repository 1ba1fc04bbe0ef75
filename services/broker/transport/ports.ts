import type { OutboxStream } from '../outbox/outbox.js';

/** Bytes to and from one peer; TCP, TLS and WebSocket look alike from here on. */
export interface ByteStream extends OutboxStream {
  /** Of the client: `ip:port`. */
  readonly remoteAddress: string;
  /** The VPC endpoint that the client came through, as far as a load balancer has said so. */
  readonly endpointId?: string | undefined;
  /** No more bytes are read until `resume`. */
  pause(): void;
  resume(): void;
  /** Sends what has been written, then closes; nothing is closed before it is called or the peer has gone. */
  end(): void;
}

/** What a stream tells its connection. */
export interface ByteSink {
  onBytes(chunk: Buffer): void;
  /** The network has taken everything. */
  onDrain(): void;
  /** The peer sends nothing more, and all that it had sent has been given to `onBytes`; it may still take something. */
  onEnd(): void;
  /** What carries the bytes is not as it has to be, and nothing more of it is read. `onEnd` and `onClosed` may follow. */
  onFault(detail: string): void;
  /** Once, whatever the cause; all that this process had read has been given to `onBytes`. */
  onClosed(): void;
}

/** What a socket waits for. */
export type Stage = 'proxy' | 'tls' | 'http' | 'connect' | 'admission' | 'open' | 'closing';

/** A socket's place among all those of the broker. Its time at each stage but `open` is watched. */
export interface Place {
  /** Who is told when the time is over; without anybody the socket is destroyed. */
  occupant: Occupant | undefined;
  /** Its CONNECT is to be refused: it has waited for too long. */
  readonly isTurnedAway?: boolean;
  become(stage: Stage): void;
  /** As its client has said; 0: for ever. Whether it is still there is the system's to find out if that is long. */
  mayBeSilentFor(ms: number): void;
}

export interface Occupant {
  /** Must end the stage: by the next one, or by the end of the socket. */
  late(): void;
}
