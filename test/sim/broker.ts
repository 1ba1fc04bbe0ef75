/**
 * A broker of the simulation: the code that brokers have for each other (`interest`, `mesh/channel`) around the least that a
 * broker needs besides: subscribers by filter, and a store that takes its time.
 */
import type { BrokerId, TenantScope } from '../../services/kernel/kernel.js';
import { filterMatches } from '../../services/topic/topic.js';
import {
  connected,
  durable,
  type InterestFrame,
  type Kind,
  none,
  pingMs,
  Watchers,
  Watches,
} from '../../services/broker/interest/interest.js';
import { Channel, type ChannelFrame, type Handled, type Lane } from '../../services/broker/mesh/mesh.js';
import { bothReceipts, PendingReceipt, type Receipt } from '../../services/broker/message/message.js';
import type { End } from './network.js';
import type { Subscription } from './observer.js';
import type { World } from './world.js';

export interface SimMessage {
  readonly id: number;
  readonly tenant: TenantScope;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
}

type Frame =
  | InterestFrame
  | { readonly type: 'forward'; readonly message: SimMessage; readonly receipt: number | undefined }
  | { readonly type: 'receipt'; readonly receipt: number };

type Wire = { readonly type: 'hello'; readonly handled: Handled } | ChannelFrame<Frame>;

class Peer {
  readonly channel: Channel<Frame>;
  send: ((message: unknown) => void) | undefined;
  hasBeenUp = false;

  constructor(channel: Channel<Frame>) {
    this.channel = channel;
  }
}

export class SimBroker implements End {
  readonly id: BrokerId;
  readonly #world: World;
  /** Its clock runs at another rate, from another moment. */
  readonly #rate: number;
  readonly #offsetMs: number;
  readonly #peers = new Map<SimBroker, Peer>();
  readonly #dead = new Set<SimBroker>();
  readonly #subscribers = new Map<TenantScope, Map<string, Set<Subscription>>>();
  readonly #receipts = new Map<number, { readonly receipt: PendingReceipt; readonly from: SimBroker }>();
  #nextReceipt = 0;
  readonly watchers: Watchers;
  readonly watches: Watches<SimMessage>;
  isAlive = true;
  isServing = false;
  frozenUntilMs = 0;
  /** What has come while it stood still. */
  readonly #waiting: (() => void)[] = [];

  constructor(id: string, world: World) {
    const { chance, drift } = world;
    this.id = id as BrokerId;
    this.#world = world;
    this.#rate = 1 + (chance.next() * 2 - 1) * drift;
    this.#offsetMs = chance.next() * 1e6;
    this.watchers = new Watchers({
      of: (tenant) => [...(this.#subscribers.get(tenant) ?? [])].map(([filter, all]) => [filter, kindOf(all)] as const),
    });
    this.watches = new Watches<SimMessage>({
      forward: (broker, _tenant, message, needsReceipt) => this.#forward(broker, message, needsReceipt),
      keep: (message) => message,
      dropped: (message) => world.observer.dropped(message.id),
    });
    this.#tick();
  }

  nowMs(): number {
    return this.#offsetMs + this.#world.events.nowMs * this.#rate;
  }

  /** Does it now, or when the process goes on. Not at all if it has ended by then. */
  act(step: () => void): void {
    if (!this.isAlive) return;
    if (this.#waiting.length === 0 && this.#world.events.nowMs >= this.frozenUntilMs) return step();
    this.#waiting.push(step);
    if (this.#waiting.length === 1) this.#goOn();
  }

  #goOn(): void {
    this.#world.events.at(this.frozenUntilMs, () => {
      if (this.#world.events.nowMs < this.frozenUntilMs) return this.#goOn();
      for (const step of this.#waiting.splice(0)) if (this.isAlive) step();
    });
  }

  #tick(): void {
    this.#world.events.in(pingMs / this.#rate, () => {
      if (!this.isAlive) return;
      this.act(() => {
        for (const { channel } of this.#peers.values()) channel.ping(this.nowMs());
        this.#look();
      });
      this.#tick();
    });
  }

  #look(): void {
    const nextMs = this.watchers.look(this.nowMs());
    if (nextMs === Infinity) return;
    this.#world.events.in((nextMs - this.nowMs()) / this.#rate + 0.001, () => this.act(() => this.#look()));
  }

  // Other brokers.

