/**
 * The QoS 2 messages that a persistent publisher has sent: the packet identifiers of those it has not released, stored
 * before PUBREC and removed before PUBCOMP, so that after a crash a repeated PUBLISH is known and a new one is not taken
 * for a repetition [MQTT-4.3.3-10]; and how far its messages are *settled*, that is, known to this stored state.
 *
 * Messages are numbered anew in every life (a broker process that owned the session), for the number of a message that
 * comes again after a crash is not known; `again` remembers those by packet identifier. PUBREC waits for the stored
 * identifier, which is stored after the message is safe with every subscriber, and a subscriber's item outlives its
 * delivery until then (`settlementOf`). State by crash point, for a message that a broker A takes, B takes again and C
 * once more; `deaths.test.ts` kills at each, and at each pair of them:
 *
 *  | the last broker died                      | subscriber's item | this state           | when it is sent again            |
 *  | ----------------------------------------- | ----------------- | -------------------- | -------------------------------- |
 *  | A, before the item was written            | none              | without it           | it is new                        |
 *  | A, between the item and this state        | of life A         | without it           | known by the item (`leftOpen`)   |
 *  | B, before it was sent to B again          | of life A         | without it           | the same                         |
 *  | B, before this state was written          | of life A, kept   | without it           | the same: nothing that only B's  |
 *  |                                           |                   |                      | memory knew has let the item go  |
 *  | after this state, before PUBREC           | of life A, or     | identifier; `again`  | known by its identifier          |
 *  |                                           | completed, gone   |                      |                                  |
 *  | after PUBREL, before the identifier goes  | any               | identifier           | PUBREL comes, and is answered    |
 *  | after that, before PUBCOMP                | any               | settled              | PUBREL comes, and is answered    |
 *
 * A session has none until its client sends QoS 2, and keeps it from then on: the numbers of a life go on.
 *
 * What only memory knows (`#packetIds`, `#again`, `#settledNumber` ahead of `#stored`) lets nobody delete anything.
 */
import { handedOn, type Origin, type OriginName, PendingReceipt, type Receipt } from '../message/message.js';
import type { Settlement } from '../message/message.js';
import type { CommitLog, CommitSource, SettledState, Write } from './commit.js';

/** Lives that are remembered; of messages of older ones none waits any more. */
const livesMax = 16;
/** More than a client can have under way in some lives. */
const againMax = 1000;

export interface ReceivedState extends SettledState {
  readonly packetIds: readonly number[];
}

type Again = Settlement & { readonly packetId: number };

/** A message whose packet identifier is not stored yet. */
interface Begun {
  readonly origin: Origin;
  readonly published: Receipt;
  /** The client has let the identifier go before it was told that it may. */
  isReleased: boolean;
}

/** Shared by all of whose messages none is under way; never written to. */
const nothing: never[] = [];

