/**
 * What happened in a run, in order: every client writes down what it sent, got and was promised, and the harness when it
 * hurt the broker. The checks read nothing else, so that they can be tried on histories that are made up.
 */

/** A message is known by its payload, which names its publisher, its topic and its number there. */
export type Key = string;

export const keyOf = (publisher: string, topic: string, n: number): Key => `${publisher} ${topic} ${n}`;

export type Happening =
  /** SUBACK has come. Members of a shared group have one together. */
  | { type: 'subscribed'; client: string; filter: string; qos: number; group?: string }
  /** First and repeated sendings alike; a will is sent with its CONNECT. */
  | { type: 'sent'; client: string; key: Key; topic: string; n: number; qos: number; again?: true; will?: true }
  /** PUBACK or PUBREC has come; of a will: CONNACK came and the connection then ended without DISCONNECT. */
  | { type: 'acknowledged'; client: string; key: Key; by: string }
  /** An acknowledgement that says no. */
  | { type: 'refused'; client: string; key: Key; code: number }
  /** A will that must not be published. */
  | { type: 'cancelled'; client: string; key: Key }
  /** Handed to the application: of QoS 2 once for each message as the protocol tells messages apart. */
  | { type: 'arrived'; client: string; key: Key; qos: number; dup: boolean }
  | { type: 'connected'; client: string; by: string; present: boolean; expected?: boolean }
  | { type: 'ended'; client: string; why: string }
  /** The broker sent what the specification forbids. */
  | { type: 'fault'; client: string; what: string }
  | { type: 'retained'; topic: string; n: number; acknowledged: number }
  | { type: 'harness'; what: string };

export type Entry = Happening & { readonly atMs: number };

export class History {
  readonly entries: Entry[] = [];
  readonly #startMs = performance.now();
  /** Highest number that was acknowledged, by topic. */
  readonly #acknowledged = new Map<string, number>();

  add(happening: Happening): void {
    this.entries.push({ ...happening, atMs: performance.now() - this.#startMs });
    if (happening.type !== 'acknowledged') return;
    const [, topic = '', n = '0'] = happening.key.split(' ');
    this.#acknowledged.set(topic, Math.max(Number(n), this.#acknowledged.get(topic) ?? 0));
  }

  lastAcknowledged(topic: string): number {
    return this.#acknowledged.get(topic) ?? 0;
  }

  /** Since when nothing has been written down. */
  quietMs(): number {
    return performance.now() - this.#startMs - (this.entries.at(-1)?.atMs ?? 0);
  }
}
