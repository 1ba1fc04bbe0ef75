/**
 * Faults of our own that were caught where they could do no more harm. Many loops of a broker serve several tenants: one
 * that a single step can end, or have repeated, takes the service from all of them. So whoever runs such a loop catches
 * what a step of it throws, tells it here and goes on with the next; a connection that the step was about is closed.
 *
 * The table is the list of these places. A test throws in each and looks at the neighbour (`test/unit/faults`).
 * A fault that nobody has caught ends the process (`services/broker/main.ts`).
 *
 * It is one ear for the process and not a port that every object is given: a receipt that travels with a message has nobody to
 * ask, and what is caught here is what would otherwise have reached the process, whose handler is one for all as well.
 */
import type { Clock } from './clock.js';
import type { Log } from './log.js';
import type { Metrics } from './metrics.js';

const faultPlaces = {
  accept: 'a socket has been accepted',
  'commit-item': 'a write of a source is made an item, in the group commit',
  'commit-take': 'a source is asked what it has to write',
  'commit-told': 'a source is told that its writes are made',
  connection: 'bytes, drain and timers of one connection',
  'connection-end': 'a connection has ended: its session hears of it',
  control: 'an entry of the control log is obeyed',
  'control-log': 'an item of the control log is read',
  deadlines: 'a deadline has come',
  drain: 'a client is sent away because the broker stops',
  due: 'a will or the end of a session has come due',
  'fan-out': 'a message is handed to one of many subscribers',
  flush: 'what a connection got in this turn of the event loop is written',
  health: 'a request at the health port is answered',
  lease: 'whoever waits for the lease is told of its state',
  link: 'something has come over a link to another broker, or a link is looked at',
  metrics: 'a gauge is read',
  process: 'nobody caught it: the process ends',
  pump: 'a session goes on after its tenant was over its rate, or after a read that failed',
  'queue-notes': 'the depth of a queue is looked at',
  receipt: 'whoever waits for a message to be safe is told',
  report: 'the line for CloudWatch is written',
  retained: 'retained messages of a tenant are written',
  session:
    'something happens for a client that it did not just ask for: answers that waited, messages that are stored now',
  'shared-queue': 'the queue of a shared subscription is read or given away',
  slice: 'work of a tenant that is done in slices',
  stop: 'a tenant or a connection is closed because the broker stops',
  sweep: 'tenants without sessions are dropped',
  forward: 'a message that has waited for another broker goes there',
  'system-topics': 'subscribers of $SYS topics of a tenant are told',
} as const;

export type FaultPlace = keyof typeof faultPlaces;

type Hear = (where: FaultPlace, error: unknown, fields: object) => void;

/** A fault that comes with every message would fill the log. */
const tellEveryMs = 60_000;

const hearers = new Set<Hear>();

/** Never throws. `fields`: whom it was about, for the log. */
export function caught(where: FaultPlace, error: unknown, fields: object = {}): void {
  // With nobody to tell it to it must not get lost: the process hears of it, and so does a test that did not expect it.
  if (hearers.size === 0) queueMicrotask(() => throwIt(error));
  for (const hear of hearers)
    try {
      hear(where, error, fields);
    } catch {
      // There is nobody left to be told.
    }
}

/** Takes `step` for each item; what one of them throws is caught there. */
export function eachGuarded<T>(where: FaultPlace, items: Iterable<T>, step: (item: T) => void): void {
  for (const item of items)
    try {
      step(item);
    } catch (error) {
      caught(where, error);
    }
}

/** The step alone. Not for the way of a message: it costs a closure. */
export function guarded(where: FaultPlace, step: () => void): void {
  try {
    step();
  } catch (error) {
    caught(where, error);
  }
}

/** Work that nobody waits for. */
export function unattended(where: FaultPlace, work: Promise<unknown>): void {
  work.catch((error: unknown) => caught(where, error));
}

export interface FaultReport {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** Counts each fault and logs at most one a minute for each place. Returns what ends that. */
export function reportFaults({ log, metrics, clock }: FaultReport): () => void {
  const help = 'Faults of the broker that were caught, by place';
  const places = Object.keys(faultPlaces) as FaultPlace[];
  const counters = new Map(
    places.map((where) => [where, metrics.counter('shoal_internal_errors_total', help, { where })]),
  );
  const told = new Map<FaultPlace, { readonly atMs: number; untold: number }>();
  const hear: Hear = (where, error, fields) => {
    counters.get(where)!.add();
    const last = told.get(where);
    const atMs = clock.monotonicMs();
    if (last && atMs - last.atMs < tellEveryMs) return void last.untold++;
    told.set(where, { atMs, untold: 0 });
    const untold = last && last.untold > 0 ? { untold: last.untold } : {};
    log.error({ where, ...fields, ...untold, error }, 'a fault of the broker');
  };
  hearers.add(hear);
  return () => void hearers.delete(hear);
}

function throwIt(error: unknown): never {
  throw error;
}
