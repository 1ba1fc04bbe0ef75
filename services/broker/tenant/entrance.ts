/**
 * The way of a tenant's CONNECTs from the password to their turns: whether there is room for one more connection is asked
 * here, before anything is waited for, and how fast they may come.
 *
 *      quota of connections and sessions -> rate of the tenant, pace of the client id, bytes of the will -> its turn
 *
 * What is too fast waits, for a short time and only so many, and is turned away then. The line has one timer. Nobody waits
 * here who has left, or for whose client id a later CONNECT has come: that one has the earlier one's place in the line.
 */
import { type Cancel, type ClientId, type Clock, Paces, SparseMap } from '../../kernel/kernel.js';
import type { Tenant } from './local-tenant.js';
import { TurnedAway } from './turned-away.js';

/** Clients wait for CONNACK for five seconds and more; the rest is for their turns. */
const waitMsMax = 2000;
/** How often the line is looked at, at most. */
const lookEveryMs = 5;
/**
 * Of one client id: ten at once, which no device on a bad network needs, and then one a second. Two devices of one
 * name that take the session from each other so cost a claim a second, instead of one every ten milliseconds.
 */
const clientPace = { everyMs: 1000, burst: 10, keysMax: 4096 };

/** One CONNECT. */
export interface Entrant {
  readonly clientId: ClientId;
  /** Payload, topic and properties; 0 without a will. */
  readonly willBytes: number;
  readonly connection: { readonly closed: boolean };
}

interface Waiting {
  readonly entrant: Entrant;
  readonly untilMs: number;
  readonly go: () => void;
  readonly giveUp: (error: TurnedAway) => void;
}

export class Entrance {
  readonly #tenant: Tenant;
  readonly #clock: Clock;
  /** CONNECTs by client id that passed the quota and are not over. */
  readonly #entering = new SparseMap<ClientId, number>();
  readonly #line = new SparseMap<ClientId, Waiting>();
  readonly #paces = new Paces(clientPace);
  /** Those in the line wait for the tenant's rate: whoever comes stands behind them. */
  #isShort = false;
  #cancelLook: Cancel | undefined;
  #lookAtMs = Infinity;

  constructor(tenant: Tenant, clock: Clock) {
    this.#tenant = tenant;
    this.#clock = clock;
  }

  /** Client ids of which a CONNECT is under way. */
  get size(): number {
    return this.#entering.size;
  }

