/**
 * Plays a scenario on one broker and notes what every client received in every step. A step is over when each client
 * that is connected has been answered a PINGREQ that was sent after everything the step has caused; then the next begins.
 */
import { LiveClient } from '../support/live-client.js';
import { until } from '../support/until.js';
import { type Copy, type Deliveries, keyOf, messagesOf, Model, type StepResult, willPayload } from './model.js';
import { lastRetained, type Peer } from './peers.js';
import { clientCount, type Step } from './scenario.js';

export interface Arrived extends Copy {
  readonly topic: string;
  readonly payload: string;
}

export interface Played {
  /** By client, in the order of arrival. */
  readonly arrived: readonly (readonly Arrived[])[];
  readonly codes: readonly number[] | undefined;
  readonly sessionPresent: boolean | undefined;
}

/** aedes at times closes connections for no reason that a client could see; what it did until then is compared. */
export async function play(scenario: readonly Step[], peer: Peer): Promise<Played[]> {
  const player = new Player(peer);
  const model = new Model();
  const played: Played[] = [];
  try {
    for (const [index, step] of scenario.entries())
      played.push(await player.play(step, index, model.play(step, index)));
    return played;
  } catch (error) {
    if (peer.name === 'aedes') return played;
    throw error;
  } finally {
    await player.leaveNothing(scenario);
  }
}

class Player {
  readonly #peer: Peer;
  readonly #clients: (LiveClient | undefined)[] = Array.from({ length: clientCount });
  #index = 0;

  constructor(peer: Peer) {
    this.#peer = peer;
  }

  async play(step: Step, index: number, required: StepResult): Promise<Played> {
    if (!required.happens) return { arrived: [], codes: undefined, sessionPresent: undefined };
    this.#index = index;
    const before = this.#clients.map((client) => client?.received.length ?? 0);
    const outcome = await this.#act(step).catch((error: unknown) => {
      throw new Error(`${this.#peer.name}, step ${index} ${JSON.stringify(step)}: ${String(error)}`);
    });
    if (step.do === 'connect') before[step.client] = 0;
    await this.#due(before, required);
    await this.#settle();
    const closed = this.#clients.findIndex((client) => client?.ended === true);
    if (closed >= 0)
      throw new Error(`${this.#peer.name} closed client ${closed} in step ${index} ${JSON.stringify(step)}`);
    const arrived = this.#clients.map((client, n) => client?.received.slice(before[n]) ?? []);
    return { codes: undefined, sessionPresent: undefined, ...outcome, arrived };
  }

  async #act(step: Step): Promise<Partial<Played>> {
    const client = this.#clients[step.client];
    switch (step.do) {
      case 'connect':
        return { sessionPresent: await this.#connect(step) };
      case 'disconnect':
        await client!.disconnect();
        break;
      case 'kill':
        await client!.drop();
        break;
      case 'subscribe': {
        const codes = await client!.subscribe(...step.filters.map(([filter, qos]) => ({ filter, qos })));
        if (this.#peer.name === 'shoal') await retainedHaveCome(client!);
        return { codes };
      }
      case 'unsubscribe':
        await client!.unsubscribe(...step.filters);
        break;
      case 'publish':
        await Promise.all(messagesOf(step, this.#index).map((message) => client!.publish(message)));
    }
    if (client!.ended) this.#clients[step.client] = undefined;
    return {};
  }

  async #connect({ client: n, clean, will }: Step & { do: 'connect' }): Promise<boolean> {
    const old = this.#clients[n];
    const client = await LiveClient.open(this.#peer.port);
    this.#clients[n] = client;
    const fields = { version: 4, clientId: `client-${n}`, clean, ...this.#peer.account } as const;
    const { sessionPresent } = await client.connect({
      ...fields,
      ...(will && { will: { ...will, payload: willPayload(this.#index) } }),
    });
    if (old) await until(() => old.ended, 'the end of the connection that was taken over');
    return sessionPresent === true;
  }

  /** What Shoal has stored for a session it reads when the client is there: PINGRESP may come before it. */
  async #due(before: readonly number[], { deliveries }: StepResult): Promise<void> {
    if (this.#peer.name === 'aedes') return;
    const counts = deliveries.map((ofClient) => [...ofClient.values()].flat().length);
    const isThere = (): boolean =>
      this.#clients.every((client, n) => !client || client.received.length - before[n]! >= counts[n]!);
    // What is missing after that is told by the comparison.
    await until(isThere, 'the messages').catch(() => undefined);
  }

  /** Twice: what a lost connection leaves behind (its will) may take one turn more. */
  async #settle(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      await this.#peer.settle();
      await Promise.all(this.#clients.map((client) => (client && !client.ended ? client.ping() : Promise.resolve())));
    }
  }

  /** Sessions and retained messages end with the scenario: the next one finds the broker as if it were new. */
  async leaveNothing(scenario: readonly Step[]): Promise<void> {
    for (const client of this.#clients) client?.destroy();
    if (this.#peer.name === 'aedes') return;
    for (const n of this.#clients.keys()) {
      const client = await LiveClient.open(this.#peer.port);
      await client.connect({ version: 4, clientId: `client-${n}`, clean: true, ...this.#peer.account });
      if (n === 0)
        for (const topic of retainedTopics(scenario))
          await client.publish({ topic, qos: 1, retain: true, payload: '' });
      await client.disconnect();
    }
  }
}

/**
 * Retained messages may come after SUBACK and PINGRESP. A session is handed those of one subscription after those of the
 * other, so the one of a last subscription says that all others have come, and that none is read any more.
 */
async function retainedHaveCome(client: LiveClient): Promise<void> {
  const at = (): number => client.received.findIndex(({ topic }) => topic === lastRetained);
  await client.subscribe({ filter: lastRetained, qos: 0 });
  await until(() => at() >= 0, 'the retained message of the last subscription');
  client.received.splice(at(), 1);
  await client.unsubscribe(lastRetained);
}

function retainedTopics(scenario: readonly Step[]): Set<string> {
  const topics = new Set<string>();
  for (const step of scenario) {
    if (step.do === 'publish' && step.retain) topics.add(step.topic);
    if (step.do === 'connect' && step.will?.retain) topics.add(step.will.topic);
  }
  return topics;
}

export function deliveriesOf(arrived: readonly Arrived[]): Deliveries {
  const deliveries = new Map<string, Copy[]>();
  for (const { topic, payload, qos, retain } of arrived) {
    const key = keyOf(topic, payload);
    deliveries.set(key, [...(deliveries.get(key) ?? []), { qos, retain }]);
  }
  return deliveries;
}
