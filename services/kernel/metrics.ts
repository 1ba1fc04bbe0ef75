/**
 * The metric port: counters and gauges that cost one addition where they are counted. A room asks for its
 * counters once, at construction, and holds them; `ops` renders the registry.
 */
import { caught } from './faults.js';

export class Counter {
  value = 0;
  add(n = 1): void {
    this.value += n;
  }
}

export interface MetricSample {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Family {
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly members: Map<string, { labels: Readonly<Record<string, string>>; read: () => number; counter?: Counter }>;
}

export class Metrics {
  readonly #families = new Map<string, Family>();
  readonly #beforeSamples: (() => void)[] = [];

  /** The same name and labels give the same counter. Labels are for small closed sets, never client or tenant ids. */
  counter(name: string, help: string, labels: Readonly<Record<string, string>> = {}): Counter {
    const members = this.#family(name, 'counter', help).members;
    const key = JSON.stringify(labels);
    const known = members.get(key)?.counter;
    if (known) return known;
    const counter = new Counter();
    members.set(key, { labels, counter, read: () => counter.value });
    return counter;
  }

  gauge(name: string, help: string, read: () => number, labels: Readonly<Record<string, string>> = {}): void {
    this.#family(name, 'gauge', help).members.set(JSON.stringify(labels), { labels, read });
  }

  /** A counter that is kept elsewhere and only read here. */
  total(name: string, help: string, read: () => number, labels: Readonly<Record<string, string>> = {}): void {
    this.#family(name, 'counter', help).members.set(JSON.stringify(labels), { labels, read });
  }

  /** Called before numbers are read, for what several of them are read from. It must not throw. */
  beforeSamples(prepare: () => void): void {
    this.#beforeSamples.push(prepare);
  }

  /** All, or those of some families: the others are then not even read. */
  *samples(families?: ReadonlySet<string>): Iterable<MetricSample> {
    for (const prepare of this.#beforeSamples) prepare();
    for (const [name, { kind, help, members }] of this.#families)
      for (const { labels, read } of families?.has(name) === false ? [] : members.values()) {
        let value: number;
        try {
          value = read();
        } catch (error) {
          caught('metrics', error, { name });
          continue; // One that cannot be read hides no other.
        }
        yield { name, kind, help, labels, value };
      }
  }

  #family(name: string, kind: Family['kind'], help: string): Family {
    let family = this.#families.get(name);
    if (!family) this.#families.set(name, (family = { kind, help, members: new Map() }));
    return family;
  }
}
