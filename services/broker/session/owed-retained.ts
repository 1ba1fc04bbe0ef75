/**
 * The retained messages that a session is owed: what its SUBSCRIBEs asked for ([MQTT-3.3.1-9]) and has not been handed
 * over yet. They are owed to the session, not to the connection [MQTT-3.1.2-23]: of one that is stored each subscription
 * says behind which topic they go on, and they do at the client's next connection, on whichever broker.
 *
 *      SUBSCRIBE -> owed (in the subscription's item, before SUBACK) -> bite by bite into the outbound half -> not owed
 *
 * One bite at a time, of one subscription after the other, and only when there is room for it: a session holds no page
 * between two bites, however much it has asked for (G7). Of several SUBSCRIBEs to one filter the last counts.
 *
 * The place in memory is exact. The stored one is behind it: it moves when the client leaves and when all is handed over,
 * and then not before all up to it is acknowledged or stored (`#unsafe`). So an interrupted connection costs nothing, and
 * a crash brings again what was handed over since, of QoS 2 as well: each time as a retained message of its own.
 * Crash points (each is a row of `test/unit/session/owed-retained.test.ts`):
 *  - before the subscription is stored: there was no SUBACK;
 *  - after it, before anything is handed over: all is owed;
 *  - between two bites, or after the last, with the client connected: all is owed again;
 *  - the client has left, what it was handed is not stored: as before;
 *  - that is stored, the place is not: as before; both are: it goes on there;
 *  - all is handed over and safe, the item does not say so yet: all is owed again; it says so: nothing.
 *
 * Interleavings: the filter is subscribed to anew, unsubscribed or forbidden while a bite is read (the bite is for an
 * entry that is gone); the client goes, or comes back on another connection (the bite is read again, for what was
 * published meanwhile with QoS 0 has not reached it); a message is replaced (see `SessionHost.readRetained`).
 */
import type { StoredRoutes } from '../inbox/inbox.js';
import type { DeliveryTerms, Message } from '../message/message.js';
import type { Session } from './client-session.js';
import type { SessionHost } from './ports.js';
import { routeOf } from './subscribing.js';

/** A quarter of what a stored session's queue has in memory. */
export const biteMessagesMax = 128;

export interface Owed {
  /** As the client wrote it. */
  readonly filter: string;
  /** Behind which topic it goes on; '' before the first. */
  after: string;
  /** The same, as the stored subscription says it. */
  stored: string;
  /** SUBACK comes first. */
  isHeld: boolean;
  /** Handed over, and neither acknowledged nor stored. */
  unsafe: number;
  isDone: boolean;
}

export class OwedRetained {
  readonly #session: Session;
  readonly #host: SessionHost;
  /** Of a session that is stored. */
  readonly #routes: StoredRoutes | undefined;
  /** By filter, in the order of their SUBSCRIBEs; no more than there are subscriptions. None when nothing is owed. */
  #owed: Map<string, Owed> | undefined;
  #isRunning = false;

  constructor(session: Session, host: SessionHost, routes: StoredRoutes | undefined) {
    this.#session = session;
    this.#host = host;
    this.#routes = routes;
  }

  /** A SUBSCRIBE asks for them. `start` follows, or the next connection. */
  request(filter: string): Owed {
    const owed: Owed = { filter, after: '', stored: '', isHeld: true, unsafe: 0, isDone: false };
    this.#owed ??= new Map();
    this.#owed.delete(filter);
    this.#owed.set(filter, owed);
    return owed;
  }

  restore(filter: string, after: string): void {
    Object.assign(this.request(filter), { after, stored: after });
  }

  /** Nothing is owed. */
  get isIdle(): boolean {
    return !this.#owed && !this.#isRunning;
  }

  /** What the stored subscription has to say. */
  storedPlace(filter: string): string | undefined {
    return this.#owed?.get(filter)?.stored;
  }

  /** The subscription has gone. */
  forget(filter: string): void {
    this.#delete(filter);
  }