  /** Runs `step`, which takes a turn of the client id, or rejects with `TurnedAway`. */
  async through<T>(entrant: Entrant, step: () => Promise<T>): Promise<T> {
    const { clientId, connection } = entrant;
    if (connection.closed) throw new TurnedAway('gone');
    this.#checkRoom(clientId);
    this.#entering.set(clientId, (this.#entering.get(clientId) ?? 0) + 1);
    try {
      this.#displace(clientId);
      if (this.#isShort || !this.#pass(entrant)) await this.#wait(entrant);
      else this.#line.delete(clientId);
      return await step();
    } finally {
      const left = this.#entering.get(clientId)! - 1;
      if (left > 0) this.#entering.set(clientId, left);
      else this.#entering.delete(clientId);
    }
  }

  /** Another broker lets the client in, and takes its session from here: it counts for its pace here, too. */
  spend(clientId: ClientId): void {
    this.#paces.spend(clientId, this.#clock.monotonicMs());
  }

  /** One more connection, and perhaps one more session, for a client that may have some already. */
  #checkRoom(clientId: ClientId): void {
    if (this.#entering.has(clientId)) return; // It has been counted.
    const { connections, residences, limits, memory, units } = this.#tenant;
    if (units.isOverdrawn) throw new TurnedAway('units');
    const residence = residences.get(clientId);
    const isConnected = (id: ClientId): boolean => residences.get(id)?.connection !== undefined;
    if (!residence?.connection && this.#isFull(limits.connections - connections, isConnected))
      throw new TurnedAway('connections');
    if (!residence && this.#isFull(limits.sessions - residences.size, (id) => residences.has(id)))
      throw new TurnedAway('sessions');
    const short = residence ? undefined : memory.refused();
    if (short) throw new TurnedAway(short);
  }

  /** Whether those that are entering, without those that are counted among the others, take all that is left. */
  #isFull(left: number, isCounted: (clientId: ClientId) => boolean): boolean {
    if (this.#entering.size < left) return false;
    let entering = 0;
    for (const clientId of this.#entering.keys()) if (!isCounted(clientId)) entering++;
    return entering >= left;
  }

  /** Of the CONNECTs of a client id one waits, the latest. */
  #displace(clientId: ClientId): void {
    this.#line.get(clientId)?.giveUp(new TurnedAway('displaced'));
    this.#tenant.turns.displace(clientId);
  }

  /** True, and paid for, when it need not wait. */
  #pass(entrant: Entrant): boolean {
    const { limits } = this.#tenant;
    const nowMs = this.#clock.nowMs();
    if (this.#ownWaitMs(entrant) > 0 || !limits.connects.take(nowMs)) return false;
    this.#paces.spend(entrant.clientId, this.#clock.monotonicMs());
    limits.willBytes.spend(entrant.willBytes, nowMs);
    return true;
  }

  /** Whatever the tenant's rate of CONNECTs. */
  #ownWaitMs(entrant: Entrant): number {
    return Math.max(this.#paces.waitMs(entrant.clientId, this.#clock.monotonicMs()), this.#willWaitMs(entrant));
  }

  /** Those without a will do not wait for those with. */
  #willWaitMs({ willBytes }: Entrant): number {
    return willBytes === 0 ? 0 : this.#tenant.limits.willBytes.waitMs(this.#clock.nowMs());
  }

  #wait(entrant: Entrant): Promise<void> {
    const line = this.#line;
    const { connectsPerSecond } = this.#tenant.limits;
    // What the rate does not let in within the time need not wait for it.
    const lengthMax = (connectsPerSecond * waitMsMax) / 1000;
    const hasRoom = (): boolean => line.size < lengthMax || line.has(entrant.clientId);
    if (!hasRoom()) this.#look(); // Some may have left.
    if (!hasRoom()) throw new TurnedAway('rate');
    const ownMs = this.#ownWaitMs(entrant);
    if (ownMs === 0) this.#isShort = true;
    this.#lookIn(Math.min(ownMs || 1000 / connectsPerSecond, waitMsMax));
    return new Promise((go, giveUp) => {
      line.set(entrant.clientId, { entrant, untilMs: this.#clock.monotonicMs() + waitMsMax, go, giveUp });
    });
  }

  #look(): void {
    const line = this.#line;
    let isShort = false;
    let nextMs = Infinity;
    for (const [clientId, { entrant, untilMs, go, giveUp }] of line) {
      const leftMs = untilMs - this.#clock.monotonicMs();
      const ownMs = this.#ownWaitMs(entrant);
      const isOver = entrant.connection.closed || leftMs <= 0;
      if (!isOver && ownMs > 0) nextMs = Math.min(nextMs, leftMs, ownMs);
      else if (!entrant.connection.closed && !isShort && this.#pass(entrant)) {
        line.delete(clientId);
        go();
      } else if (isOver) {
        line.delete(clientId);
        giveUp(new TurnedAway(entrant.connection.closed ? 'gone' : this.#willWaitMs(entrant) > 0 ? 'will' : 'rate'));
      } else {
        isShort = true;
        nextMs = Math.min(nextMs, leftMs, 1000 / this.#tenant.limits.connectsPerSecond);
      }
    }
    this.#isShort = isShort;
    if (nextMs < Infinity) this.#lookIn(nextMs);
  }

  #lookIn(waitMs: number): void {
    const delayMs = Math.max(waitMs, lookEveryMs);
    const atMs = this.#clock.monotonicMs() + delayMs;
    if (this.#lookAtMs <= atMs) return;
    this.#cancelLook?.();
    this.#lookAtMs = atMs;
    this.#cancelLook = this.#clock.after(delayMs, () => {
      this.#lookAtMs = Infinity;
      this.#look();
    });
  }
}
