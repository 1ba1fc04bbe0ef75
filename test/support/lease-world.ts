/**
 * Several brokers' leases in one process, over one real database. Time stands except in `elapse`, which goes on only when
 * no call is under way, so that a slow machine changes nothing. Each broker has a clock that can be frozen, and a line
 * to the database that can be cut, can lose answers, and can hold a call back.
 */
import { Gate } from '../../services/broker/store/gate.js';
import type { DeadBroker } from '../../services/broker/store/lease-serving.js';
import { Membership } from '../../services/broker/store/membership.js';
import { type Due, Succession } from '../../services/broker/store/succession.js';
import { type Dynamo, DynamoUnavailable } from '../../services/dynamo/dynamo.js';
import { type BrokerId, type Cancel, type Clock, Metrics, silentLog } from '../../services/kernel/kernel.js';
import { ManualClock } from './manual-clock.js';
import { until } from './until.js';

/** A clock that other things than its timers may move. */
export class BrokerClock implements Clock {
  readonly #manual: ManualClock;
  #frozenMs = 0;
  #suspendedMs = 0;

  constructor(manual: ManualClock) {
    this.#manual = manual;
  }
  monotonicMs(): number {
    return this.#manual.monotonicMs() + this.#frozenMs;
  }
  nowMs(): number {
    return this.#manual.nowMs() + this.#frozenMs + this.#suspendedMs;
  }
  after(delayMs: number, run: () => void): Cancel {
    return this.#manual.after(delayMs, run);
  }
  /** The process was stopped: time has passed and no timer has run. */
  freeze(forMs: number): void {
    this.#frozenMs += forMs;
  }
  /** The machine was: not even the monotonic clock has moved. Negative: somebody sets the clock back. */
  suspend(forMs: number): void {
    this.#suspendedMs += forMs;
  }
  advance(byMs: number): void {
    this.#manual.advance(byMs);
  }
}

interface Call {
  readonly action: string;
  readonly args: readonly unknown[];
}

/** The line of one broker to the database. */
export class Line {
  inFlight = 0;
  isCut = false;
  /** Writes whose answer is lost after they have happened. */
  answersToLose = 0;
  /** Awaited before a call is sent. */
  before: (call: Call) => Promise<void> | void = () => {};
  /** Awaited before the answer of a call that has succeeded is told. */
  after: (call: Call) => Promise<void> | void = () => {};
  readonly dynamo: Dynamo;

  constructor(real: Dynamo) {
    const send = (action: 'get' | 'put' | 'update' | 'delete' | 'query', args: unknown[]): Promise<unknown> =>
      this.#send({ action, args }, () => (real[action] as (...all: unknown[]) => Promise<unknown>).apply(real, args));
    const line = {
      get: (...args: unknown[]) => send('get', args),
      put: (...args: unknown[]) => send('put', args),
      update: (...args: unknown[]) => send('update', args),
      delete: (...args: unknown[]) => send('delete', args),
      queryAll: async function* (...args: unknown[]) {
        yield ((await send('query', args)) as { items: unknown[] }).items;
      },
    };
    this.dynamo = line as unknown as Dynamo;
  }

  async #send(call: Call, send: () => Promise<unknown>): Promise<unknown> {
    this.inFlight++;
    try {
      await this.before(call);
      if (this.isCut) throw new DynamoUnavailable('the line is cut');
      const result = send();
      if (call.action === 'get' || call.action === 'query' || this.answersToLose === 0) {
        const answer = await result;
        await this.after(call);
        return answer;
      }
      this.answersToLose--;
      await result.catch(() => undefined);
      throw new DynamoUnavailable('the answer was lost');
    } finally {
      this.inFlight--;
    }
  }
}

export interface LeaseBroker {
  readonly id: BrokerId;
  readonly membership: Membership;
  readonly gate: Gate;
  /** The deaths that it has been told of, in order. */
  readonly deaths: DeadBroker[];
  /** Of a broker that serves together with others; and what it has told to be due, in order. */
  readonly succession: Succession;
  readonly dues: Due[];
  readonly clock: BrokerClock;
  readonly line: Line;
  readonly metrics: Metrics;
  /** What it tells of itself. */
  readonly load: { connections: number; sessions: number };
  readonly links: { up: number; expected: number };
  /** The leases of its last read, by whom, and whether they have ended. */
  readonly leases: { read: Record<string, boolean>; reads: number };
  /** What its gate has told, in order. */
  readonly events: string[];
  readonly lines: string[];
  /** No timer of a dead broker runs, and none of its calls is sent. */
  isDead: boolean;
}