  /** Knows of it from now on. */
  join(other: SimBroker): void {
    if (this.#peers.has(other) || this.#dead.has(other)) return;
    const channel: Channel<Frame> = new Channel<Frame>({
      handle: (lane, frame) => this.#handle(other, lane, frame),
      heard: (lane, number) => {
        if (lane === 'control') this.watchers.heard(other.id, number);
      },
      answers: (nowMs) => this.watchers.answers(other.id, nowMs),
      proven: (pingedAtMs, nowMs) => this.watches.proven(other.id, pingedAtMs, nowMs),
    });
    this.#peers.set(other, new Peer(channel));
    const lane = { send: (frame: InterestFrame) => channel.send('control', frame) };
    this.watchers.join(other.id, lane);
    this.watches.join(other.id, lane);
  }

  opened(to: SimBroker, send: (message: unknown) => void): void {
    this.act(() => {
      this.join(to);
      const peer = this.#peers.get(to);
      if (!peer) return;
      peer.channel.cut();
      peer.send = send;
      send({ type: 'hello', handled: peer.channel.handled } satisfies Wire);
    });
  }

  received(from: SimBroker, message: unknown): void {
    this.act(() => {
      const peer = this.#peers.get(from);
      if (!peer?.send) return;
      const wire = message as Wire;
      const { send } = peer;
      if (wire.type === 'hello') {
        peer.channel.connected(wire.handled, send);
        peer.channel.ping(this.nowMs());
        peer.hasBeenUp = true;
        this.#mayServe();
      } else peer.channel.receive(wire, this.nowMs());
      peer.channel.flush();
    });
  }

  cut(to: SimBroker): void {
    this.act(() => {
      const peer = this.#peers.get(to);
      if (!peer) return;
      peer.channel.cut();
      peer.send = undefined;
    });
  }

  died(other: SimBroker): void {
    this.act(() => {
      this.#peers.get(other)?.channel.end();
      this.#peers.delete(other);
      this.#dead.add(other);
      this.watchers.died(other.id);
      this.watches.died(other.id);
      for (const [number, { receipt, from }] of this.#receipts)
        if (from === other) {
          this.#receipts.delete(number);
          receipt.settle(0);
        }
      this.#mayServe();
    });
  }

  /** Those that were there before it: it serves once each of them knows it. */
  #mayServe(): void {
    this.isServing ||= [...this.#peers.values()].every(({ hasBeenUp }) => hasBeenUp);
  }

  start(others: readonly SimBroker[]): void {
    for (const other of others) this.join(other);
    this.#mayServe();
  }

  #handle(from: SimBroker, _lane: Lane, frame: Frame): void {
    switch (frame.type) {
      case 'watch':
        return this.watchers.watch(from.id, frame.tenant, frame.watch);
      case 'unwatch':
        return this.watchers.unwatch(from.id, frame.tenant, frame.watch);
      case 'interest':
        return this.watches.heard(from.id, frame, this.nowMs());
      case 'forward': {
        const receipt = this.#deliver(frame.message);
        const { channel } = this.#peers.get(from)!;
        const number = frame.receipt;
        if (number !== undefined)
          if (receipt) receipt.whenSettled(() => channel.send('control', { type: 'receipt', receipt: number }));
          else channel.send('control', { type: 'receipt', receipt: number });
        return;
      }
      case 'receipt': {
        const waiting = this.#receipts.get(frame.receipt);
        this.#receipts.delete(frame.receipt);
        return waiting?.receipt.settle(0);
      }
    }
  }

  #forward(broker: BrokerId, message: SimMessage, needsReceipt: boolean): Receipt | undefined {
    this.#world.forwards++;
    const [to, { channel }] = [...this.#peers].find(([{ id }]) => id === broker)!;
    if (message.qos === 0) return void channel.send('data', { type: 'forward', message, receipt: undefined });
    const receipt = new PendingReceipt();
    if (!needsReceipt) {
      channel.send('data', { type: 'forward', message, receipt: undefined }, () => receipt.settle(0));
      return receipt;
    }
    const number = ++this.#nextReceipt;
    this.#receipts.set(number, { receipt, from: to });
    channel.send('data', { type: 'forward', message, receipt: number });
    return receipt;
  }

  // Clients.

  subscribe(subscription: Subscription, matched: () => void): void {
    const { tenant, filter } = subscription;
    const filters = this.#subscribers.get(tenant) ?? new Map<string, Set<Subscription>>();
    this.#subscribers.set(tenant, filters);
    const all = filters.get(filter) ?? new Set();
    const before = kindOf(all);
    filters.set(filter, all.add(subscription));
    if (kindOf(all) !== before) this.watchers.changed(tenant, filter, kindOf(all));
    this.watchers.whenMatched(tenant, this.nowMs(), matched);
    this.#look();
  }

  unsubscribe(subscription: Subscription): void {
    const { tenant, filter } = subscription;
    const filters = this.#subscribers.get(tenant)!;
    const all = filters.get(filter)!;
    const before = kindOf(all);
    all.delete(subscription);
    if (all.size === 0) filters.delete(filter);
    if (kindOf(all) !== before) this.watchers.changed(tenant, filter, kindOf(all));
  }

  publish(message: SimMessage, acknowledge: () => void): void {
    const remote = this.watches.publish(message.tenant, message, this.nowMs());
    const local = this.#deliver(message);
    const receipt = remote && local ? bothReceipts(remote, local) : (remote ?? local);
    if (receipt) receipt.whenSettled(acknowledge);
    else acknowledge();
  }

  /** To the subscribers here. Stored sessions take their time. */
  #deliver(message: SimMessage): Receipt | undefined {
    let isDurable = false;
    for (const [filter, all] of this.#subscribers.get(message.tenant) ?? []) {
      if (!filterMatches(filter, message.topic)) continue;
      for (const subscription of all) {
        this.#world.observer.delivered(subscription, message.id);
        isDurable ||= subscription.isDurable;
      }
    }
    if (!isDurable || message.qos === 0) return undefined;
    const receipt = new PendingReceipt();
    this.#world.events.in(this.#world.chance.next() * 50, () => this.act(() => receipt.settle(0)));
    return receipt;
  }
}

function kindOf(all: ReadonlySet<Subscription>): Kind {
  let kind: Kind = none;
  for (const { isDurable } of all) {
    if (isDurable) return durable;
    kind = connected;
  }
  return kind;
}
