/**
 * Where two brokers that have played the same scenario differ, taken apart into questions that have one answer each:
 * how many copies, at which QoS, with which RETAIN flag, in which order. Where Shoal is not as the model has it is a
 * difference of its own, which nothing explains.
 */
import { type Copy, type Deliveries, Model, partsOf } from './model.js';
import { deliveriesOf, type Arrived, type Played } from './player.js';
import type { QoS, Step } from './scenario.js';

/** One message to one client in one step. */
interface Delivery {
  readonly client: number;
  readonly topic: string;
  readonly payload: string;
  readonly shoal: readonly Copy[];
  readonly aedes: readonly Copy[];
  readonly required: readonly Copy[];
  /** What the client was subscribed to before the step. */
  readonly subscriptions: ReadonlyMap<string, QoS>;
}

export type Difference = { readonly index: number; readonly step: Step } & (
  | ({ readonly kind: 'not as required' | 'copies' | 'qos' | 'retain' } & Delivery)
  | {
      readonly kind: 'order';
      readonly client: number;
      readonly shoal: readonly string[];
      readonly aedes: readonly string[];
    }
  | {
      readonly kind: 'session present';
      readonly shoal: boolean | undefined;
      readonly aedes: boolean | undefined;
      readonly required: boolean;
      readonly subscriptions: ReadonlyMap<string, QoS>;
    }
  | { readonly kind: 'codes'; readonly shoal: readonly number[]; readonly aedes: readonly number[] }
);

type Found<T = Difference> = T extends unknown ? Omit<T, 'index' | 'step'> : never;

/** `aedes` may have played less than all of it. */
export function compare(scenario: readonly Step[], shoal: readonly Played[], aedes: readonly Played[]): Difference[] {
  const model = new Model();
  return scenario.flatMap((step, index) => {
    const before = model.clients.map(({ subscriptions }) => new Map(subscriptions));
    const required = model.play(step, index);
    if (!required.happens) return [];
    const ours = shoal[index]!;
    // Where aedes has given up, Shoal is still compared with the model.
    const theirs = aedes[index] ?? ours;
    const found = required.deliveries.flatMap((deliveries, client) => {
      const arrived = ours.arrived[client] ?? [];
      return compareClient(client, before[client]!, arrived, theirs.arrived[client] ?? [], deliveries);
    });
    const answers = compareAnswers(ours, theirs, required.sessionPresent, before[step.client]!);
    return [...found, ...answers].map((difference) => ({ index, step, ...difference }));
  });
}

function compareAnswers(
  { codes: ours, sessionPresent: shoal }: Played,
  { codes: theirs, sessionPresent: aedes }: Played,
  required: boolean,
  subscriptions: ReadonlyMap<string, QoS>,
): Found[] {
  const found: Found[] = [];
  if (shoal !== aedes || (shoal !== undefined && shoal !== required))
    found.push({ kind: 'session present', shoal, aedes, required, subscriptions });
  if (ours?.join() !== theirs?.join()) found.push({ kind: 'codes', shoal: ours ?? [], aedes: theirs ?? [] });
  return found;
}

function compareClient(
  client: number,
  subscriptions: ReadonlyMap<string, QoS>,
  shoal: readonly Arrived[],
  aedes: readonly Arrived[],
  required: Deliveries,
): Found[] {
  const [ours, theirs] = [deliveriesOf(shoal), deliveriesOf(aedes)];
  const found: Found[] = [];
  for (const message of new Set([...ours.keys(), ...theirs.keys(), ...required.keys()])) {
    const copiesIn = (deliveries: Deliveries): readonly Copy[] => deliveries.get(message) ?? [];
    const copies = { shoal: copiesIn(ours), aedes: copiesIn(theirs), required: copiesIn(required) };
    const [topic, payload] = partsOf(message);
    const delivery = { client, topic, payload, ...copies, subscriptions };
    found.push(...kindsOf(delivery).map((kind) => ({ kind, ...delivery })));
  }
  if (found.length === 0)
    for (const [line, payloads] of linesOf(shoal)) {
      const others = linesOf(aedes).get(line) ?? [];
      if (payloads.join() !== others.join()) found.push({ kind: 'order', client, shoal: payloads, aedes: others });
    }
  return found;
}

function kindsOf({ shoal, aedes, required }: Delivery): ('not as required' | 'copies' | 'qos' | 'retain')[] {
  const bothCame = shoal.length > 0 && aedes.length > 0;
  return [
    ...(sorted(shoal) !== sorted(required) ? (['not as required'] as const) : []),
    ...(shoal.length !== aedes.length ? (['copies'] as const) : []),
    ...(bothCame && distinct(shoal, 'qos') !== distinct(aedes, 'qos') ? (['qos'] as const) : []),
    ...(bothCame && distinct(shoal, 'retain') !== distinct(aedes, 'retain') ? (['retain'] as const) : []),
  ];
}

const distinct = (copies: readonly Copy[], field: keyof Copy): string =>
  [...new Set(copies.map((copy) => copy[field]))].sort().join();

const sorted = (copies: readonly Copy[]): string =>
  copies
    .map(({ qos, retain }) => `${qos}${retain}`)
    .sort()
    .join();

/** Messages of one publisher, topic and QoS, whose order counts. [MQTT-4.6.0-6] Retained ones come in any order. */
function linesOf(arrived: readonly Arrived[]): Map<string, string[]> {
  const lines = new Map<string, string[]>();
  for (const { topic, payload, qos, retain } of arrived) {
    const publisher = / by \d$/.exec(payload);
    if (retain || !publisher) continue;
    const line = `${topic}${publisher[0]} at QoS ${qos}`;
    lines.set(line, [...(lines.get(line) ?? []), payload]);
  }
  return lines;
}
