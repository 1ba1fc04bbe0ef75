/**
 * Three to five brokers serve together and die at random, over a real database: at every moment of rest each stored session is at exactly
 * one broker, which lets its client in, with all that it was promised; and wills are published once.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Chance } from '../../support/chance.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { runsOf, seedsOf } from '../../support/seeds.js';
import { type Device, pub } from '../../unit/admission/site.js';
import { type DynamoServer, dynamoServers } from './servers.js';
import { type Survivor, Survivors } from './survivors.js';

/** From a death until all is adopted: a lease, two looks, and the calls. */
const restMs = 12_000;

/** A client with a stored session, and what it has been promised. */
class Client {
  readonly name: string;
  at: Survivor | undefined;
  device: Device | undefined;
  /** Stored for it, and not seen by it. */
  readonly owed = new Set<string>();
  readonly got: string[] = [];
  hasSubscribed = false;

  constructor(name: string) {
    this.name = name;
  }

  hear(): void {
    for (const packet of this.device?.take() ?? [])
      if (packet.cmd === 'publish') {
        this.got.push(packet.payload.toString());
        this.owed.delete(packet.payload.toString());
        if (packet.messageId !== undefined && !this.at!.isDead)
          this.device!.send({ cmd: 'puback', messageId: packet.messageId });
      }
  }
}

/** For ten years: time here is that of years ago, and a database that removes what has expired has the real one. */
const stored = { clean: false, expiry: 315_360_000 };

class Story {
  readonly chance: Chance;
  readonly site: Survivors;
  readonly clients = Array.from({ length: 24 }, (_, i) => new Client(`c${i}`));
  readonly log: string[] = [];
  #messages = 0;
  /** Wills of clients whose brokers died, with the deaths of brokers since then that may have published them. */
  readonly wills: string[] = [];

  constructor(chance: Chance, site: Survivors) {
    this.chance = chance;
    this.site = site;
  }

  #one<T>(of: readonly T[]): T {
    return of[this.chance.between(0, of.length - 1)]!;
  }

  async begin(brokers: number): Promise<void> {
    for (let i = 0; i < brokers; i++) {
      await this.site.start();
      await this.site.world.elapse(this.chance.between(0, 20) * 100);
    }
    for (const client of this.clients) await this.come(client, this.#one(this.site.living));
  }

  /** Connects it there, with a will, if it is let in. */
  async come(client: Client, at: Survivor): Promise<boolean> {
    const { name } = client;
    const wish = { ...stored, will: { topic: 'will', payload: `will of ${name} ${++this.#messages}` } };
    const device = await this.site.done(at.connect(name, wish));
    if (!device) return false;
    Object.assign(client, { at, device });
    client.hear();
    if (!client.hasSubscribed) {
      device.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'all', qos: 1 }] });
      await this.site.world.elapse(200);
      client.hasSubscribed = true;
    }
    return true;
  }

  leave(client: Client): void {
    client.hear();
    client.device!.end({ publishWill: false });
    client.device = undefined;
  }

  /** For all sessions at that broker: those of which it knows are promised it once it is acknowledged. */
  async publish(at: Survivor): Promise<void> {
    const payload = `m${++this.#messages}`;
    const promised = this.clients.filter(({ name }) => at.residences.has(name));
    const publisher = await this.site.done(at.connect('publisher', { clean: true, expiry: 0 }));
    if (!publisher) throw new Error('the publisher is refused');
    publisher.take();
    publisher.send(pub('all', payload, 1, 1));
    await this.site.world.elapse(500);
    if (!publisher.said().includes('puback 1')) throw new Error('no acknowledgement');
    for (const client of promised) client.owed.add(payload);
    publisher.end({ publishWill: false });
  }

  /** Some may die at the same time. */
  async kill(count: number): Promise<void> {
    for (let i = 0; i < count && this.site.living.length > 1; i++) {
      const dying = this.#one(this.site.living);
      this.log.push(`${dying.broker.id} dies`);
      for (const client of this.clients) client.hear();
      await this.site.kill(dying);
      for (const client of this.clients)
        if (client.at === dying && client.device) {
          const { session } = client.device.in!;
          this.wills.push(session.will!.payload.toString());
          client.device = undefined;
        }
      await this.site.world.elapse(this.chance.between(0, 60) * 100);
    }
  }

  async step(): Promise<void> {
    const { site, chance } = this;
    const client = this.#one(this.clients);
    switch (chance.between(0, 5)) {
      case 0:
        if (client.device) return this.leave(client);
        await this.come(client, this.#one(site.living));
        return;
      case 1:
        return this.publish(this.#one(site.living));
      case 2:
        return this.kill(chance.between(1, 2));
      case 3:
        if (site.living.length < 5) await site.start();
        return;
      default:
        return site.world.elapse(chance.between(1, 50) * 100);
    }
  }

  /** Everything is adopted: who has which session? */
  async rest(): Promise<void> {
    const { site } = this;
    await site.world.elapse(restMs);
    site.hear();
    for (const client of this.clients) {
      client.hear();
      const at = site.living.filter(({ residences }) => residences.has(client.name));
      if (at.length !== 1)
        throw new Error(`${client.name} is at ${at.map(({ broker }) => broker.id).join(' and ') || 'none'}`);
      if (client.device) {
        if (client.at !== at[0]) throw new Error(`${client.name} is connected elsewhere`);
        continue;
      }
      for (const other of site.living)
        if (other !== at[0] && (await site.done(other.connect(client.name, stored))))
          throw new Error(`${client.name} is let in by a broker that does not have it`);
      if (!(await this.come(client, at[0]!))) throw new Error(`${client.name} is refused`);
      await site.world.elapse(500);
      client.hear();
      if (client.owed.size > 0) throw new Error(`${client.name} misses ${[...client.owed].join(', ')}`);
      if (this.chance.happens(0.5)) this.leave(client);
    }
  }

  /** Payload, and how often it was seen. */
  willsSeen(): Map<string, number> {
    const seen = new Map<string, number>(this.wills.map((will) => [will, 0]));
    for (const { seen: some } of this.site.all) for (const will of some) seen.set(will, (seen.get(will) ?? -100) + 1);
    return seen;
  }
}

function survivorsContract({ name, start }: DynamoServer): void {
  describe(`brokers that die at random over ${name}`, () => {
    let server: EmbeddedDynamo;
    beforeAll(async () => {
      server = await start();
    }, 90_000);
    afterAll(async () => await server?.stop());

    it.each(seedsOf('survivors'))(
      'each session has one owner, and nothing is lost (seed %i)',
      async (seed) => {
        const chance = new Chance(seed);
        const story = new Story(chance, new Survivors(await server.open()));
        try {
          await story.begin(chance.between(3, 5));
          for (let round = 0; round < runsOf(4); round++) {
            for (let i = 0; i < 12; i++) await story.step();
            await story.rest();
          }
          await story.rest();
        } catch (error) {
          throw new Error(story.log.join('; '), { cause: error });
        }
      },
      600_000,
    );

    it('wills of a dead broker are published once, whoever inherits them', async () => {
      const story = new Story(new Chance(1), new Survivors(await server.open()));
      await story.begin(4);
      for (let deaths = 0; deaths < 3; deaths++) {
        await story.kill(1);
        await story.rest();
      }
      expect(story.wills.length).toBeGreaterThan(6);
      expect([...story.willsSeen().values()].every((times) => times === 1)).toBe(true);
    }, 600_000);
  });
}

for (const server of dynamoServers) survivorsContract(server);
