/**
 * One connection between two brokers, as a state machine: bytes and times in, frames and news out. It has no socket, no timer and no
 * clock; `Link` brings it those.
 *
 *      stage    | opened         | hello, good      | hello, refused | other frame | tick                                    | stop, closed
 *      ---------|----------------|------------------|----------------|-------------|-----------------------------------------|-------------
 *      opening  | greeting (1)   | -                | -              | -           | ended after `greetingMsMax`             | ended
 *      greeting | -              | up (2)           | ended          | ended (3)   | ended after `greetingMsMax`             | ended
 *      up       | -              | ended (4)        | ended (4)      | up          | pings; silent after `silentMs`          | ended
 *      silent   | -              | ended (4)        | ended (4)      | up          | pings; ended after `unheardMax` of them | ended
 *      ended    | nothing leads out of it, and nothing is said any more
 *
 *  (1) Who dials says hello first. The other one says its own only once it has heard a good one.
 *  (2) A knock ends there: the one who hears it dials.
 *  (3) Except a bye, which says why the link is refused and is believed: it ends nothing but this link.
 *  (4) A second one.
 *
 * Silent says that nothing has been heard for 2 s, by this broker's monotonic clock: whoever depends on what comes over the link may
 * have missed something. It says nothing about the other broker. A link that is silent goes on when something is heard.
 * It ends after 12 pings without a word. Pings are counted and not time, for a process that was frozen itself has sent none.
 *
 * Bytes are bounded in both directions:
 *  - In: the receiver grants credit for content, `windowBytes` at first and what it has handled thereafter. Content beyond it ends the
 *    link. Memory holds one frame that is not complete, and what handlers that take their time have not handled.
 *  - Out: nothing waits for credit here: `send` refuses, and the caller keeps what it has until `onRoom`. Nor is more
 *    than `unsentBytesMax` handed to a network that does not take it, whatever credit the other broker has granted. Pings and
 *    byes come on top, of which there are few: no pong is said while so much waits.
 */
import type { Buffer } from 'node:buffer';
import { type Ending, endingOf, endings } from './endings.js';
import {
  byeFrame,
  commonVersion,
  costOf,
  frame,
  frameBytesMax,
  FrameReader,
  type Hello,
  helloFrame,
  isContent,
  maySkip,
  numberFrame,
  readCode,
  readHello,
  readNumber,
  types,
} from './frames/v1.js';

/**
 * Of a link: the most that a broker holds for another one that has stopped reading. A hundred such links are 100 MB. It is granted
 * again by halves, and the half that is left then has room for the longest frame.
 */
export const windowBytes = 2 * frameBytesMax + 4;
/** The same for a link whose other end grants more. */
const unsentBytesMax = windowBytes;
/** A ping is due each of these: four of them make a silence. */
export const tickMs = 500;
export const silentMs = 2000;
/** 6 s: longer than a lease, so the link to a broker that lives and was only late is hardly ever given up. */
export const unheardMax = 12;
/** TCP, TLS and hello: many round trips across a continent. */
export const greetingMsMax = 5000;

export type Stage = 'opening' | 'greeting' | 'up' | 'silent' | 'ended';

export interface LinkOut {
  readonly unsentBytes: number;
  write(bytes: Buffer): void;
  /** Judges a hello whose version is good. */
  judge(hello: Hello): Ending | undefined;
  onUp(hello: Hello): void;
  onStage(stage: Stage): void;
  /** Content. False: nobody knows its type. A promise holds its credit back until it has settled. */
  onContent(type: number, body: Buffer): boolean | Promise<void>;
  onSkipped(): void;
  onPong(afterMs: number): void;
  /** What `send` has refused may be tried again. */
  onRoom(): void;
  /** Once. `isTold`: the other broker has said so. The last bytes have been written. */
  onEnd(ending: Ending, isTold: boolean): void;
}

export interface LinkTerms {
  readonly role: 'dials' | 'accepts';
  /** What it says of itself. `to` is empty for who accepts, until it has been told. */
  readonly hello: Hello;
}

export class LinkState {
  stage: Stage = 'opening';
  readonly #terms: LinkTerms;
  readonly #out: LinkOut;
  readonly #reader = new FrameReader();
  readonly #sinceMs: number;
  #heardAtMs: number;
  #unheardPings = 0;
  #pingNumber = 0;
  #pingedAtMs = 0;
  /** What may be sent. */
  #credit = 0;
  /** What the other broker may send. */
  #granted = 0;
  /** Handled, and not granted again yet. */
  #handledBytes = 0;
  #isRoomWanted = false;

  constructor(terms: LinkTerms, out: LinkOut, nowMs: number) {
    this.#terms = terms;
    this.#out = out;
    this.#sinceMs = nowMs;
    this.#heardAtMs = nowMs;
  }

