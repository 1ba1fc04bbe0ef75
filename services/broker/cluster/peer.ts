/**
 * One other broker, as long as its lease lasts: what goes there and comes from there, over however many links.
 *
 *      forward -> written into the frame of this turn -> channel, lane data -> the other one -> receipt -> paid
 *      receipt of a message from there -> the list of this turn -> channel, lane control
 *
 * What happens in one turn of the event loop is one frame: the first of it asks for `flush` by the end of the turn.
 * A message of QoS 1 or 2 is owed from `forward` until its receipt, and its bytes count in the tenant's share until then; one of QoS 0
 * counts until its frame has been heard. When the broker dies what is owed is paid as not done (`serverUnavailable`), since nobody
 * knows whether its stored sessions have the message.
 */
import { type BrokerId, eachGuarded } from '../../kernel/kernel.js';
import type { Message, Receipt, TopicName } from '../message/message.js';
import {
  Channel,
  type ChannelHost,
  controlContent,
  type Encoded,
  ForwardsWriter,
  OutOfOrder,
  type ReceiptRange,
} from '../mesh/mesh.js';
import type { InterestLane } from '../interest/interest.js';
import type { Home } from './ports.js';
import { type Share, Shares } from './shares.js';

/** A frame of messages is not made larger by the next one: far below what a frame may be. */
const frameBytes = 1 << 16;
/** What a message takes besides its content: of the frame and of the record that waits for its receipt. */
const overheadBytes = 200;
/** The MQTT reason code for what was given up. */
const serverUnavailable = 0x88;

interface UnderWay {
  readonly message: Message;
  readonly share: Share;
  readonly bytes: number;
}

interface Kept {
  readonly share: Share;
  bytes: number;
}

export class Peer {
  readonly id: BrokerId;
  readonly channel: Channel<Encoded>;
  readonly shares = new Shares();
  /** For what is said of subscriptions. */
  readonly lane: InterestLane = {
    send: (frame) => this.channel.send('control', controlContent(frame)),
  };
  /** It has said hello on the present link. */
  isGreeted = false;
  /** Our hello on the present link has been sent. */
  hasGreeted = true;
  /** It has told that it serves. */
  isServing = false;
  #hasEnded = false;
  readonly #askFlush: (peer: Peer) => void;
  #isFlushAsked = false;
  #writer: ForwardsWriter | undefined;
  /** The next one will be alike. */
  #lastFrameBytes = 0;
  /** Of QoS 0, in the frame that is being written. */
  #volatile: Kept[] = [];
  #lastReceipt = 0;
  readonly #underWay = new Map<number, UnderWay>();
  #receipts: ReceiptRange[] = [];
  #lastBarrier = 0;
  readonly #barriers = new Map<number, () => void>();

  constructor(id: BrokerId, host: ChannelHost<Encoded>, askFlush: (peer: Peer) => void) {
    this.id = id;
    this.channel = new Channel(host);
    this.#askFlush = askFlush;
  }

  /** Messages that wait for their receipts. */
  get underWay(): number {
    return this.#underWay.size;
  }

  /** False: it is dropped. */
  forward(home: Home, message: Message, expiresInMs: number | undefined): boolean {
    const share = this.shares.of(home);
    const { qos } = message;
    const bytes = message.storedBytes + overheadBytes;
    if (qos === 0 && !this.shares.hasRoom(share)) return false;
    const writer = (this.#writer ??= new ForwardsWriter(this.#lastFrameBytes));
    const receipt = qos > 0 ? this.#lastReceipt + 1 : 0;
    writer.add(message, home.scope, receipt, expiresInMs);
    this.shares.take(share, bytes);
    if (qos === 0) this.#countVolatile(share, bytes);
    else {
      const kept = message.keepBriefly();
      this.#lastReceipt = receipt;
      home.owe(kept);
      this.#underWay.set(receipt, { message: kept, share, bytes });
      this.shares.look(share);
    }
    if (writer.length >= frameBytes) this.#send();
    else this.#flushLater();
    return true;
  }

  #countVolatile(share: Share, bytes: number): void {
    const last = this.#volatile.at(-1);
    if (last?.share === share) last.bytes += bytes;
    else this.#volatile.push({ share, bytes });
  }

  #flushLater(): void {
    if (this.#isFlushAsked) return;
    this.#isFlushAsked = true;
    this.#askFlush(this);
  }