export class Received implements CommitSource {
  readonly partition: string;
  readonly lane: string;
  readonly #log: CommitLog;
  #packetIds: Set<number> | undefined;
  #epoch = 0;
  /** The epoch at which this process got the session. */
  #life = 0;
  #number = 0;
  #settledNumber = 0;
  #again: readonly Again[] = [];
  /** What the table knows of messages of earlier lives; undefined when the session began here. */
  #stored: SettledState | undefined;
  #older: readonly Settlement[] = [];
  /** Stored messages of earlier lives that are not settled: their packet identifiers may come again. */
  #leftOpen: Map<number, OriginName[]> | undefined;
  /** Of messages that an earlier owner took and that are not known to the stored state. */
  #doubtful: Map<number, PendingReceipt> | undefined;
  /** Messages whose packet identifiers are not stored yet, in order. */
  #begun: Begun[] = nothing;
  /** Receipts of messages that the stored state does not know yet, by epoch and number. */
  #unsettled: Map<string, Receipt> | undefined;
  #next: PendingReceipt | undefined;
  #writing: { readonly receipt: PendingReceipt; readonly again: readonly Again[] } | undefined;
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
    if (packetIds.length > 0) this.#packetIds = new Set(packetIds);
    this.#stored = { settled, older, again };
    this.#older = [settled, ...older].slice(0, livesMax);
    this.#again = again;
  }

  /** After a restart: a subscriber has this message of the client. */
  leftOpen(stored: OriginName): void {
    if (!this.#stored || isSettled(this.#stored, stored)) return;
    const same = this.#leftOpen?.get(stored.packetId);
    if (same) same.push(stored);
    else (this.#leftOpen ??= new Map()).set(stored.packetId, [stored]);
  }

  /**
   * A message has come. `dup`: the client says that it sends it again. Not all clients say so ([MQTT-3.3.1-1]), and it
   * may say so of one that never came before: under an identifier that an earlier life has left open topic and payload
   * (`hash`) decide, and DUP where they are not known. From the first use on, the identifier is not open any more.
   */
  begin(packetId: number, dup: boolean, hash?: number): Origin {
    const open = this.#leftOpen?.get(packetId) ?? nothing;
    this.#leftOpen?.delete(packetId);
    const isSame = (stored: OriginName): boolean =>
      stored.hash === undefined || hash === undefined ? dup : stored.hash === hash;
    const same = open.filter(isSame);
    const again = (stored: OriginName): boolean =>
      same.some(({ epoch, number }) => epoch === stored.epoch && number === stored.number);
    const mayBeStored = this.#stored !== undefined && (dup || open.length > 0);
    return {
      epoch: this.#life,
      number: ++this.#number,
      packetId,
      hash,
      again: mayBeStored ? again : undefined,
      settled: new PendingReceipt(),
    };
  }

  /** Settles when the message is safe with its subscribers and, after that and in order, known to the stored state. */
  settle(origin: Origin, published: Receipt): Receipt {
    if (this.#begun === nothing) this.#begun = [];
    this.#begun.push({ origin, published, isReleased: false });
    const name = `${origin.epoch}/${origin.number}`;
    const unsettled = (this.#unsettled ??= new Map<string, Receipt>());
    unsettled.set(name, origin.settled);
    origin.settled.whenSettled(() => unsettled.delete(name));
    published.whenSettled(() => this.#advance());
    return origin.settled;
  }

  /** Settles when a stored message is known here; one of an earlier owner, because its identifier has been used again. */
  settlementOf({ epoch, number, packetId }: OriginName): Receipt {
    // Taken from the client by this process, and read back from an inbox meanwhile.
    const unsettled = this.#unsettled?.get(`${epoch}/${number}`);
    if (unsettled) return unsettled;
    if (epoch === this.#life || !this.#stored || this.#hasEnded) return handedOn;
    if (isSettled(this.#stored, { epoch, number, packetId })) return handedOn;
    let doubtful = this.#doubtful?.get(packetId);
    if (!doubtful) (this.#doubtful ??= new Map()).set(packetId, (doubtful = new PendingReceipt()));
    return doubtful;
  }

  /** Settles when the table knows everything that has come so far; undefined: it does. */
  get unstored(): Receipt | undefined {
    return this.#begun.at(-1)?.origin.settled ?? this.#next ?? this.#writing?.receipt;
  }

  /** The session ends: nothing comes again, and what is not under way is not written over the client's next one. */
  end(): void {
    this.#hasEnded = true;
    const waiting = this.#next;
    this.#next = undefined;
    waiting?.settle(0);
    for (const doubtful of this.#doubtful?.values() ?? []) doubtful.settle(0);
    this.#doubtful = undefined;
  }

  #advance(): void {
    for (let next = this.#begun[0]; next?.published.reasonCode !== undefined; next = this.#begun[0]) {
      const { origin, published, isReleased } = next;
      const { packetId, epoch, number } = origin;
      this.#begun.shift();
      if (!isReleased) (this.#packetIds ??= new Set()).add(packetId);
      this.#settledNumber = number;
      if (origin.again) this.#again = [...this.#again, { packetId, epoch, number }].slice(-againMax);
      const stored = this.#store();
      const code = published.reasonCode!;
      stored.whenSettled(() => (origin.settled as PendingReceipt).settle(Math.max(code, stored.reasonCode!)));
    }
  }

  /** PUBREL has come: settles when the table has forgotten the identifier. */
  remove(packetId: number): Receipt {
    if (this.#packetIds?.delete(packetId)) return this.#store();
    let begun: Receipt | undefined;
    for (const one of this.#begun)
      if (one.origin.packetId === packetId) {
        one.isReleased = true; // Against the protocol, before PUBREC: it is not to be stored any more.
        begun = one.origin.settled;
      }
    return begun ?? this.#next ?? this.#writing?.receipt ?? handedOn; // An earlier removal may be under way.
  }

  #store(): Receipt {
    if (this.#hasEnded) return handedOn;
    this.#next ??= new PendingReceipt();
    this.#log.request(this);
    return this.#next;
  }

  take(): readonly Write[] {
    if (!this.#next) return [];
    this.#writing = { receipt: this.#next, again: this.#again };
    this.#next = undefined;
    return [
      {
        kind: 'received',
        packetIds: [...(this.#packetIds ?? [])],
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
    if (written && refused.length === 0) this.#isStored(written.again);
    written?.receipt.settle(refused.length > 0 ? 0x83 : 0); // Implementation specific error
  }

  /** Only now messages of earlier lives that have come again are known to the table, and their items may go. */
  #isStored(again: readonly Again[]): void {
    if (this.#stored) this.#stored = { ...this.#stored, again };
    if (!this.#doubtful?.size) return;
    for (const { packetId, epoch } of again) {
      if (epoch !== this.#life) continue;
      this.#doubtful?.get(packetId)?.settle(0);
      this.#doubtful?.delete(packetId);
    }
  }
}

function isSettled(
  { settled, older = [], again = [] }: SettledState,
  { epoch, number, packetId }: OriginName,
): boolean {
  const lives = [settled, ...older];
  if (epoch < lives.at(-1)!.epoch) return true;
  if (lives.some((life) => life.epoch === epoch && number <= life.number)) return true;
  return again.some((known) => known.packetId === packetId && known.epoch > epoch);
}
