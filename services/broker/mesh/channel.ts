/**
 * From one broker to one other, for as long as both live: frames in order, each once, however often the connection is cut.
 * What has been sent is kept until the other one says that it has handled it, and is sent again on the next connection
 * from the first that it has not handled.
 *
 *     event                       | up                                             | down
 *     ----------------------------|------------------------------------------------|----------------------------------------
 *     send                        | numbered, kept, sent as soon as there is room   | numbered, kept
 *     room                        | what has not been sent is, `control` first      | -
 *     connected (hello of theirs) | -                                              | up; kept ones after `handled` are sent
 *     frame with the next number  | handled; `heard` is due                        | -
 *     frame with an older number  | not handled again; `heard` is due              | -
 *     frame with a later number   | a fault of the other one: the connection ends  | -
 *     heard n                     | those up to n are kept no more                 | -
 *     ping                        | answered, behind everything sent before        | -
 *     answer to the latest ping   | proves what had been sent before it was answered | -
 *     cut                         | down                                           | -
 *
 * A connection that has no room (its credit is used up) takes nothing: frames wait in their lanes, a ping or its answer is left out
 * and proves nothing.
 *
 * Two lanes, since a receiver that is slow with messages must not keep its subscribers waiting: `control` for what is said
 * of subscriptions and receipts, `data` for messages. What is kept has no bound here: who sends looks at `unheard`.
 */
import { eachGuarded } from '../../kernel/kernel.js';

export type Lane = 'control' | 'data';

export const lanes = ['control', 'data'] as const satisfies readonly Lane[];

/** What a lane has handled: to be said in the hello and in `heard`. */
export type Handled = Readonly<Record<Lane, number>>;

export type ChannelFrame<F> =
  | { readonly type: 'frame'; readonly lane: Lane; readonly number: number; readonly frame: F }
  | { readonly type: 'heard'; readonly handled: Handled }
  /** `ping`: counts up. */
  | { readonly type: 'ping'; readonly ping: number }
  /** `told`: the last number on the control lane that had been given before the answer. */
  | { readonly type: 'pong'; readonly ping: number; readonly told: number };

export interface ChannelHost<F> {
  /** One frame of the other broker, in order. */
  handle(lane: Lane, frame: F): void;
  /** It has handled all frames of the lane up to this number. */
  heard(lane: Lane, number: number): void;
  /** Its ping is about to be answered. */
  answers(nowMs: number): void;
  /** The ping that left at this time has been answered, and all that was told before that has been handled. */
  proven(pingedAtMs: number, nowMs: number): void;
}

/** Not answered, on one connection. Older ones would prove nothing. */
const pingsMax = 10;

/** The other one does not keep to the order. The connection is to be ended. */
export class OutOfOrder extends Error {
  override readonly name = 'OutOfOrder';
}

interface Kept<F> {
  readonly frame: F;
  readonly heard: (() => void) | undefined;
}

class Out<F> {
  /** Of the last frame that got one. */
  number = 0;
  /** Of the last one that has been sent on this connection. */
  sent = 0;
  /** In order, up to `number`. */
  kept: Kept<F>[] = [];

  keepAfter(handled: number): void {
    const first = this.number - this.kept.length;
    if (handled > first) eachGuarded('forward', this.kept.splice(0, handled - first), ({ heard }) => heard?.());
  }
}

/** False: there is no room. */
type Send<F> = (frame: ChannelFrame<F>) => boolean;

export class Channel<F> {
  readonly #host: ChannelHost<F>;
  readonly #out: Readonly<Record<Lane, Out<F>>> = { control: new Out(), data: new Out() };
  readonly #handled: Record<Lane, number> = { control: 0, data: 0 };
  #send: Send<F> | undefined;
  #isHeardDue = false;
  #pings = 0;
  /** When those left that are not answered yet, in order. A way of a second takes several at a time. */
  #pinged: { readonly ping: number; readonly atMs: number }[] = [];
  /** An answer that says more than has been handled yet. */
  #answer: { readonly told: number; readonly pingedAtMs: number } | undefined;

