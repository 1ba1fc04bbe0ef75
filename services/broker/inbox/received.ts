/**
 * The QoS 2 messages that a persistent publisher has sent: the packet identifiers of those it has not released, stored
 * before PUBREC and removed before PUBCOMP, so that after a crash a repeated PUBLISH is known and a new one is not taken
 * for a repetition [MQTT-4.3.3-10]; and how far its messages are *settled*, that is, known to this stored state.
 *
 * PUBREC waits for the stored identifier, which is stored after the message is safe with every subscriber. Crash points:
 *  - before a subscriber's item is written: the publisher sends again, and the message is new;
 *  - between the item and this state: the publisher sends again, and the item's origin tells that it is there already.
 *    So an item outlives its delivery until this state knows its message (`settlementOf`);
 *  - after it: the identifier is known, and the repetition gets its PUBREC.
 * Messages are numbered anew in every life (a broker process that owned the session), for the number of a message that
 * comes again after a crash is not known; `again` remembers those by packet identifier.
 */
import { handedOn, type Origin, PendingReceipt, type Receipt, type Settlement } from '../message/message.js';
import type { CommitLog, CommitSource, SettledState, StoredOrigin, Write } from './commit.js';

/** Lives that are remembered; of messages of older ones none waits any more. */
const livesMax = 16;
/** More than a client can have under way in some lives. */
const againMax = 1000;

export interface ReceivedState extends SettledState {
  readonly packetIds: readonly number[];
}

export class Received implements CommitSource {
  readonly partition: string;
  readonly lane: string;
  readonly #log: CommitLog;
  readonly #packetIds = new Set<number>();
  #epoch = 0;
  /** The epoch at which this process got the session. */
  #life = 0;
  #number = 0;
  #settledNumber = 0;
  #older: readonly Settlement[] = [];
  #again: (Settlement & { readonly packetId: number })[] = [];
  /** What the session was restored with; undefined when it began here. */
  #inherited: SettledState | undefined;
  /** Of messages that an earlier owner took and that are not known to the stored state. */
  readonly #doubtful = new Map<number, PendingReceipt>();
  /** Messages whose packet identifiers are not stored yet, in order. */
  readonly #begun: { readonly origin: Origin; readonly published: Receipt }[] = [];
  /** Receipts of messages that the stored state does not know yet, by epoch and number. */
  readonly #unsettled = new Map<string, Receipt>();
  #next: PendingReceipt | undefined;
  #writing: PendingReceipt | undefined;
  #hasEnded = false;

  constructor(partition: string, log: CommitLog) {
    this.partition = partition;
    this.lane = `received ${partition}`;
    this.#log = log;
  }

  renew(epoch: number): void {
    this.#epoch = epoch;
    if (this.#life === 0) this.#life = epoch;
  }

  /** After a restart. */
  restore({ packetIds, settled, older = [], again = [] }: ReceivedState): void {
    for (const packetId of packetIds) this.#packetIds.add(packetId);
    this.#inherited = { settled, older, again };
    this.#older = [settled, ...older].slice(0, livesMax);
    this.#again = [...again];
  }

  /** A message has come. `dup`: the client says that it sends it again. */
  begin(packetId: number, dup: boolean): Origin {
    const inherited = this.#inherited;
    const again = dup && inherited ? (stored: InDoubt): boolean => isSettled(inherited, stored) : undefined;
    return { epoch: this.#life, number: ++this.#number, packetId, again, settled: new PendingReceipt() };
  }

  /** Settles when the message is safe with its subscribers and, after that and in order, known to the stored state. */
  settle(origin: Origin, published: Receipt): Receipt {
    this.#begun.push({ origin, published });
    const name = `${origin.epoch}/${origin.number}`;
    this.#unsettled.set(name, origin.settled);
    origin.settled.whenSettled(() => this.#unsettled.delete(name));
    published.whenSettled(() => this.#advance());
    return origin.settled;
  }

  /** Settles when a stored message is known here; one of an earlier owner, because the client has sent it again. */
  settlementOf({ epoch, number, packetId }: StoredOrigin): Receipt {
    // Taken from the client by this process, and read back from an inbox meanwhile.
    const unsettled = this.#unsettled.get(`${epoch}/${number}`);
    if (unsettled) return unsettled;
    if (!this.#inherited || isSettled(this.#inherited, { epoch, number, packetId })) return handedOn;
    // Of this life and not unsettled, or sent again in it.
    if (epoch === this.#life || this.#again.some((known) => known.packetId === packetId && known.epoch === this.#life))
      return handedOn;
    let doubtful = this.#doubtful.get(packetId);
    if (!doubtful) this.#doubtful.set(packetId, (doubtful = new PendingReceipt()));
    return doubtful;
  }

  /** The session ends: nothing comes again, and what is not under way is not written over the client's next one. */
  end(): void {
    this.#hasEnded = true;
    const waiting = this.#next;
    this.#next = undefined;
    waiting?.settle(0);
    for (const doubtful of this.#doubtful.values()) doubtful.settle(0);
    this.#doubtful.clear();
  }

  #advance(): void {
    for (let next = this.#begun[0]; next?.published.reasonCode !== undefined; next = this.#begun[0]) {
      const { origin, published } = next;
      this.#begun.shift();
      this.#packetIds.add(origin.packetId);
      this.#settledNumber = origin.number;
      if (origin.again)
        this.#again = [...this.#again, { packetId: origin.packetId, epoch: origin.epoch, number: origin.number }].slice(
          -againMax,
        );
      const stored = this.#store();
      const code = published.reasonCode!;
      const doubtful = this.#doubtful.get(origin.packetId);
      this.#doubtful.delete(origin.packetId);
      stored.whenSettled(() => doubtful?.settle(0));
      stored.whenSettled(() => (origin.settled as PendingReceipt).settle(Math.max(code, stored.reasonCode!)));
    }
  }

  remove(packetId: number): Receipt {
    if (this.#packetIds.delete(packetId)) return this.#store();
    return this.#next ?? this.#writing ?? handedOn; // An earlier removal may be under way.
  }

  #store(): Receipt {
    if (this.#hasEnded) return handedOn;
    this.#next ??= new PendingReceipt();
    this.#log.request(this);
    return this.#next;
  }

  take(): readonly Write[] {
    if (!this.#next) return [];
    this.#writing = this.#next;
    this.#next = undefined;
    return [
      {
        kind: 'received',
        packetIds: [...this.#packetIds],
        epoch: this.#epoch,
        settled: { epoch: this.#life, number: this.#settledNumber },
        ...(this.#older.length > 0 && { older: this.#older }),
        ...(this.#again.length > 0 && { again: this.#again }),
      },
    ];
  }

  committed(refused: readonly Write[]): void {
    const written = this.#writing;
    this.#writing = undefined;
    if (this.#next) this.#log.request(this);
    written?.settle(refused.length > 0 ? 0x83 : 0); // Implementation specific error
  }
}

type InDoubt = Settlement & { readonly packetId: number };

function isSettled({ settled, older = [], again = [] }: SettledState, { epoch, number, packetId }: InDoubt): boolean {
  const lives = [settled, ...older];
  if (epoch < lives.at(-1)!.epoch) return true;
  if (lives.some((life) => life.epoch === epoch && number <= life.number)) return true;
  return again.some((known) => known.packetId === packetId && known.epoch > epoch);
}