  /** TLS is there: the other end has the key. */
  opened(): void {
    if (this.stage !== 'opening') return;
    this.#become('greeting');
    if (this.#terms.role === 'dials') this.#out.write(helloFrame(this.#terms.hello));
  }

  received(chunk: Buffer, nowMs: number): void {
    if (this.stage === 'ended') return;
    const fault = this.#reader.push(chunk, (type, body) => {
      this.#take(type, body, nowMs);
      return this.isOpen;
    });
    if (fault) this.end(fault === 'frame-too-large' ? endings.frameTooLarge : endings.malformedFrame);
  }

  /** Every `tickMs`. */
  tick(nowMs: number): void {
    switch (this.stage) {
      case 'opening':
      case 'greeting':
        if (nowMs - this.#sinceMs >= greetingMsMax) this.end(endings.greetingLate);
        return;
      case 'up':
      case 'silent':
        if (this.#unheardPings >= unheardMax) return this.end(endings.silent);
        this.#unheardPings++;
        this.#pingedAtMs = nowMs;
        this.#pingNumber = (this.#pingNumber + 1) >>> 0;
        this.#out.write(numberFrame(types.ping, this.#pingNumber));
        if (this.stage === 'up' && nowMs - this.#heardAtMs >= silentMs) this.#become('silent');
        return;
      case 'ended':
    }
  }

  /** False: no credit, no room or no link; nothing was taken. */
  send(type: number, body: Buffer): boolean {
    const cost = costOf(body);
    if (cost > 4 + frameBytesMax || !isContent(type)) throw new RangeError('no content, or longer than a frame may be');
    const mayBe = this.stage === 'up' || this.stage === 'silent';
    if (!mayBe || cost > this.#credit || this.#out.unsentBytes + cost > unsentBytesMax) {
      this.#isRoomWanted = true;
      return false;
    }
    this.#credit -= cost;
    this.#out.write(frame(type, body));
    return true;
  }

  /** The network has taken everything. */
  drained(): void {
    if (!this.#isRoomWanted || !this.isOpen) return;
    this.#isRoomWanted = false;
    this.#out.onRoom();
  }

  /** Says bye where somebody hears it. */
  end(ending: Ending): void {
    if (this.stage === 'ended') return;
    // Who accepts and has heard no good hello tells a stranger with the key why, too: it is a broker with another release or cluster.
    if (this.stage !== 'opening' && ending.code !== undefined) this.#out.write(byeFrame(ending.code));
    this.#finish(ending, false);
  }

  /** By the network or the other broker, without a word. */
  closed(why: Ending): void {
    if (this.stage !== 'ended') this.#finish(why, false);
  }

  get isOpen(): boolean {
    return this.stage !== 'ended';
  }

  #finish(ending: Ending, isTold: boolean): void {
    this.#become('ended');
    this.#out.onEnd(ending, isTold);
  }

  #become(stage: Stage): void {
    this.stage = stage;
    this.#out.onStage(stage);
  }

  #take(type: number, body: Buffer, nowMs: number): void {
    if (type === types.bye) {
      const code = readCode(body);
      return code === undefined ? this.end(endings.malformedFrame) : this.#finish(endingOf(code), true);
    }
    if (this.stage === 'greeting' && type === types.hello) return this.#greet(body, nowMs);
    if (this.stage === 'greeting' || type === types.hello) {
      // What comes first may be anything: of all that is not a hello it is the likeliest that it is no broker.
      return this.end(this.stage === 'greeting' ? endings.notAHello : endings.unexpectedFrame);
    }
    this.#heardAtMs = nowMs;
    this.#unheardPings = 0;
    if (this.stage === 'silent') this.#become('up');
    if (isContent(type)) this.#takeContent(type, body);
    else this.#takeControl(type, body, nowMs);
  }

  #greet(body: Buffer, nowMs: number): void {
    const hello = readHello(body);
    if (hello === undefined || hello === 'not-a-hello')
      return this.end(hello === undefined ? endings.malformedFrame : endings.notAHello);
    const own = this.#terms.hello;
    if (commonVersion(own, hello) === undefined) return this.end(endings.noCommonVersion);
    const refusal = this.#out.judge(hello);
    if (refusal) return this.end(refusal);
    if (this.#terms.role === 'accepts') this.#out.write(helloFrame({ ...own, to: hello.from }));
    this.#reader.bytesMax = frameBytesMax;
    this.#heardAtMs = nowMs;
    this.#become('up');
    this.#granted = windowBytes;
    this.#out.write(numberFrame(types.credit, this.#granted));
    this.#out.onUp(hello);
  }

  #takeControl(type: number, body: Buffer, nowMs: number): void {
    const value = readNumber(body);
    if (type !== types.ping && type !== types.pong && type !== types.credit) return this.end(endings.unknownFrame);
    if (value === undefined) return this.end(endings.malformedFrame);
    if (type === types.ping) {
      if (this.#out.unsentBytes < unsentBytesMax) this.#out.write(numberFrame(types.pong, value));
    } else if (type === types.pong) {
      if (value === this.#pingNumber) this.#out.onPong(nowMs - this.#pingedAtMs);
    } else {
      this.#credit = Math.min(this.#credit + value, 0xffff_ffff); // More than anybody uses.
      this.drained();
    }
  }

  #takeContent(type: number, body: Buffer): void {
    const cost = costOf(body);
    this.#granted -= cost;
    if (this.#granted < 0) return this.end(endings.creditExceeded);
    const handled = this.#out.onContent(type, body);
    if (handled === true) this.#handled(cost);
    else if (handled !== false)
      handled.then(
        () => this.#handled(cost),
        () => this.end(endings.ownFault),
      );
    else if (!maySkip(type)) this.end(endings.unknownFrame);
    else {
      this.#out.onSkipped();
      this.#handled(cost);
    }
  }

  /** In halves of the window, so that a credit is not sent for each frame. */
  #handled(cost: number): void {
    this.#handledBytes += cost;
    if (this.stage === 'ended' || this.#handledBytes < frameBytesMax) return;
    this.#out.write(numberFrame(types.credit, this.#handledBytes));
    this.#granted += this.#handledBytes;
    this.#handledBytes = 0;
  }
}
