/**
 * What operators are told of links: metrics, and a line for what changes. Anybody can come to the port, and a broker that is gone is
 * dialled for as long as its lease is there, so what happens again and again is a line a minute.
 */
import type { Clock, Counter, Log, Metrics } from '../../kernel/kernel.js';
import { type Ending, endings } from './endings.js';
import type { Link } from './link.js';
import type { Stage } from './link-state.js';

const tellEveryMs = 60_000;

export interface LinkNewsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Those with another broker at their end. */
  links(): Iterable<Link>;
  expected(): number;
}

export class LinkNews {
  readonly counters: { readonly bytesIn: Counter; readonly bytesOut: Counter; readonly skipped: Counter };
  readonly reconnects: Counter;
  readonly #options: LinkNewsOptions;
  readonly #ends: ReadonlyMap<string, Counter>;
  readonly #told = new Map<string, { readonly atMs: number; untold: number }>();

  constructor(options: LinkNewsOptions) {
    this.#options = options;
    const { metrics, links, expected } = options;
    const bytes = (direction: string): Counter =>
      metrics.counter('shoal_link_bytes_total', 'Bytes of frames over links, before encryption', { direction });
    this.counters = {
      bytesIn: bytes('in'),
      bytesOut: bytes('out'),
      skipped: metrics.counter('shoal_link_frames_skipped_total', 'Frames of a later release that may be skipped'),
    };
    this.reconnects = metrics.counter('shoal_link_reconnects_total', 'Brokers that were dialled again');
    const help = 'Links that ended and connections that did not become one, by reason';
    this.#ends = new Map(
      Object.values(endings).map(({ name }) => [
        name,
        metrics.counter('shoal_link_ends_total', help, { reason: name }),
      ]),
    );
    const inStage = (wanted: Stage): number => [...links()].filter(({ stage }) => stage === wanted).length;
    const states = { up: () => inStage('up'), silent: () => inStage('silent') };
    const missing = (): number => Math.max(0, expected() - states.up() - states.silent());
    for (const [state, read] of Object.entries({ ...states, missing }))
      metrics.gauge('shoal_links', 'Links to other brokers that live', read, { state });
    metrics.gauge(
      'shoal_link_round_trip_seconds',
      'The longest of the last round trips over all links',
      () => Math.max(0, ...[...links()].map(({ roundTripMs }) => roundTripMs)) / 1000,
    );
  }

  up(link: Link): void {
    this.#options.log.info({ peer: link.hello!.from, address: link.remoteAddress }, 'a link is up');
  }

  stage(link: Link, stage: Stage, was: Stage): void {
    const peer = link.hello?.from;
    if (stage === 'silent') this.#options.log.warn({ peer, address: link.remoteAddress }, 'a link is silent');
    else if (was === 'silent' && stage === 'up')
      this.#options.log.info({ peer }, 'a link that was silent is heard again');
  }

  /** `failures`: since the link was last up. */
  end(link: Link, { name, words }: Ending, isTold: boolean, failures: number): void {
    this.#ends.get(name)!.add();
    const { log } = this.#options;
    const by = isTold ? 'the other broker' : 'this broker';
    const fields = { peer: link.hello?.from ?? (link.terms.hello.to || undefined), reason: name, detail: words, by };
    if (name === endings.knockHeard.name) log.debug(fields, 'a broker that has joined has knocked');
    else if (link.hello) log.info({ ...fields, address: link.remoteAddress }, 'a link has ended');
    else if (failures === 0 || name !== endings.unreachable.name) this.#seldom(name, fields, 'no link comes about');
    else log.debug({ ...fields, failures }, 'no link comes about');
  }

  /** Of somebody who has not got as far as a link. */
  stranger({ name, words }: Ending, detail: object): void {
    this.#ends.get(name)!.add();
    this.#seldom(name, { reason: name, detail: words, ...detail }, 'a connection to the port for brokers was refused');
  }

  #seldom(name: string, fields: object, words: string): void {
    const { clock, log } = this.#options;
    const key = `${name} ${words}`;
    const last = this.#told.get(key);
    const atMs = clock.monotonicMs();
    if (last && atMs - last.atMs < tellEveryMs) return void last.untold++;
    this.#told.set(key, { atMs, untold: 0 });
    log.warn({ ...fields, ...(last && last.untold > 0 && { untold: last.untold }) }, words);
  }
}
