/**
 * The door of the mesh: links between all brokers that live, one a pair. A link says nothing of a broker's life or death: that is said
 * by its lease alone. Nothing that has to survive is only in a link.
 *
 * Who is a member: all whose leases are read and have not ended (`heard`), and who has said hello since. Of two members that with the
 * lower id dials, again and again, so two connections of a pair come from the same side and the later is known. Who has joined
 * and is to be dialled by somebody who has not read its lease yet knocks: a connection whose hello says so, and which ends there.
 *
 * What may happen, and what comes of it:
 *  - Two join at once: each writes its lease before it reads all, so one of them at least sees the other. If that one has the lower id
 *    it dials, otherwise it knocks. Both see each other: one dials, the other one knocks in vain.
 *  - The link of a pair breaks and only who dials notices: its next hello has a higher incarnation and takes the old one's place. The late
 *    hello of an earlier connection is refused.
 *  - A broker dies: its connections are reset and dialled again in vain, at longer and longer intervals, until its lease is
 *    taken or gone. Its machine dies or is cut off: the link is silent, then ends, the same.
 *  - Another broker is at the address of one that has gone: a hello says whom it is for, and is refused.
 *  - A lease is read before its broker says hello and the read ends after it: the hello counts, for it is younger than the read.
 *  - DynamoDB is out of reach: no leases are read and nobody's has ended, so the links stay as they are.
 */
import { type Buffer } from 'node:buffer';
import { type Cancel, caught, type Clock, eachGuarded, guarded, type Log, type Metrics } from '../../kernel/kernel.js';
import { type AcknowledgementGate, Flusher } from '../outbox/outbox.js';
import { addressText, readAddress, reachableHost } from './address.js';
import { type Ending, endings } from './endings.js';
import { type Hello, versionMax, versionMin } from './frames/v1.js';
import type { ClusterKeys } from './keys.js';
import { Link, type LinkWorld } from './link.js';
import { tickMs } from './link-state.js';
import { LinkNews } from './news.js';
import { membersMax, newPeer, type Peer, redialMs } from './peer.js';
import type { Member, PeerListener } from './ports.js';
import { MeshSockets } from './sockets.js';

export { Channel, type ChannelFrame, type ChannelHost, type Handled, type Lane, OutOfOrder } from './channel.js';
export {
  type AnswerFrame,
  answerBody,
  finishBody,
  giveBody,
  readAnswer,
  readFinish,
  readGive,
  takeoverTypes,
} from './frames/takeover.js';
export { clusterKey, type ClusterKeys, keyCharactersMin } from './keys.js';
export { readAddress, reachableHost } from './address.js';
export {
  contentTypes,
  type Encoded,
  handledContent,
  MalformedContent,
  numberBytes,
  numberOf,
  pingContent,
  pongContent,
  readHandled,
  readNumbers,
} from './frames/content.js';
export { type ForwardedMessage, ForwardsWriter, readForwards } from './frames/forwards.js';
export { type ControlContent, controlContent, readControl, type ReceiptRange } from './frames/interest.js';
export type { PeerListener } from './ports.js';

/** A broker that joins waits no longer for its links: one of the others may have died and its lease may last. */
const joinMsMax = 1000;

export interface MeshOptions {
  readonly brokerId: string;
  /** What all brokers of the cluster call it. */
  readonly cluster: string;
  readonly keys: ClusterKeys;
  /** Of the listener; port 0: any that is free. */
  readonly host: string;
  readonly port: number;
  /** Where the others dial, if that is not the listener's own host and port. */
  readonly address?: string | undefined;
  readonly gate: AcknowledgementGate;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** 0 to 1. */
  readonly chance?: () => number;
}

/** Takes content of one type. The body is valid until it returns. A promise holds the sender's credit back. */
type Handler = (from: string, body: Buffer) => void | Promise<void>;

export class Mesh {
  readonly #options: MeshOptions;
  readonly #sockets: MeshSockets;
  readonly #world: LinkWorld;
  readonly #news: LinkNews;
  readonly #peers = new Map<string, Peer>();
  /** Have come and not said a good hello. */
  readonly #unknown = new Set<Link>();
  /** As the last read of the leases said. */
  #ended = new Set<string>();
  readonly #handlers = new Map<number, Handler>();
  readonly #onRoom: ((brokerId: string) => void)[] = [];
  readonly #onPeers: PeerListener[] = [];
  #address = '';
  #dials = 0;
  #isStopped = false;
  #cancelTick: Cancel | undefined;
  /** Looks whether all is there that whoever has joined waits for. */
  #joining: (() => void) | undefined;
  #hasHeard = false;

