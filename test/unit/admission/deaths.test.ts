/**
 * A broker dies at a point between two of its writes, the next one at one of its own, and a third one serves: at every
 * such point, and at pairs of them. QoS 2 messages of a publisher whose session is stored and QoS 2 wills come exactly
 * once to stored sessions and to a group. The tables of crash points are at the heads of `inbox/received.ts`,
 * `inbox/moving.ts` and `admission/kept-wills.ts`; the points are the writes themselves, so that none is left out.
 */
import { expect, it } from 'vitest';
import { Chance } from '../../support/chance.js';
import { seedsOf } from '../../support/seeds.js';
import { Publisher, Subscriber } from './clients.js';
import { settle, Site } from './site.js';

interface Story {
  /** At which of its points each broker dies; the one after the last lives on. */
  readonly deaths: readonly number[];
  readonly setsDup: boolean;
  /** Whether the clients get what a broker sent just before it died. */
  readonly hears: boolean;
  /** What publishers and records wait for is stored long after what subscribers wait for. */
  readonly isLate: boolean;
}

interface Outcome {
  readonly wrong: readonly string[];
  /** Of each broker, the points that it passed. */
  readonly points: readonly (readonly string[])[];
}

const messages = ['t2-1', 't2-2'];
/** The first is long enough for an item of its own. */
const wills = ['will of the stored'.padEnd(600, '.'), 'will of the clean'];

/** So many commits of others come before one of a publisher's state that is late. */
const lateBy = 12;

class Cast {
  isLate = false;
  #steps = 0;
  readonly site = new Site();
  readonly publisher = new Publisher();
  readonly online = new Subscriber('online', ['t', 'w'], () => undefined);
  readonly late = new Subscriber('late', ['t', 'w'], () => undefined);
  readonly members = ['m1', 'm2'].map((id) => new Subscriber(id, ['$share/g/t', '$share/g/w'], () => undefined));
  readonly subscribers = [this.online, this.late, ...this.members];
  readonly points: (readonly string[])[] = [];

  /** Before anything happens: all sessions are there, one subscriber and the group are away. */
  async begin(): Promise<void> {
    const { site, publisher } = this;
    for (const one of this.subscribers) {
      one.device = await site.admit(one.clientId);
      for (const filter of one.filters) await site.subscribe(one.device, filter);
    }
    for (const one of [this.late, ...this.members]) {
      one.device!.end();
      one.lost();
    }
    publisher.device = await site.admit('p');
    await site.calm();
  }

  /** The next broker takes over; clients come back to it until it dies or nothing happens any more. */
  async live(clients: readonly Subscriber[]): Promise<void> {
    const { site, publisher } = this;
    const returning = [publisher, ...clients].filter(({ device }) => !device);
    for (const one of returning) {
      const { device, done } = site.connect(one instanceof Publisher ? 'p' : one.clientId, {
        clean: false,
        expiry: 1000,
      });
      done.catch(() => undefined);
      await this.#until(() => device.in !== undefined);
      if (site.life.isOver) return;
      one.device = device;
      if (one instanceof Publisher) one.resend();
    }
    let last = '';
    for (let idle = 0; idle < (this.isLate ? lateBy + 4 : 4) && !site.life.isOver;) {
      await this.#step();
      publisher.hear();
      for (const one of this.subscribers) {
        one.hear();
        one.answer(Infinity);
      }
      const now = `${publisher.sent.length} ${this.subscribers.map(({ heard }) => heard).join(' ')} ${site.life.points.length}`;
      idle = now === last ? idle + 1 : 0;
      last = now;
    }
  }

  async #until(isSo: () => boolean): Promise<void> {
    for (let steps = 0; !isSo() && !this.site.life.isOver; steps++) {
      if (steps > 100) throw new Error('a client is not let in');
      await this.#step();
    }
  }

  async #step(): Promise<void> {
    const { site } = this;
    site.clock.advance(60);
    site.log.delayOver();
    const isTurn = ++this.#steps % lateBy === 0;
    site.log.isLate = ({ lane }) => this.isLate && !isTurn && lane.startsWith('received');
    site.commitOnce();
    await settle(2);
  }

  /** The broker that runs is gone. */
  over(hears: boolean): void {
    this.points.push(this.site.life.points);
    for (const one of [this.publisher, ...this.subscribers]) {
      if (hears) one.hear();
      one.device = undefined;
      if (one instanceof Subscriber) one.lost();
    }
    this.site.clock.advance(2000);
    this.site.boot();
  }
}