  /** Nothing matches, or the SUBSCRIBE has failed; what has replaced them meanwhile stays. */
  drop(some: Iterable<Owed>): void {
    for (const owed of some) if (this.#owed?.get(owed.filter) === owed) this.#delete(owed.filter);
  }

  /** An empty map would be the largest thing that an idle session keeps. */
  #delete(filter: string): void {
    if (this.#owed?.delete(filter) && this.#owed.size === 0) this.#owed = undefined;
  }

  /** The session ends. */
  end(): void {
    this.#owed = undefined;
  }

  /** SUBACK has been sent. */
  start(some: Iterable<Owed>): void {
    for (const owed of some) owed.isHeld = false;
    this.#go();
  }

  /** A client has connected. */
  resume(): void {
    if (this.#owed) this.start(this.#owed.values());
  }

  /** The client has gone. */
  onDetached(): void {
    for (const owed of this.#owed?.values() ?? []) this.#settle(owed);
  }

  #go(): void {
    if (!this.#isRunning && this.#next) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      for (let next = this.#next; next; next = this.#next) await this.#bite(next);
    } catch (error) {
      this.#host.readFailed({ pump: () => this.#go() }, error);
    } finally {
      this.#isRunning = false;
      this.#session.rest();
    }
  }

  get #next(): Owed | undefined {
    if (!this.#owed || this.#session.channel === undefined) return undefined;
    for (const owed of this.#owed.values()) if (!owed.isHeld && !owed.isDone) return owed;
    return undefined;
  }

  async #bite(owed: Owed): Promise<void> {
    const { channel, roomMessages } = this.#session;
    if (roomMessages === 0) return await new Promise<void>((resolve) => this.#session.whenRoom(resolve));
    const { topicFilter } = this.#session.subscriptions.get(owed.filter)!;
    const isWanted = (): boolean => this.#session.channel === channel && this.#owed?.get(owed.filter) === owed;
    await this.#host.readRetained(topicFilter, {
      after: owed.after,
      messagesMax: Math.min(biteMessagesMax, roomMessages),
      isWanted,
      take: (messages, next) => {
        if (!this.#handOver(owed, messages, isWanted)) return;
        owed.isDone = next === undefined;
        if (next !== undefined) owed.after = next;
        this.#settle(owed);
      },
    });
  }

  /** False when there is no room left for some, or nobody wants them any more. */
  #handOver(owed: Owed, messages: readonly Message[], isWanted: () => boolean): boolean {
    const nowMs = this.#host.nowMs();
    for (const message of messages) {
      if (!isWanted() || this.#session.freeMessages === 0) return false;
      const { noLocal, qos, id } = this.#session.subscriptions.get(owed.filter)!;
      owed.after = message.topic.text;
      if (noLocal && message.publisher === this.#session.clientId) continue; // [MQTT-3.8.3-3]
      const terms: DeliveryTerms = { qos, retainAsPublished: true, subscriptionIds: id > 0 ? [id] : [] };
      this.#session.deliver(message, terms, nowMs);
      this.#watch(owed, message);
    }
    return isWanted();
  }

  #watch(owed: Owed, { pending }: Message): void {
    if (!this.#routes || pending === undefined) return;
    owed.unsafe++;
    pending.whenSettled(() => {
      owed.unsafe--;
      this.#settle(owed);
    });
  }

  /** Stores how far it has come, if that is time and everything up to there is safe. */
  #settle(owed: Owed): void {
    const { filter, after, isDone } = owed;
    if (owed.unsafe > 0 || this.#owed?.get(filter) !== owed) return;
    if (isDone) this.#delete(filter);
    else if (this.#session.channel !== undefined || after === owed.stored) return;
    owed.stored = after;
    const subscription = this.#session.subscriptions.get(filter);
    if (subscription) this.#routes?.set(routeOf(subscription, this.storedPlace(filter)));
  }
}
