/** Random MQTT 3.1.1 scenarios: what a few clients do one after the other. No clock and no chance but fast-check's. */
import fc from 'fast-check';

export type QoS = 0 | 1 | 2;

export interface WillOf {
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
}

export type Step =
  | { readonly do: 'connect'; readonly client: number; readonly clean: boolean; readonly will: WillOf | undefined }
  | { readonly do: 'disconnect'; readonly client: number }
  | { readonly do: 'kill'; readonly client: number }
  | { readonly do: 'subscribe'; readonly client: number; readonly filters: readonly (readonly [string, QoS])[] }
  | { readonly do: 'unsubscribe'; readonly client: number; readonly filters: readonly string[] }
  | {
      readonly do: 'publish';
      readonly client: number;
      readonly topic: string;
      readonly qos: QoS;
      readonly retain: boolean;
      /** Messages sent in one go; 0 is one message without payload. */
      readonly count: number;
    };

export const clientCount = 4;

const topics = ['a', 'a/b', 'a/b/c', 'b', '/b', 'a/', 'a//c', '$x', '$x/b'];
const filters = ['a', 'a/b', 'a/b/c', '#', '+', 'a/#', 'a/+', '+/b', '/+', 'a/+/c', '+/+', '$x/#', '$x/+', '+/b/#'];

const client = fc.integer({ min: 0, max: clientCount - 1 });
const topic = fc.constantFrom(...topics);
const filter = fc.constantFrom(...filters);
const qos = fc.constantFrom<QoS[]>(0, 1, 2);
const oneIn = (n: number) => fc.integer({ min: 1, max: n }).map((i) => i === 1);

const will = fc.option(fc.record<WillOf>({ topic, qos, retain: oneIn(4) }), { nil: undefined });

const connect = fc.record({ do: fc.constant('connect' as const), client, clean: fc.boolean(), will });
const subscribe = fc.record({
  do: fc.constant('subscribe' as const),
  client,
  filters: fc.uniqueArray(fc.tuple(filter, qos), { minLength: 1, maxLength: 3, selector: ([name]) => name }),
});
const unsubscribe = fc.record({
  do: fc.constant('unsubscribe' as const),
  client,
  filters: fc.uniqueArray(filter, { minLength: 1, maxLength: 3 }),
});
const publish = fc.record({
  do: fc.constant('publish' as const),
  client,
  topic,
  qos,
  retain: oneIn(3),
  count: fc.constantFrom(0, 1, 1, 1, 2, 5),
});

const step = fc.oneof(
  { weight: 3, arbitrary: connect },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('disconnect' as const), client }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), client }) },
  { weight: 5, arbitrary: subscribe },
  { weight: 1, arbitrary: unsubscribe },
  { weight: 8, arbitrary: publish },
);

export const scenarios: fc.Arbitrary<readonly Step[]> = fc.array(step, { minLength: 8, maxLength: 40, size: 'max' });
