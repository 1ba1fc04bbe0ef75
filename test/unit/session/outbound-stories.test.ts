/**
 * Stories drawn by chance, over both kinds of `Outbound`: messages of all sorts, a client that reads, answers, leaves and comes back with other
 * limits, another member of a shared subscription, a sink that is full, rates and memory that are used up, time that passes, a store that goes as far as chance says. The reader fails
 * at once when it is sent what it may not be; at the end each message must have come to one of the ends that the interface names.
 */
import { describe, expect, it } from 'vitest';
import type { Message, QoS, SharedOrigin } from '../../../services/broker/message/message.js';
import { outboxBytesHigh, outboxBytesMax } from '../../../services/broker/session/channel.js';
import { Chance } from '../../support/chance.js';
import { runsOf, seedsOf } from '../../support/seeds.js';
import { type OutboundKind, outboundKinds, type OutboundWorld, type Wish } from './outbound-kinds.js';
import { ack } from './world.js';

const queueMax = 12;
const smallPackets = 40;
const stepsOfStory = 150;

class Story {
  readonly #world: OutboundWorld;
  readonly #chance: Chance;
  /** QoS 1 and 2, as they were delivered: `topic qos name`. */
  readonly #delivered: string[] = [];
  /** Names of messages that are larger than what some connection takes. */
  readonly #large = new Set<string>();
  /** Names of those that another member of the shared subscription has got. */
  readonly #passedOn = new Set<string>();
  readonly #group: SharedOrigin;
  #droppedQos0 = 0;
  #expiredQos0 = 0;

  constructor({ open }: OutboundKind, chance: Chance) {
    this.#chance = chance;
    this.#world = open(this.#wish());
    this.#world.host.limits.queuedMessagesPerSession = queueMax;
    const handOn = (one: Message): boolean => {
      if (chance.happens(0.5)) return false;
      this.#passedOn.add(String(one.payload));
      this.#world.reader.passedOn(String(one.payload));
      return true;
    };
    this.#group = { name: '$share/g/t', handOn };
    this.#world.host.groups.set(this.#group.name, this.#group);
  }

