/**
 * The promises of the broker, held against a history: nothing acknowledged is lost, QoS 2 comes exactly once, order is
 * kept, sessions survive, and nothing arrives that nobody published. Pure; tried on made-up histories in unit tests.
 */
import type { Entry, Happening, Key } from './history.js';

export type Broken =
  | 'lost'
  | 'twice'
  | 'out of order'
  | 'never published'
  | 'cancelled will published'
  | 'session lost'
  | 'session out of nothing'
  | 'refused'
  | 'protocol fault'
  | 'retained lost';

export interface Violation {
  readonly broken: Broken;
  readonly client: string;
  readonly key?: Key;
  readonly detail: string;
}

type Of<Type> = Extract<Happening, { type: Type }>;

interface Message {
  readonly key: Key;
  readonly publisher: string;
  readonly topic: string;
  readonly n: number;
  readonly qos: number;
  readonly isWill: boolean;
  /** Place in the history. */
  readonly sentAt: number;
  isAcknowledged: boolean;
}

interface Subscription {
  /** One client, or the members of a group that had subscribed by then. */
  readonly clients: Set<string>;
  readonly filter: string;
  readonly qos: number;
  readonly subscribedAt: number;
  readonly group: string | undefined;
}

export function matches(filter: string, topic: string): boolean {
  const names = topic.split('/');
  const wanted = filter.split('/');
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true;
    if (i >= names.length || (level !== '+' && level !== names[i])) return false;
  }
  return wanted.length === names.length;
}

export function check(entries: readonly Entry[]): Violation[] {
  const facts = gather(entries);
  return [...facts.violations, ...losses(facts), ...repetitions(facts), ...disorder(entries, facts)];
}

/** What has not arrived yet though it was promised. */
export const missing = (entries: readonly Entry[]): Violation[] => losses(gather(entries));

interface Facts {
  readonly messages: Map<Key, Message>;
  readonly subscriptions: Subscription[];
  /** Client to key to how often. */
  readonly arrivals: Map<string, Map<Key, number>>;
  readonly violations: Violation[];
}

function gather(entries: readonly Entry[]): Facts {
  const facts: Facts = { messages: new Map(), subscriptions: [], arrivals: new Map(), violations: [] };
  const cancelled = new Set<Key>();
  const broken = (kind: Broken, client: string, detail: string, key?: Key): void =>
    void facts.violations.push({ broken: kind, client, detail, ...(key !== undefined && { key }) });
  for (const [at, entry] of entries.entries()) {
    if (entry.type === 'sent') noteSent(facts, entry, at);
    else if (entry.type === 'subscribed') noteSubscribed(facts, entry, at);
    else if (entry.type === 'acknowledged') {
      const message = facts.messages.get(entry.key);
      if (message) message.isAcknowledged = true;
      else broken('never published', entry.client, 'acknowledged, but never sent', entry.key);
    } else if (entry.type === 'arrived') {
      const { client, key } = entry;
      if (!facts.messages.has(key)) broken('never published', client, 'arrived, but nobody has sent it', key);
      const ofClient = facts.arrivals.get(client) ?? new Map<Key, number>();
      facts.arrivals.set(client, ofClient.set(key, (ofClient.get(key) ?? 0) + 1));
      if (cancelled.has(key)) broken('cancelled will published', client, 'arrived', key);
    } else if (entry.type === 'cancelled') cancelled.add(entry.key);
    else if (entry.type === 'refused')
      broken('refused', entry.client, `with code 0x${entry.code.toString(16)}`, entry.key);
    else if (entry.type === 'fault') broken('protocol fault', entry.client, entry.what);
    else if (entry.type === 'connected' && entry.expected !== undefined && entry.expected !== entry.present)
      broken(entry.expected ? 'session lost' : 'session out of nothing', entry.client, `at ${entry.by}`);
    else if (entry.type === 'retained' && entry.n < entry.acknowledged)
      broken('retained lost', entry.topic, `retained is ${entry.n}, acknowledged was ${entry.acknowledged}`);
  }
  return facts;
}

function noteSent({ messages }: Facts, { key, client, topic, n, qos, will }: Of<'sent'>, at: number): void {
  if (messages.has(key)) return;
  const isWill = will === true;
  messages.set(key, { key, publisher: client, topic, n, qos, isWill, sentAt: at, isAcknowledged: false });
}