  /** At the end of a turn. */
  flush(): void {
    this.#isFlushAsked = false;
    if (this.#hasEnded) return;
    if (this.#receipts.length > 0) {
      this.channel.send('control', controlContent({ type: 'receipts', ranges: this.#receipts }));
      this.#receipts = [];
    }
    this.#send();
    this.channel.flush();
  }

  /** What has come is to be confirmed at the end of the turn. */
  heardSome(): void {
    this.#flushLater();
  }

  #send(): void {
    if (!this.#writer) return;
    const frame = this.#writer.end();
    this.#lastFrameBytes = Math.min(frame.body.length, frameBytes);
    const kept = this.#volatile;
    this.#writer = undefined;
    this.#volatile = [];
    if (kept.length === 0) return void this.channel.send('data', frame);
    this.channel.send('data', frame, () => {
      for (const { share, bytes } of kept) this.shares.give(share, bytes);
      this.shares.given();
    });
  }

  /** It has settled these of our messages. */
  paid(ranges: readonly ReceiptRange[]): void {
    for (const { first, count, reasonCode } of ranges) {
      if (first < 1 || first + count - 1 > this.#lastReceipt)
        throw new OutOfOrder(`receipts up to ${first + count - 1}, of ${this.#lastReceipt} messages`);
      for (let number = first; number < first + count; number++) {
        const one = this.#underWay.get(number);
        if (!one) continue;
        this.#underWay.delete(number);
        this.#pay(one, reasonCode);
      }
    }
    this.shares.given();
  }

  #pay({ message, share, bytes }: UnderWay, reasonCode: number): void {
    this.shares.give(share, bytes);
    // Nobody there (0x10) says nothing of the subscribers elsewhere.
    share.home.pay(message, reasonCode >= 0x80 ? reasonCode : 0);
  }

  /** A message from there is to be answered when it has settled. */
  answer(number: number, receipt: Receipt): void {
    if (receipt.reasonCode !== undefined) this.#answer(number, receipt.reasonCode);
    else receipt.whenSettled(() => this.#answer(number, receipt.reasonCode!));
  }

  #answer(number: number, reasonCode: number): void {
    if (this.#hasEnded) return;
    const last = this.#receipts.at(-1);
    if (last && last.first + last.count === number && last.reasonCode === reasonCode) last.count++;
    else this.#receipts.push({ first: number, count: 1, reasonCode });
    this.#flushLater();
  }

  /** Calls back when all messages have been handled here that it has sent before it handles this; or when it has died. */
  barrier(passed: () => void): void {
    const barrier = ++this.#lastBarrier;
    this.#barriers.set(barrier, passed);
    this.channel.send('control', controlContent({ type: 'barrier', barrier }));
  }

  /** Its barrier has come. */
  answerBarrier(barrier: number): void {
    this.#send();
    this.channel.send('data', controlContent({ type: 'passed', barrier }));
  }

  passed(barrier: number): void {
    const passed = this.#barriers.get(barrier);
    if (!passed) throw new OutOfOrder(`barrier ${barrier} has passed, of ${this.#lastBarrier}`);
    this.#barriers.delete(barrier);
    passed();
  }

  /** Its lease is over. */
  end(): void {
    this.#hasEnded = true;
    this.#writer = undefined;
    this.#receipts = [];
    for (const { share, bytes } of this.#volatile.splice(0)) this.shares.give(share, bytes);
    this.channel.end();
    const left = [...this.#underWay.values()];
    this.#underWay.clear();
    eachGuarded('forward', left, (one) => this.#pay(one, serverUnavailable));
    const waiting = [...this.#barriers.values()];
    this.#barriers.clear();
    eachGuarded('forward', waiting, (passed) => passed());
    this.shares.end();
  }

  /** For a message that waits to be matched: see `Watches`. Undefined: it is dropped. */
  hold(home: Home, message: Message): Held | undefined {
    const share = this.shares.of(home);
    if (message.qos === 0 && !this.shares.hasRoom(share)) return undefined;
    const kept = message.keep();
    const bytes = kept.storedBytes + overheadBytes;
    this.shares.take(share, bytes);
    if (kept.qos > 0) {
      home.owe(kept);
      this.shares.look(share);
    }
    return new Held(this.shares, share, kept, bytes);
  }
}

/** A message that waits to be matched. */
export class Held {
  readonly message: Message;
  readonly share: Share;
  readonly topic: TopicName;
  readonly #shares: Shares;
  readonly #bytes: number;

  constructor(shares: Shares, share: Share, message: Message, bytes: number) {
    this.message = message;
    this.share = share;
    this.topic = message.topic;
    this.#shares = shares;
    this.#bytes = bytes;
  }

  release(reasonCode: number): void {
    this.#shares.give(this.share, this.#bytes);
    this.#shares.given();
    if (this.message.qos > 0) this.share.home.pay(this.message, reasonCode);
  }
}
