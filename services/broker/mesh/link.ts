/**
 * One connection to another broker: its state (`link-state.ts`), its wire and its outbox, put together. It may never get as far as
 * knowing who is at the other end. Called by `Mesh`, which has one a pair and decides what becomes of a hello.
 */
import { type Buffer } from 'node:buffer';
import { caught, type Clock, type Counter } from '../../kernel/kernel.js';
import { type Flusher, SendQueue } from '../outbox/outbox.js';
import { type Ending, endings } from './endings.js';
import { OutOfOrder } from './channel.js';
import { MalformedContent } from './frames/content.js';
import type { Hello } from './frames/v1.js';
import { type LinkOut, LinkState, type LinkTerms, type Stage } from './link-state.js';
import type { Wire, WireSink } from './ports.js';

export interface LinkWorld {
  readonly clock: Clock;
  readonly flusher: Flusher;
  readonly bytesIn: Counter;
  readonly bytesOut: Counter;
  readonly skipped: Counter;
  judge(link: Link, hello: Hello): Ending | undefined;
  onUp(link: Link): void;
  onStage(link: Link, stage: Stage, was: Stage): void;
  /** As `LinkOut.onContent`. */
  onContent(link: Link, type: number, body: Buffer): boolean | Promise<void>;
  onRoom(link: Link): void;
  onEnd(link: Link, ending: Ending, isTold: boolean): void;
}

export class Link implements WireSink, LinkOut {
  /** Of the other end, once it is good. */
  hello: Hello | undefined;
  roundTripMs = 0;
  readonly terms: LinkTerms;
  readonly #world: LinkWorld;
  readonly #wire: Wire;
  readonly #queue: SendQueue;
  readonly #state: LinkState;
  #stage: Stage = 'opening';

  constructor(terms: LinkTerms, wire: Wire, world: LinkWorld) {
    this.terms = terms;
    this.#world = world;
    this.#wire = wire;
    this.#queue = new SendQueue(wire.stream, world.flusher);
    this.#state = new LinkState(terms, this, world.clock.monotonicMs());
  }

  get stage(): Stage {
    return this.#state.stage;
  }

  get remoteAddress(): string {
    return this.#wire.remoteAddress;
  }

  tick(nowMs: number): void {
    this.#state.tick(nowMs);
  }

  send(type: number, body: Buffer): boolean {
    return this.#state.send(type, body);
  }

  end(ending: Ending): void {
    this.#state.end(ending);
  }

  // What the wire tells.

  onOpen(): void {
    this.#state.opened();
  }

  onBytes(chunk: Buffer): void {
    this.#world.bytesIn.add(chunk.length);
    try {
      this.#state.received(chunk, this.#world.clock.monotonicMs());
    } catch (error) {
      // What comes from the other broker and cannot be: its fault, and of this link alone.
      if (error instanceof MalformedContent) return this.#state.end(endings.malformedFrame);
      if (error instanceof OutOfOrder) return this.#state.end(endings.unexpectedFrame);
      caught('link', error, { peer: this.hello?.from });
      this.#state.end(endings.ownFault);
    }
  }

  onDrain(): void {
    this.#queue.recount();
    this.#state.drained();
  }

  onClosed(why: Ending): void {
    this.#queue.end();
    this.#state.closed(why);
  }

  // What the state tells.

  get unsentBytes(): number {
    this.#queue.recount();
    return this.#queue.waitingBytes;
  }

  write(bytes: Buffer): void {
    this.#world.bytesOut.add(bytes.length);
    this.#queue.push(bytes, 0, bytes.length);
  }

  judge(hello: Hello): Ending | undefined {
    return this.#world.judge(this, hello);
  }

  onUp(hello: Hello): void {
    this.hello = hello;
    this.#wire.welcome();
    this.#world.onUp(this);
  }

  onStage(stage: Stage): void {
    const was = this.#stage;
    this.#stage = stage;
    this.#world.onStage(this, stage, was);
  }

  onContent(type: number, body: Buffer): boolean | Promise<void> {
    return this.#world.onContent(this, type, body);
  }

  onSkipped(): void {
    this.#world.skipped.add();
  }

  onPong(afterMs: number): void {
    this.roundTripMs = afterMs;
  }

  onRoom(): void {
    this.#world.onRoom(this);
  }

  onEnd(ending: Ending, isTold: boolean): void {
    this.#queue.flush(this.#world.flusher.leave());
    this.#wire.end();
    this.#world.onEnd(this, ending, isTold);
  }
}
