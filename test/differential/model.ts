/**
 * What MQTT 3.1.1 requires of a scenario, in a few naive lines: no tree, no cache, no queue limits. It tells what each
 * step makes each client receive. A difference between the two brokers is only ever explained when Shoal did what is
 * computed here, so that no explanation can hide a fault.
 */
import { clientCount, type QoS, type Step } from './scenario.js';

export interface Copy {
  readonly qos: number;
  readonly retain: boolean;
}

/** By topic and payload, as `keyOf` writes them; a message that comes twice has two copies. */
export type Deliveries = ReadonlyMap<string, readonly Copy[]>;

export const keyOf = (topic: string, payload: string): string => `${topic} = ${payload}`;

/** Topic and payload of such a key; no topic of a scenario has a space. */
export function partsOf(key: string): [topic: string, payload: string] {
  const at = key.indexOf(' = ');
  return [key.slice(0, at), key.slice(at + 3)];
}

export interface Message {
  readonly topic: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly retain: boolean;
}

interface Client {
  online: boolean;
  /** The session ends with the connection. */
  clean: boolean;
  hasSession: boolean;
  will: Message | undefined;
  readonly subscriptions: Map<string, QoS>;
  queue: { message: Message; qos: QoS }[];
}

export interface StepResult {
  /** False: nothing to do, as when a client that is not connected should publish. */
  readonly happens: boolean;
  readonly deliveries: readonly Deliveries[];
  readonly sessionPresent: boolean;
}

export class Model {
  readonly clients: readonly Client[] = Array.from({ length: clientCount }, () => ({
    online: false,
    clean: true,
    hasSession: false,
    will: undefined,
    subscriptions: new Map(),
    queue: [],
  }));
  readonly retained = new Map<string, Message>();
  #deliveries: Map<string, Copy[]>[] = [];

  play(step: Step, index: number): StepResult {
    this.#deliveries = this.clients.map(() => new Map());
    const client = this.clients[step.client]!;
    const endsWithConnection = client.online && client.clean;
    const sessionPresent = step.do === 'connect' && !step.clean && client.hasSession && !endsWithConnection;
    const happens = step.do === 'connect' || client.online;
    if (happens) this.#play(step, client, index);
    return { happens, deliveries: this.#deliveries, sessionPresent };
  }

  #play(step: Step, client: Client, index: number): void {
    switch (step.do) {
      case 'connect':
        this.#end(client); // [MQTT-3.1.4-2]
        if (step.clean) this.#forget(client); // [MQTT-3.1.2-6]
        client.will = step.will && { ...step.will, payload: willPayload(index) };
        Object.assign(client, { online: true, clean: step.clean, hasSession: true });
        for (const { message, qos } of client.queue.splice(0)) this.#deliver(client, message, qos, false);
        return;
      case 'disconnect':
        client.will = undefined; // [MQTT-3.14.4-3]
        return this.#end(client);
      case 'kill':
        return this.#end(client);
      case 'subscribe':
        for (const [filter, qos] of step.filters) this.#subscribe(client, filter, qos);
        return;
      case 'unsubscribe':
        for (const filter of step.filters) client.subscriptions.delete(filter);
        return;
      case 'publish':
        for (const message of messagesOf(step, index)) this.#publish(message);
    }
  }

  #end(client: Client): void {
    if (!client.online) return;
    client.online = false;
    if (client.clean) this.#forget(client);
    const { will } = client;
    client.will = undefined; // [MQTT-3.1.2-10]
    if (will) this.#publish(will);
  }

  #forget(client: Client): void {
    client.hasSession = false;
    client.subscriptions.clear();
    client.queue = [];
  }

  /** [MQTT-3.8.4-3] A subscription that exists is replaced, and the retained messages are sent again. */
  #subscribe(client: Client, filter: string, granted: QoS): void {
    client.subscriptions.set(filter, granted);
    for (const message of this.retained.values())
      if (matches(filter, message.topic)) this.#deliver(client, message, least(message.qos, granted), true);
  }

  #publish(message: Message): void {
    if (message.retain)
      if (message.payload === '')
        this.retained.delete(message.topic); // [MQTT-3.3.1-10] [MQTT-3.3.1-11]
      else this.retained.set(message.topic, message);
    for (const client of this.clients) {
      const granted = [...client.subscriptions].filter(([filter]) => matches(filter, message.topic)).map(([, q]) => q);
      if (granted.length === 0) continue;
      const qos = least(message.qos, Math.max(...granted) as QoS); // [MQTT-3.3.5-1] [MQTT-3.8.4-6]
      if (client.online) this.#deliver(client, message, qos, false);
      else if (qos > 0) client.queue.push({ message, qos }); // [MQTT-3.1.2-5]
    }
  }

  /** [MQTT-3.3.1-8] [MQTT-3.3.1-9] RETAIN says that the message was kept for a new subscription. */
  #deliver(client: Client, { topic, payload }: Message, qos: QoS, retain: boolean): void {
    const deliveries = this.#deliveries[this.clients.indexOf(client)]!;
    const key = keyOf(topic, payload);
    deliveries.set(key, [...(deliveries.get(key) ?? []), { qos, retain }]);
  }
}

const least = (a: QoS, b: QoS): QoS => (a < b ? a : b);

/** A will tells which CONNECT it came with. */
export const willPayload = (index: number): string => `will of ${index}`;

export const isWill = (payload: string): boolean => payload.startsWith('will of ');

/** The messages of one step, in order; their payloads tell who has sent them when. */
export function messagesOf(step: Step & { do: 'publish' }, index: number): Message[] {
  const { topic, qos, retain, count } = step;
  if (count === 0) return [{ topic, qos, retain, payload: '' }];
  return Array.from({ length: count }, (_, i) => ({ topic, qos, retain, payload: `${index}.${i} by ${step.client}` }));
}

export function matches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false; // [MQTT-4.7.2-1]
  const wanted = filter.split('/');
  const levels = topic.split('/');
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true; // Also the parent level: "a/#" matches "a".
    if (i >= levels.length || (level !== '+' && level !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}