  #wish(): Wish {
    const chance = this.#chance;
    return {
      receiveMaximum: chance.between(1, 6),
      version: chance.happens(0.3) ? 4 : 5,
      ...(chance.happens(0.3) && { packetBytesMax: smallPackets }),
      ...(chance.happens(0.3) && { topicAliasMax: 2 }),
    };
  }

  async step(): Promise<void> {
    const chance = this.#chance;
    const { client, host, session, reader } = this.#world;
    const isThere = session.channel !== undefined;
    const at = chance.next();
    if (at < 0.35) this.#deliver();
    else if (at < 0.6 && isThere) this.#read();
    else if (at < 0.64 && isThere) client.send(ack('puback', 60_000), ack('pubcomp', 61_000));
    else if (at < 0.72) this.#comeOrGo();
    else if (at < 0.76) {
      client.outbox.waitingBytes = [0, 0, outboxBytesHigh + 1, outboxBytesMax][chance.between(0, 3)]!;
      session.pump(host.timeMs);
    } else if (at < 0.79) {
      host.deliveries = chance.happens(0.5) ? Infinity : chance.between(0, 3);
      session.pump(host.timeMs);
    } else if (at < 0.82) host.memory.isFull = !host.memory.isFull;
    else if (at < 0.84) host.heldMax = chance.happens(0.7) ? Infinity : host.held;
    else if (at < 0.88) {
      host.timeMs += chance.between(0, 3000);
      session.lookAtHeld(host.timeMs);
    } else if (at < 0.97) this.#world.storeSome(chance);
    else await new Promise<void>((resolve) => void setImmediate(resolve));
    if (!isThere) reader.take();
  }

  #deliver(): void {
    const chance = this.#chance;
    const { host } = this.#world;
    const { meters } = host;
    const qos = chance.between(0, 2) as QoS;
    const isLarge = chance.happens(0.15);
    const name = `${this.#delivered.length}${isLarge ? '.'.repeat(smallPackets) : ''}`;
    const topic = `t${chance.between(0, 2)}`;
    const expiresAtMs = chance.happens(0.2) ? host.timeMs + chance.between(0, 4000) : Infinity;
    const before = { ...meters };
    if (qos > 0) {
      const line = `${topic} ${qos} ${name}`;
      this.#delivered.push(line);
      if (isLarge) this.#large.add(line);
      const more = chance.happens(0.2) ? { terms: { group: this.#group } } : {};
      return this.#world.deliver(name, qos, { topic, expiresAtMs, ...more });
    }
    this.#world.deliver(name, 0, { topic, expiresAtMs });
    this.#droppedQos0 += meters.droppedOverQuota - before.droppedOverQuota;
    this.#expiredQos0 += meters.expiredMessages - before.expiredMessages;
    const ends = (['messagesSent', 'droppedOffline', 'droppedSlowSubscriber', 'droppedOverQuota'] as const).filter(
      (end) => meters[end] > before[end],
    );
    if (!isLarge) expect(ends).toHaveLength(1);
  }

  #read(): void {
    const { reader, client } = this.#world;
    const chance = this.#chance;
    reader.take();
    for (const name of reader.waiting) {
      if (chance.happens(0.4)) continue;
      // Only MQTT 5.0 can refuse.
      if (client.channel.version === 5 && chance.happens(0.05) && !reader.isReceived(name)) reader.refuse(name, 0x83);
      else reader.answer(name);
    }
  }

  #comeOrGo(): void {
    const { session, reader } = this.#world;
    if (session.channel === undefined) return this.#world.comeBack(this.#wish());
    if (this.#chance.happens(0.5)) reader.take(); // Otherwise what was not read yet is lost.
    this.#world.leave();
  }

  /** Everything is set free, and the client reads all. */
  async toItsEnd(): Promise<void> {
    const { host, session } = this.#world;
    host.deliveries = host.heldMax = Infinity;
    host.memory.isFull = false;
    if (session.channel) this.#world.leave();
    this.#world.storeIsBack();
    await this.#world.settle();
    this.#world.comeBack({ receiveMaximum: 5 });
    await this.#world.readAll();
    for (const waiting of host.waiting.splice(0)) waiting.pump(host.timeMs);
    await this.#world.readAll();
    expect([session.queuedMessages, host.heldMessages, host.unsafe, this.#world.pending]).toEqual([0, 0, 0, []]);
    this.#account();
  }

  #account(): void {
    const { reader, host, faults } = this.#world;
    expect(faults).toEqual([]);
    const got = reader.got.filter((line) => line.split(' ')[1] !== '0');
    expect(new Set(got).size).toBe(got.length);
    for (const flow of new Set(got.map((line) => line.slice(0, 4)))) {
      const order = got.filter((line) => line.startsWith(flow)).map((line) => parseInt(line.slice(5)));
      expect(order).toEqual([...order].sort((a, b) => a - b)); // [MQTT-4.6.0-6]
    }
    const isPassedOn = (line: string): boolean => this.#passedOn.has(line.split(' ')[2]!);
    const lost = this.#delivered.filter((line) => !got.includes(line) && !isPassedOn(line));
    const counted = host.meters.droppedOverQuota - this.#droppedQos0 + host.meters.expiredMessages - this.#expiredQos0;
    // What is too large for the client counts as delivered, and is not counted as anything else. [MQTT-3.1.2-25]
    const tooLarge = lost.filter((line) => this.#large.has(line)).length;
    expect(counted).toBeLessThanOrEqual(lost.length);
    expect(counted).toBeGreaterThanOrEqual(lost.length - tooLarge);
  }

  /** The session ends wherever the story has got to. */
  async cutShort(): Promise<void> {
    const { host, session } = this.#world;
    if (session.channel) this.#world.leave();
    const ended = session.end(host.timeMs, false);
    this.#world.storeIsBack();
    await this.#world.settle();
    await ended;
    expect([host.heldMessages, host.unsafe, this.#world.pending]).toEqual([0, 0, []]);
    expect([this.#world.faults, host.backlog.messages]).toEqual([[], 0]);
  }
}

describe.each(outboundKinds)('$name', (kind) => {
  it.each(seedsOf('outbounds'))('stories of seed %i', async (first) => {
    for (let run = 0; run < runsOf(100); run++) {
      const chance = new Chance(first + run);
      try {
        const story = new Story(kind, chance);
        for (let step = chance.between(1, stepsOfStory); step > 0; step--) await story.step();
        if (chance.happens(0.25)) await story.cutShort();
        else await story.toItsEnd();
      } catch (error) {
        throw new Error(`SHOAL_TEST_SEED=${first + run}`, { cause: error });
      }
    }
  });
});