function noteSubscribed({ subscriptions }: Facts, { client, filter, qos, group }: Of<'subscribed'>, at: number): void {
  const same = subscriptions.find((other) => group !== undefined && other.group === group && other.filter === filter);
  if (same) same.clients.add(client);
  else subscriptions.push({ clients: new Set([client]), filter, qos, subscribedAt: at, group });
}

/** Who had to get the message: subscriptions that were there before it was first sent. */
const targets = ({ subscriptions }: Facts, message: Message): Subscription[] =>
  subscriptions.filter(({ subscribedAt, filter }) => subscribedAt < message.sentAt && matches(filter, message.topic));

function losses(facts: Facts): Violation[] {
  const found: Violation[] = [];
  for (const message of facts.messages.values()) {
    if (!message.isAcknowledged) continue;
    for (const { clients, group } of targets(facts, message)) {
      if ([...clients].some((client) => facts.arrivals.get(client)?.has(message.key))) continue;
      const client = [...clients].join(', ');
      const detail = `acknowledged, but never arrived${group === undefined ? '' : ' at any member'}`;
      found.push({ broken: 'lost', client, key: message.key, detail });
    }
  }
  return found;
}

/** The lower QoS of publisher and subscription holds; a client with several takes its best, shared ones aside. */
function qosAt({ subscriptions }: Facts, client: string, message: Message): number {
  const own = subscriptions.filter(
    ({ clients, filter, group }) => group === undefined && clients.has(client) && matches(filter, message.topic),
  );
  return Math.min(message.qos, Math.max(0, ...own.map(({ qos }) => qos)));
}

/** One member gets it, once. Of members that have no other subscription to the topic. */
function repetitionsInGroup({ messages, arrivals }: Facts, members: readonly string[]): Violation[] {
  const found: Violation[] = [];
  for (const { key, qos } of messages.values()) {
    const times = members.map((member) => arrivals.get(member)?.get(key) ?? 0);
    const all = times.reduce((sum, n) => sum + n, 0);
    if (qos === 2 && all > 1)
      found.push({
        broken: 'twice',
        client: members.join(', '),
        key,
        detail: `QoS 2, arrived ${times.join(' + ')} times`,
      });
  }
  return found;
}

function repetitions(facts: Facts): Violation[] {
  const found: Violation[] = [];
  for (const [client, ofClient] of facts.arrivals)
    for (const [key, times] of ofClient) {
      const message = facts.messages.get(key);
      if (times > 1 && message && qosAt(facts, client, message) === 2)
        found.push({ broken: 'twice', client, key, detail: `QoS 2, arrived ${times} times` });
    }
  for (const { clients, qos, group } of facts.subscriptions)
    if (group !== undefined && qos === 2) found.push(...repetitionsInGroup(facts, [...clients]));
  return found;
}

/** Of each publisher, topic and QoS, what comes for the first time must be newer than all that came before. */
function disorder(entries: readonly Entry[], facts: Facts): Violation[] {
  const found: Violation[] = [];
  const seen = new Set<string>();
  const newest = new Map<string, Message>();
  const shared = new Set(
    facts.subscriptions.flatMap(({ group, clients }) => (group === undefined ? [] : [...clients])),
  );
  for (const entry of entries) {
    if (entry.type !== 'arrived' || shared.has(entry.client)) continue;
    const message = facts.messages.get(entry.key);
    const once = `${entry.client} ${entry.key}`;
    if (!message || message.isWill || seen.has(once)) continue;
    seen.add(once);
    const stream = `${entry.client} ${message.publisher} ${message.topic} ${message.qos}`;
    const before = newest.get(stream);
    if (before && before.n > message.n)
      found.push({ broken: 'out of order', client: entry.client, key: entry.key, detail: `came after ${before.n}` });
    else newest.set(stream, message);
  }
  return found;
}

export interface Totals {
  readonly sent: number;
  readonly acknowledged: number;
  readonly arrived: number;
  /** Arrivals of QoS 1 messages beyond the first at one client: allowed, and worth watching. */
  readonly repeated: number;
  readonly connections: number;
}

export function totals(entries: readonly Entry[]): Totals {
  const facts = gather(entries);
  const count = (type: Happening['type']): number => entries.filter((entry) => entry.type === type).length;
  const times = [...facts.arrivals.values()].flatMap((ofClient) => [...ofClient.values()]);
  return {
    sent: facts.messages.size,
    acknowledged: [...facts.messages.values()].filter(({ isAcknowledged }) => isAcknowledged).length,
    arrived: times.reduce((sum, n) => sum + n, 0),
    repeated: times.reduce((sum, n) => sum + n - 1, 0),
    connections: count('connected'),
  };
}