async function play({ deaths, setsDup, hears, isLate }: Story): Promise<Outcome> {
  const cast = new Cast();
  const { site, publisher, online, late, members } = cast;
  publisher.setsDup = setsDup;
  cast.isLate = isLate;
  await cast.begin();
  const stored = await site.admit('d1', { will: { topic: 'w', payload: wills[0]!, qos: 2 } });
  const clean = await site.admit('d2', { clean: true, expiry: 0, will: { topic: 'w', payload: wills[1]!, qos: 2 } });
  await site.calm();
  const dieAt = (n: number | undefined, passed: number): void => {
    if (n !== undefined) site.life.diesAt = passed + n;
  };
  dieAt(deaths[0], site.life.points.length);
  const before = site.life.points.length;
  for (const topic of ['t', 't']) publisher.publish(topic, 2);
  stored.end({ publishWill: true });
  clean.end({ publishWill: true });
  await cast.live([]);
  const first = site.life.points.slice(before);
  for (const death of [...deaths.slice(1), undefined]) {
    cast.over(hears);
    dieAt(death, 0);
    await cast.live([online]);
  }
  await cast.live([online, late]);
  await cast.live(cast.subscribers);
  const points = [first, ...cast.points.slice(1), site.life.points];
  return { wrong: [...faults(cast.subscribers.slice(0, 2), members), ...leftIn(site, publisher)], points };
}

function faults(subscribers: readonly Subscriber[], members: readonly Subscriber[]): string[] {
  const all = [...subscribers.map(({ clientId, got }) => ({ who: clientId, got }))];
  all.push({ who: 'the group', got: members.flatMap(({ got }) => got) });
  return all.flatMap(({ who, got }) =>
    [...messages, ...wills].flatMap((payload) => {
      const times = got.filter((one) => one === payload).length;
      return times === 1 ? [] : [`${who} got ${payload} ${times} times`];
    }),
  );
}

/** When all is over nothing is stored that nobody would ever remove. */
function leftIn(site: Site, publisher: Publisher): string[] {
  const items = [...site.tables.allPartitions()].flatMap((pk) =>
    site.tables.items(pk).map(({ key }) => `${pk} ${key}`),
  );
  const open = publisher.sent.map(({ payload }) => `${payload} is not acknowledged`);
  const kept = site.tables.received('acme#p')?.packetIds ?? [];
  return [...items, ...open, ...kept.map((id) => `packet identifier ${id} is stored`)];
}

/** `all`: every pair of points, some minutes. */
const howMany = process.env['SHOAL_TEST_DEATHS'];
const variants = [true, false].flatMap((setsDup) =>
  [true, false].flatMap((hears) => [true, false].map((isLate) => ({ setsDup, hears, isLate }))),
);

async function failures(stories: Iterable<Story>): Promise<{ failed: string[]; played: number }> {
  const failed: string[] = [];
  let played = 0;
  for (const story of stories) {
    played++;
    const { wrong, points } = await play(story).catch((error: unknown) => ({
      wrong: [error instanceof Error ? error.stack : String(error)],
      points: [] as string[][],
    }));
    const at = story.deaths.map((n, i) => `${n} ${points[i]?.[n - 1] ?? '?'}`).join(', then ');
    if (wrong.length > 0) failed.push(`${JSON.stringify(story)} at ${at}: ${wrong.slice(0, 3).join('; ')}`);
  }
  return { failed, played };
}

/** Of a broker that nobody kills, and of the one after it. */
async function countOf(deaths: readonly number[]): Promise<number> {
  const { points } = await play({ deaths, setsDup: true, hears: true, isLate: true });
  return points[deaths.length]!.length;
}

it('a broker may die at each of its writes', { timeout: 120_000 }, async () => {
  const stories: Story[] = [];
  const count = await countOf([]);
  expect(count).toBeGreaterThan(20);
  for (let at = 1; at <= count; at++)
    for (const variant of howMany === 'all' ? variants : [variants[at % variants.length]!])
      stories.push({ deaths: [at], ...variant });
  const { failed } = await failures(stories);
  expect(failed.join('\n')).toBe('');
});

it.each(seedsOf('deaths'))(
  'the next one may die as well, and the one after it (seed %i)',
  { timeout: 3_600_000 },
  async (seed) => {
    const chance = new Chance(seed);
    const firsts = await countOf([]);
    const stories: Story[] = [];
    const add = (...deaths: number[]): void => {
      for (const variant of howMany === 'all' ? variants : [variants[chance.between(0, variants.length - 1)]!])
        stories.push({ deaths, ...variant });
    };
    for (let first = 1; first <= firsts; first++) {
      const seconds = await countOf([first]);
      for (let second = 1; second <= seconds; second++)
        if (howMany === 'all' || chance.happens(0.06)) {
          add(first, second);
          if (chance.happens(0.5)) add(first, second, chance.between(1, 40));
        }
    }
    const { failed, played } = await failures(stories);
    if (howMany) console.log(`${played} stories with two or three deaths`);
    expect(failed.slice(0, 20).join('\n')).toBe('');
  },
);