  constructor(host: ChannelHost<F>) {
    this.#host = host;
  }

  /** For the hello. */
  get handled(): Handled {
    return { ...this.#handled };
  }

  /** Frames that the other one has not handled. */
  unheard(lane: Lane): number {
    return this.#out[lane].kept.length;
  }

  /** `theirs`: what their hello says. */
  connected(theirs: Handled, send: Send<F>): void {
    this.#send = send;
    for (const lane of lanes) {
      const out = this.#out[lane];
      out.sent = out.number; // On earlier connections, perhaps.
      this.#heard(lane, theirs[lane]);
      out.sent = out.number - out.kept.length;
    }
    for (const lane of lanes) this.#pump(lane);
  }

  /** The connection has room again. */
  room(): void {
    this.flush();
    for (const lane of lanes) this.#pump(lane);
  }

  #pump(lane: Lane): void {
    const out = this.#out[lane];
    while (out.sent < out.number && this.#send) {
      const { frame } = out.kept[out.kept.length - (out.number - out.sent)]!;
      if (!this.#send({ type: 'frame', lane, number: out.sent + 1, frame })) return;
      out.sent++;
    }
  }

  cut(): void {
    this.#send = undefined;
    this.#answer = undefined;
    this.#pinged = [];
  }

  /** The other one has died. What waited for it to have heard something waits no longer. */
  end(): void {
    this.cut();
    for (const lane of lanes) this.#out[lane].keepAfter(this.#out[lane].number);
  }

  /** `heard`: called once the other one has handled the frame, or has died. */
  send(lane: Lane, frame: F, heard?: () => void): number {
    const out = this.#out[lane];
    out.kept.push({ frame, heard });
    const number = ++out.number;
    this.#pump(lane);
    return number;
  }

  ping(nowMs: number): void {
    if (!this.#send?.({ type: 'ping', ping: this.#pings + 1 })) return;
    this.#pinged.push({ ping: ++this.#pings, atMs: nowMs });
    if (this.#pinged.length > pingsMax) this.#pinged.shift();
  }

  /** To be called when what has come together has been handled: one word for all of it. */
  flush(): void {
    if (!this.#isHeardDue || !this.#send) return;
    this.#isHeardDue = !this.#send({ type: 'heard', handled: this.handled });
  }

  receive(message: ChannelFrame<F>, nowMs: number): void {
    switch (message.type) {
      case 'frame':
        return this.#take(message.lane, message.number, message.frame, nowMs);
      case 'heard':
        for (const lane of lanes) this.#heard(lane, message.handled[lane]);
        return;
      case 'ping':
        this.#host.answers(nowMs);
        this.#send?.({ type: 'pong', ping: message.ping, told: this.#out.control.number });
        return;
      case 'pong':
        return this.#answered(message.ping, message.told, nowMs);
    }
  }

  #answered(ping: number, told: number, nowMs: number): void {
    const at = this.#pinged.findIndex((pinged) => pinged.ping === ping);
    if (at < 0) return;
    const { atMs } = this.#pinged[at]!;
    this.#pinged.splice(0, at + 1);
    this.#answer = { told, pingedAtMs: atMs };
    this.#prove(nowMs);
  }

  #take(lane: Lane, number: number, frame: F, nowMs: number): void {
    const next = this.#handled[lane] + 1;
    this.#isHeardDue = true;
    if (number < next) return;
    if (number > next) throw new OutOfOrder(`frame ${number} of lane ${lane} came in place of ${next}`);
    this.#handled[lane] = number;
    this.#host.handle(lane, frame);
    this.#prove(nowMs);
  }

  #prove(nowMs: number): void {
    const answer = this.#answer;
    if (!answer || answer.told > this.#handled.control) return;
    this.#answer = undefined;
    this.#host.proven(answer.pingedAtMs, nowMs);
  }

  #heard(lane: Lane, number: number): void {
    if (number > this.#out[lane].sent) throw new OutOfOrder(`frame ${number} of lane ${lane} has never been sent`);
    this.#out[lane].keepAfter(number);
    this.#host.heard(lane, number);
  }
}