  constructor(options: MeshOptions) {
    this.#options = options;
    const { clock, log, metrics, gate, keys } = options;
    this.#news = new LinkNews({ clock, log, metrics, links: () => this.#greeted(), expected: () => this.#peers.size });
    this.#sockets = new MeshSockets({ keys, clock, metrics, onStranger: (...all) => this.#news.stranger(...all) });
    this.#world = {
      clock,
      flusher: new Flusher(gate, clock),
      ...this.#news.counters,
      judge: (link, hello) => this.#judge(link, hello),
      onUp: (link) => this.#up(link),
      onStage: (link, stage, was) => this.#news.stage(link, stage, was),
      onContent: (link, type, body) => this.#content(link, type, body),
      onRoom: (link) => eachGuarded('link', this.#onRoom, (listener) => listener(link.hello!.from)),
      onEnd: (link, ending, isTold) => this.#end(link, ending, isTold),
    };
  }

  /** Resolves with the address that others dial. Rejects with the system's error when it cannot listen. */
  async listen(): Promise<string> {
    const { host, port, address, log } = this.#options;
    const inUse = await this.#sockets.listen({ host, port }, (wire) => {
      const link = new Link({ role: 'accepts', hello: this.#hello('', 'link', 0) }, wire, this.#world);
      this.#unknown.add(link);
      return link;
    });
    this.#address = address ?? addressText({ host: reachableHost(host) ?? host, port: inUse });
    log.info({ address: this.#address, keys: this.#options.keys.map((key) => key?.identity) }, 'brokers are linked');
    this.#tickLater();
    return this.#address;
  }

  /**
   * All leases, by a read that began at `sinceMs` of the monotonic clock. Dials, knocks, and ends the links of those whose leases have
   * ended.
   */
  heard(members: readonly Member[], sinceMs: number): void {
    if (this.#isStopped) return;
    const { brokerId } = this.#options;
    this.#ended = new Set(members.filter(({ hasEnded }) => hasEnded).map((member) => member.brokerId));
    const there = new Map(members.map((member) => [member.brokerId, member]));
    for (const peer of [...this.#peers.values()]) {
      const member = there.get(peer.id);
      const isNewer = peer.saidHelloAtMs !== undefined && peer.saidHelloAtMs >= sinceMs;
      if (member?.hasEnded || (!member && !isNewer)) this.#forget(peer);
      else if (member) peer.saidHelloAtMs = undefined;
    }
    for (const { brokerId: id, address, hasEnded } of members)
      if (id !== brokerId && !hasEnded && address !== undefined) this.#learn(id, address);
    for (const peer of this.#peers.values())
      if (!peer.link && !peer.dialled) {
        this.#dial(peer, brokerId < peer.id ? 'link' : 'knock');
      }
    this.#hasHeard = true;
    this.#joining?.();
  }

  /**
   * Resolves when there is a link to every broker that the first read has found, or they have had their time. Before it nobody should be
   * let in who may have to be told about at the others.
   */
  joined(): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.#isStopped || (this.#hasHeard && [...this.#peers.values()].every(({ link }) => link))) finish();
      };
      const finish = (): void => {
        cancel();
        this.#joining = undefined;
        resolve();
      };
      const cancel = this.#options.clock.after(joinMsMax, finish);
      this.#joining = look;
      look();
    });
  }

  /** Where others dial; once it listens. */
  get address(): string {
    return this.#address;
  }

  /** Links that can be relied on, of those that there should be. */
  get links(): { readonly up: number; readonly expected: number } {
    let up = 0;
    for (const { link } of this.#peers.values()) if (link?.stage === 'up') up++;
    return { up, expected: this.#peers.size };
  }

  /** Who takes content of a type. What nobody takes ends the link, or is skipped: `frames/v1.ts`. */
  handle(type: number, handler: Handler): void {
    this.#handlers.set(type, handler);
  }

  /** False: there is no link, or it has no room; then nothing was taken, and `onRoom` tells when to try again. */
  send(brokerId: string, type: number, body: Buffer): boolean {
    return this.#peers.get(brokerId)?.link?.send(type, body) ?? false;
  }

  onRoom(listener: (brokerId: string) => void): void {
    this.#onRoom.push(listener);
  }

  /** To be called before the first broker is heard of. */
  onPeers(listener: PeerListener): void {
    this.#onPeers.push(listener);
  }

  /** Says by the end of all links that it stops: its lease, given up then, says it to those who do not hear that. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#cancelTick?.();
    for (const peer of [...this.#peers.values()]) this.#forget(peer, endings.stopping);
    for (const link of [...this.#unknown]) link.end(endings.stopping);
    this.#joining?.();
    this.#sockets.close();
  }

  // Members.

  #learn(id: string, address: string): Peer | undefined {
    const known = this.#peers.get(id);
    if (known) {
      known.address = address;
      return known;
    }
    if (this.#peers.size >= membersMax) {
      this.#news.stranger(endings.tooManyMembers, { address });
      return undefined;
    }
    const peer = newPeer(id, address);
    this.#peers.set(id, peer);
    this.#tell((listener) => listener.joined(id));
    return peer;
  }

  #tell(news: (listener: PeerListener) => void): void {
    eachGuarded('link', this.#onPeers, news);
  }

  #forget(peer: Peer, why: Ending = endings.leaseEnded): void {
    this.#peers.delete(peer.id);
    peer.cancelRedial?.();
    peer.dialled?.end(why);
    peer.link?.end(why);
    if (why === endings.leaseEnded) this.#tell((listener) => listener.ended(peer.id));
  }

  // Dialling.

  #redial(peer: Peer, delayMs: number): void {
    peer.cancelRedial?.();
    peer.cancelRedial = this.#options.clock.after(delayMs, () => guarded('link', () => this.#dial(peer, 'link')));
  }

  #dial(peer: Peer, purpose: Hello['purpose']): void {
    if (this.#isStopped || this.#peers.get(peer.id) !== peer || peer.link || peer.dialled) return;
    const address = readAddress(peer.address);
    if (!address) return this.#news.stranger(endings.unreachable, { address: peer.address });
    if (peer.dials++ > 0 && purpose === 'link') this.#news.reconnects.add();
    const hello = this.#hello(peer.id, purpose, ++this.#dials);
    this.#sockets.dial(address, (wire) => (peer.dialled = new Link({ role: 'dials', hello }, wire, this.#world)));
  }

  #hello(to: string, purpose: Hello['purpose'], incarnation: number): Hello {
    const { brokerId: from, cluster } = this.#options;
    return { min: versionMin, max: versionMax, purpose, incarnation, from, to, cluster, address: this.#address };
  }

  // What becomes of links.

  #judge(link: Link, hello: Hello): Ending | undefined {
    const { brokerId, cluster } = this.#options;
    const { role, hello: said } = link.terms;
    if (hello.cluster !== cluster) return endings.otherCluster;
    if (hello.to !== brokerId || (role === 'dials' && hello.from !== said.to)) return endings.otherBroker;
    if (this.#ended.has(hello.from)) return endings.leaseEnded;
    if (role === 'dials') return undefined; // Its peer is known, and has no other link.
    if (hello.purpose === 'knock' ? hello.from <= brokerId : hello.from >= brokerId) return endings.wrongDialler;
    const peer = this.#learn(hello.from, hello.address);
    if (!peer) return endings.tooManyMembers;
    peer.saidHelloAtMs = this.#options.clock.monotonicMs();
    if (hello.purpose === 'knock') {
      this.#dial(peer, 'link');
      return endings.knockHeard;
    }
    if (peer.link && hello.incarnation <= peer.link.hello!.incarnation) return endings.outdated;
    peer.link?.end(endings.replaced);
    return undefined;
  }

  #up(link: Link): void {
    const peer = this.#peers.get(link.hello!.from);
    this.#unknown.delete(link);
    if (!peer) return link.end(endings.leaseEnded); // Its lease ended while it was dialled.
    peer.link = link;
    peer.dialled = peer.dialled === link ? undefined : peer.dialled;
    peer.failures = 0;
    this.#news.up(link);
    this.#tell((listener) => listener.up(peer.id));
    this.#joining?.();
  }

  #end(link: Link, ending: Ending, isTold: boolean): void {
    this.#unknown.delete(link);
    const id = link.hello?.from ?? link.terms.hello.to;
    const peer = this.#peers.get(id);
    const isPeers = peer !== undefined && (peer.link === link || peer.dialled === link);
    this.#news.end(link, ending, isTold, isPeers ? peer.failures : 0);
    if (!isPeers) return;
    if (peer.link === link) {
      peer.link = undefined;
      this.#tell((listener) => listener.cut(id));
    } else peer.dialled = undefined;
    if (this.#isStopped || this.#options.brokerId > peer.id) return; // The other one dials.
    this.#redial(peer, redialMs(peer.failures++, (this.#options.chance ?? Math.random)()));
  }

  #content(link: Link, type: number, body: Buffer): boolean | Promise<void> {
    const handler = this.#handlers.get(type);
    if (!handler) return false;
    const handled = handler(link.hello!.from, body);
    if (!(handled instanceof Promise)) return true;
    return handled.catch((error: unknown) => {
      caught('link', error, { peer: link.hello!.from });
      throw error;
    });
  }

  *#greeted(): Iterable<Link> {
    for (const { link } of this.#peers.values()) if (link) yield link;
  }

  #tickLater(): void {
    this.#cancelTick = this.#options.clock.after(tickMs, () => {
      const nowMs = this.#options.clock.monotonicMs();
      const all = [...this.#unknown];
      for (const { link, dialled } of this.#peers.values()) for (const one of [link, dialled]) if (one) all.push(one);
      eachGuarded('link', all, (link) => link.tick(nowMs));
      if (!this.#isStopped) this.#tickLater();
    });
  }
}
