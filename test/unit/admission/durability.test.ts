/**
 * What was acknowledged arrives, QoS 2 exactly once, in order, whatever happens in between: commits that have come any
 * way, clients that come and go, wills, brokers that die, also while they take over. Random steps over a whole admission; the
 * clients obey the specification, but in half of the stories the publisher sends again without DUP.
 */
import { expect, it } from 'vitest';
import { Chance } from '../../support/chance.js';
import { runsOf, seedsOf } from '../../support/seeds.js';
import { Publisher, Subscriber, WillDevice } from './clients.js';
import { type Device, settle, Site } from './site.js';

interface Options {
  readonly shared: boolean;
  readonly ends: boolean;
  /** Every other subscriber has subscribed with QoS 1, so that nobody reads what it has stored before it comes. */
  readonly isUnread?: boolean;
  readonly steps: number;
}

/** The broker has died while somebody waited for it. */
class Died extends Error {}

async function story(seed: number, { shared, ends, isUnread, steps }: Options): Promise<string[]> {
  const chance = new Chance(seed);
  const pick = <T>(from: readonly T[]): T => from[chance.between(0, from.length - 1)]!;
  const site = new Site();
  let crashed = false;
  const notes: string[] = [];
  const note = (what: string): void => {
    for (const each of site.log.taken.splice(0)) notes.push(`   log: ${each}`);
    notes.push(what);
  };
  const publisher = new Publisher();
  publisher.say = note;
  publisher.setsDup = chance.happens(0.5);
  const mortal = new WillDevice('w');
  const subscribers = shared
    ? ['m1', 'm2', 'm3'].map((id) => new Subscriber(id, ['$share/g/t', '$share/g/w'], note))
    : ['s1', 's2'].map((id) => new Subscriber(id, ['t', 'w'], note));
  const admit = async (clientId: string, wish: object = {}): Promise<Device> => {
    const { device, done } = site.connect(clientId, {
      clean: false,
      expiry: 1000,
      ...wish,
      more: { receiveMaximum: chance.between(1, 6) },
    });
    let failed: Error | undefined;
    done.catch((error: unknown) => (failed = error as Error));
    for (let tries = 0; !device.in; tries++) {
      if (site.life.isOver) throw new Died();
      if (failed) throw failed;
      if (tries > 3) {
        site.log.isLate = () => false; // It may have to wait for what is late.
        await site.calm();
      }
      if (tries > 50) throw new Error(`${clientId} is not let in`);
      await settle(1);
    }
    return device;
  };
  const qosOf = (clientId: string): 1 | 2 => (isUnread && clientId === 's2' ? 1 : 2);
  /** Whose sessions have ended. */
  const ended = new Set<Subscriber>(subscribers);
  const come = async (one: Subscriber): Promise<void> => {
    const device = await admit(one.clientId, { clean: ended.has(one) });
    one.device = device;
    if (!ended.has(one)) return;
    for (const filter of one.filters) await site.subscribe(device, filter, qosOf(one.clientId), false);
    if (site.life.isOver) throw new Died();
    ended.delete(one);
  };
  const publisherComes = async (): Promise<void> => {
    publisher.device = await admit('p');
    publisher.resend();
  };
  const boot = (): void => {
    note('crash');
    crashed = true;
    site.clock.advance(chance.between(1000, 3000));
    site.boot();
    for (const each of subscribers) each.lost();
    publisher.device = undefined;
    mortal.lost();
  };
  for (const one of subscribers) {
    await come(one);
    if (shared || chance.happens(0.5)) {
      one.device!.end();
      one.lost();
    }
  }
  publisher.device = await admit('p');
  const act = async (one: Subscriber, dice: number): Promise<void> => {
    if (dice < 22) {
      if (publisher.device && publisher.sent.length < 12) {
        const qos = chance.happens(0.6) ? 2 : 1;
        publisher.publish('t', qos);
        note(`publish ${publisher.all.at(-1)!.payload}`);
      }
    } else if (dice < 30) publisher.hear();
    else if (dice < 42) {
      one.hear();
      one.answer(chance.between(0, 4));
      note(`${one.clientId} answers`);
    } else if (dice < 50) {
      if (one.device) {
        note(`${one.clientId} leaves`);
        one.device.end();
        one.lost();
      } else {
        note(`${one.clientId} comes`);
        await come(one);
      }
    } else if (dice < 58) {
      note('take');
      site.log.take();
    } else if (dice < 66) {
      note('write');
      site.log.write();
    } else if (dice < 76) {
      note('confirm');
      site.log.write();
      site.life.pass('told');
      if (!site.life.isOver) site.log.confirm();
    } else if (dice < 84) {
      note('delay');
      site.clock.advance(60);
      site.log.delayOver();
    } else if (dice < 92) await settle(chance.between(1, 3));
    else if (dice < 94) {
      if (publisher.device) {
        publisher.device.end();
        publisher.device = undefined;
      } else await publisherComes();
      note(publisher.device ? 'publisher comes' : 'publisher leaves');
    } else if (dice < 96) {
      if (ends && one.device) {
        note(`${one.clientId} ends`);
        one.device.end({ publishWill: false, expirySeconds: 0 });
        one.lost();
        one.forget();
        ended.add(one);
        await settle(3);
        await come(one);
      }
    } else if (dice < 97) {
      boot();
      if (chance.happens(0.5)) site.life.diesAt = chance.between(1, 30);
      if (chance.happens(0.5)) await publisherComes();
    } else if (dice < 98) {
      const late = pick(['none', 'received', 'messages']);
      note(`${late} late`);
      site.log.isLate = ({ lane }) => lane.startsWith(late);
    } else {
      note(`will device ${mortal.isThere ? 'goes' : 'comes'}`);
      if (mortal.isThere) mortal.go(chance.happens(0.7));
      else await mortal.come((will) => admit('d', { will }));
    }
  };
  const dying = async (step: () => Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof Died)) throw error;
    }
    if (site.life.isOver) boot();
  };
  for (let step = 0; step < steps; step++) await dying(() => act(pick(subscribers), chance.between(0, 99)));
  note('end');
  // A broker whose death was near may have died while nobody asked it for anything.
  await dying(() => Promise.resolve());
  site.life.diesAt = Infinity;
  site.log.isLate = () => false;
  if (!publisher.device) await publisherComes();
  if (mortal.isThere) mortal.go(true);
  for (const one of subscribers) if (!one.device) await come(one);
  for (let idle = 0, last = ''; idle < 5;) {
    await site.calm();
    publisher.hear();
    for (const one of subscribers) {
      one.hear();
      one.answer(Infinity);
    }
    const now = `${publisher.sent.length} ${subscribers.map(({ heard }) => heard).join(' ')}`;
    idle = now === last ? idle + 1 : 0;
    last = now;
  }
  const wrong: string[] = publisher.sent.map(({ payload }) => `${payload} is never acknowledged`);
  const { heldBytes, unsafeBytes } = publisher.device.in!.tenant.ledger;
  if (heldBytes !== 0 || unsafeBytes !== 0)
    wrong.push(`memory counts ${heldBytes} and ${unsafeBytes} bytes of nothing`);
  const check = (who: string, got: readonly string[]): void => {
    for (const { payload, qos } of publisher.all) {
      const times = got.filter((each) => each === payload).length;
      // Of those that end it may be the only one that was sent a QoS 2 message. [MQTT-4.8.2-5]
      if (times === 0 && !(ends && qos === 2)) wrong.push(`${who} misses ${payload}`);
      // Its publisher repeats it after a crash, and who had it is no more.
      if (times > 1 && qos === 2 && qosOf(who) === 2 && !(ends && crashed))
        wrong.push(`${who} got ${payload} ${times} times`);
    }
    for (const { payload, must } of mortal.wills) {
      const times = got.filter((each) => each === payload).length;
      if (times === 0 && must && !ends) wrong.push(`${who} misses ${payload}`);
      if (times > 1 && qosOf(who) === 2 && !(ends && crashed)) wrong.push(`${who} got ${payload} ${times} times`);
    }
    for (const each of got) if (each.includes('under')) wrong.push(`${who}: ${each}`);
  };
  if (shared)
    check(
      'the group',
      subscribers.flatMap(({ got }) => got),
    );
  else
    for (const { clientId, got } of subscribers) {
      check(clientId, got);
      for (const qos of [1, 2]) {
        const numbers = [...new Set(got.filter((each) => each.startsWith(`t${qos}-`)))].map((each) =>
          Number(each.split('-')[1]),
        );
        if (numbers.some((n, i) => i > 0 && n < numbers[i - 1]!))
          wrong.push(`${clientId} got QoS ${qos} out of order: ${numbers.join(' ')}`);
      }
    }
  for (const { clientId, device } of [...subscribers, { clientId: 'p', device: publisher.device }]) {
    const { session } = device!.in!;
    if (session.queuedMessages !== 0) wrong.push(`${clientId} has ${session.queuedMessages} messages left`);
  }
  const messages = [...site.tables.allPartitions()].flatMap((pk) =>
    site.tables.items(pk).map(({ key }) => `${pk} ${key}`),
  );
  if (messages.length > 0) wrong.push(`left in the table: ${messages.join(', ')}`);
  if (wrong.length > 0 && process.env['STORY']) console.log(notes.join('\n'));
  return wrong;
}

/** `STORY=<seed>` plays one story, and tells what happened in it when something went wrong. */
const one = process.env['STORY'];
const seeds = one
  ? [Number(one)]
  : seedsOf('stories').flatMap((first) => Array.from({ length: runsOf(60) }, (_, i) => (first + i * 7919) >>> 0));

it.each([
  ['to subscribers of their own', { shared: false, ends: false, steps: 150 }],
  ['to subscribers that are read late', { shared: false, ends: false, isUnread: true, steps: 150 }],
  ['to a group', { shared: true, ends: false, steps: 150 }],
  ['to a group whose members end', { shared: true, ends: true, steps: 150 }],
] as const)(
  'messages %s arrive',
  async (_, options) => {
    const failed: string[] = [];
    for (const seed of seeds) {
      const wrong = await story(seed, options).catch((e: unknown) => [String(e instanceof Error ? e.stack : e)]);
      if (wrong.length > 0) failed.push(`seed ${seed}: ${wrong.slice(0, 3).join('; ')}`);
    }
    expect(failed.join('\n')).toBe('');
  },
  120_000,
);