const stepMs = 100;

export class LeaseWorld {
  readonly #dynamo: Dynamo;
  readonly #brokers: LeaseBroker[] = [];
  #passedMs = 0;

  constructor(dynamo: Dynamo) {
    this.#dynamo = dynamo;
  }

  /** `isLinked`: it has links to other brokers, and so wants to know of them. `isTogether`: it serves with others. */
  broker(name: string, isLinked = false, isTogether = false): LeaseBroker {
    const manual = new ManualClock();
    manual.advance(this.#passedMs);
    const clock = new BrokerClock(manual);
    const line = new Line(this.#dynamo);
    const metrics = new Metrics();
    const [events, lines]: string[][] = [[], []];
    const log = { ...silentLog, info: (_: object, message: string) => void lines!.push(message) };
    const id = name as BrokerId;
    const gate = new Gate({ clock, log, metrics });
    const load = { connections: 0, sessions: 0 };
    const told = { version: '1.2.3', load: () => ({ ...load }) };
    const links = { up: 0, expected: 0 };
    const linked = isLinked ? { linked: { address: `${name}:1`, links } } : {};
    const succession = isTogether ? new Succession(line.dynamo, id, clock) : undefined;
    const dues: Due[] = [];
    succession?.onDue((due) => void dues.push(due));
    const own = { dynamo: line.dynamo, brokerId: id, gate, ...(succession && { succession }) };
    const membership = new Membership({ ...own, clock, log, metrics, ...told, ...linked });
    const leases: LeaseBroker['leases'] = { read: {}, reads: 0 };
    membership.onLeases((all) => {
      leases.read = Object.fromEntries(all.map((one) => [one.brokerId, !!one.takenBy || !!one.givenUp]));
      leases.reads++;
    });
    const deaths: DeadBroker[] = [];
    membership.onDead((dead) => void deaths.push(dead));
    gate.onLapsed(() => events!.push('lapsed'));
    gate.onOutage(() => events!.push('outage'));
    gate.onRenewed(() => events!.push('renewed'));
    gate.onLost(() => events!.push('lost'));
    const heard = { deaths, events: events!, lines: lines!, links, leases };
    const inherits = { succession: succession!, dues };
    const broker = { id, membership, gate, clock, line, metrics, load, ...heard, ...inherits, isDead: false };
    this.#brokers.push(broker);
    return broker;
  }

  /** Time passes for all who live, in small steps, each after every call is answered. */
  async elapse(ms: number): Promise<void> {
    for (let leftMs = ms; leftMs > 0; leftMs -= stepMs) {
      await this.quiet();
      this.#passedMs += Math.min(stepMs, leftMs);
      for (const broker of this.#brokers) if (!broker.isDead) broker.clock.advance(Math.min(stepMs, leftMs));
    }
    await this.quiet();
  }

  /** Time passes for all but one, who then finds that it has. */
  async freeze(frozen: LeaseBroker, forMs: number): Promise<void> {
    frozen.isDead = true;
    await this.elapse(forMs);
    frozen.isDead = false;
    frozen.clock.freeze(forMs);
  }

  /** SIGKILL. */
  async kill(broker: LeaseBroker): Promise<void> {
    await this.quiet();
    broker.isDead = true;
    broker.line.isCut = true;
  }

  async elapseUntil(condition: () => boolean, boundMs = 20_000): Promise<number> {
    const fromMs = this.#passedMs;
    while (!condition()) {
      if (this.#passedMs - fromMs > boundMs) throw new Error(`it did not come true within ${boundMs} ms of test time`);
      await this.elapse(stepMs);
    }
    return this.#passedMs - fromMs;
  }

  /** No call is under way, and what follows from the last answers has been done. */
  async quiet(): Promise<void> {
    await until(async () => {
      for (let turn = 0; turn < 3; turn++) {
        if (this.#brokers.some(({ line, isDead }) => !isDead && line.inFlight > 0)) return false;
        await new Promise((resolve) => setImmediate(resolve));
      }
      return true;
    }, 'the answers of the database');
  }
}
