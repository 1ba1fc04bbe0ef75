import type { OutboxStream } from '../outbox/outbox.js';
import type { Ending } from './endings.js';

/** One encrypted connection to another broker, whoever dialled. */
export interface Wire {
  readonly stream: OutboxStream;
  readonly remoteAddress: string;
  /** Its hello is good: it is none of those any more whose number and time are bounded. */
  welcome(): void;
  /** Sends what has been written, then closes; an other end that does not take it is not waited for long. */
  end(): void;
}

/** What a wire tells. */
export interface WireSink {
  /** The TLS handshake is done: the other end has the key. */
  onOpen(): void;
  onBytes(chunk: Buffer): void;
  /** The network has taken everything. */
  onDrain(): void;
  /** Once, whatever the cause. */
  onClosed(why: Ending): void;
}

/** As its lease has it. */
export interface Member {
  readonly brokerId: string;
  /** Undefined: it has no listener for links. */
  readonly address: string | undefined;
  /** Its lease is given up, or taken by another broker: it never comes back. */
  readonly hasEnded: boolean;
}

/** Who depends on links is told who is a member, and which link is there. */
export interface PeerListener {
  /** Another broker is a member; told before anything else of it. */
  joined(brokerId: string): void;
  /** Its lease has ended: it never comes back. */
  ended(brokerId: string): void;
  /** A link to it is up; one before it has been cut. */
  up(brokerId: string): void;
  cut(brokerId: string): void;
}
