/** How tenants share the thread: with a clock that only their work moves, and turns of the event loop that the test takes. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Thread, type TimeAccount } from '../../../services/broker/tenant/tenant.js';
import { heardFaults, type HeardFaults } from '../../support/heard-faults.js';
import { ManualClock } from '../../support/manual-clock.js';

class World {
  readonly clock = new ManualClock();
  readonly log: string[] = [];
  #deferred: (() => void)[] = [];
  readonly thread = new Thread(this.clock, (run) => void this.#deferred.push(run));

  account(percent: number): TimeAccount {
    const account = this.thread.account();
    account.setShare(percent);
    return account;
  }
  /** `count` steps of `ms` each. */
  job(name: string, ms: number, count: number) {
    return {
      step: () => {
        this.clock.advance(ms);
        this.log.push(name);
        return --count > 0;
      },
    };
  }
  /** One turn of the event loop: how long it took. */
  turn(): number {
    const startedMs = this.clock.monotonicMs();
    for (const run of this.#deferred.splice(0)) run();
    return this.clock.monotonicMs() - startedMs;
  }
  get isArmed(): boolean {
    return this.#deferred.length > 0;
  }
  count(name: string): number {
    return this.log.filter((one) => one === name).length;
  }
}

function throwIt(error: unknown): never {
  throw error;
}

let faults: HeardFaults;
beforeEach(() => (faults = heardFaults()));
afterEach(() => faults.stop());

describe('a tenant with time left', () => {
  it('is served at once, and no turn is asked for', () => {
    const world = new World();
    const account = world.account(25);
    for (let i = 0; i < 100; i++) {
      account.start(world.job('a', 0.02, 1));
      world.clock.advance(1);
    }
    expect([world.count('a'), world.isArmed, world.thread.waiting]).toEqual([100, false, 0]);
    expect(account.usedMs).toBeCloseTo(2);
  });

  it('gives way after a slice', () => {
    const world = new World();
    world.account(25).start(world.job('a', 0.25, 100));
    expect(world.count('a')).toBe(4);
    expect(world.isArmed).toBe(true);
  });

  it('gets its share of the time that goes by, and saves no more than a quantum of it', () => {
    const world = new World();
    const account = world.account(25);
    for (let i = 0; i < 2; i++) {
      account.charge(() => world.clock.advance(10)); // 2 were saved, 2.5 have come meanwhile.
      world.clock.advance(21);
      expect(account.begin()).toBe(false);
      world.clock.advance(2);
      expect(account.begin()).toBe(true);
      account.end();
      world.clock.advance(10_000);
    }
  });
});

describe('tenants that want all they can get', () => {
  it('is one of them alone, it gets all', () => {
    const world = new World();
    world.account(1).start(world.job('a', 0.1, 1000));
    let turns = 0;
    for (; world.isArmed; turns++) expect(world.turn()).toBeLessThan(5);
    expect(world.clock.monotonicMs()).toBeCloseTo(100);
    expect(turns).toBeLessThan(55);
  });

  it('share by their shares, whatever a step of theirs takes', () => {
    const world = new World();
    world.account(100).start(world.job('whole', 0.1, Infinity));
    world.account(25).start(world.job('quarter', 0.1, Infinity));
    world.account(25).start(world.job('slow', 5, Infinity));
    while (world.clock.monotonicMs() < 6000) world.turn();
    expect(world.count('whole') * 0.1).toBeGreaterThan(3900);
    expect(world.count('quarter') * 0.1).toBeGreaterThan(950);
    expect(world.count('slow') * 5).toBeGreaterThan(950);
  });

  it('hold up the sockets for one quantum at most beside their turn, however many they are', () => {
    const world = new World();
    for (let i = 0; i < 100; i++) world.account(25).start(world.job(`${i}`, 0.1, Infinity));
    for (let i = 0; i < 200; i++) expect(world.turn()).toBeLessThanOrEqual(4 + 2 + 0.1);
    expect(new Set(world.log).size).toBe(100);
  });

  it('are asked who has answers that need not wait, first', () => {
    const world = new World();
    world.thread.beforeTurn(() => world.log.push('flush'));
    world.account(25).start(world.job('a', 1, 2));
    world.turn();
    expect(world.log).toEqual(['a', 'flush', 'a']);
  });

  it('a debt is repaid in time, and no more than a second of it', () => {
    const world = new World();
    const account = world.account(25);
    account.charge(() => world.clock.advance(100));
    world.clock.advance(291);
    expect(account.begin()).toBe(false);
    world.clock.advance(2);
    expect(account.begin()).toBe(true);
    account.end();
    account.begin();
    world.clock.advance(3_600_000);
    account.end();
    account.add(world.job('a', 0.1, 1));
    for (let i = 0; i < 10; i++) world.account(25).start(world.job('other', 0.1, Infinity));
    for (let rounds = 0; rounds < 510 * 10 && world.count('a') === 0; rounds++) world.turn();
    expect(world.count('a')).toBe(1);
  });
});

describe('connections and jobs of one tenant', () => {
  it('take turns, and every other slice is one of jobs', () => {
    const world = new World();
    const account = world.account(100);
    account.charge(() => world.clock.advance(8));
    for (const name of ['x', 'y', 'z']) account.queue(world.job(name, 1, 2));
    account.add(world.job('job', 1, 2));
    while (world.isArmed) world.turn();
    expect(world.log).toEqual(['x', 'job', 'y', 'job', 'z', 'x', 'y', 'z']);
  });

  it('whoever has left is not called any more', () => {
    const world = new World();
    const account = world.account(25);
    const [reader, job] = [world.job('reader', 1, 2), world.job('job', 1, 2)];
    account.queue(reader);
    account.add(job);
    account.leave(reader);
    account.remove(job);
    world.turn();
    expect([world.log, world.isArmed]).toEqual([[], false]);
  });

  it('one that throws ends alone', () => {
    const world = new World();
    const account = world.account(25);
    account.add({
      step: () => {
        throw new Error('planted');
      },
    });
    account.add(world.job('b', 1, 2));
    world.turn();
    expect(world.log).toEqual(['b', 'b']);
    expect(faults.counts).toEqual({ slice: 1 });
  });

  it('a step for each of many: in order, in slices, whatever one of them throws', async () => {
    const world = new World();
    const account = world.account(25);
    const seen: number[] = [];
    const done = account.each(
      'control',
      Array.from({ length: 10 }, (_, i) => i),
      (i) => {
        world.clock.advance(0.5);
        if (i === 3) throw new Error('planted');
        seen.push(i);
      },
    );
    expect(seen).toEqual([0, 1]);
    while (world.isArmed) world.turn();
    await done;
    expect(seen).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9]);
    expect(faults.counts).toEqual({ control: 1 });
  });

  it('an item may have steps of its own, and ends with the one that throws', async () => {
    const world = new World();
    const account = world.account(25);
    const seen: string[] = [];
    const stepsOf = (item: string, count: number) => ({
      step: () => {
        world.clock.advance(0.5);
        seen.push(item);
        if (item === 'b') throw new Error('planted');
        return --count > 0;
      },
    });
    const done = account.eachThrough('control', ['a', 'b', 'none', 'c'], (item) =>
      item === 'none' ? undefined : stepsOf(item, 3),
    );
    expect(seen).toEqual(['a', 'a']);
    while (world.isArmed) world.turn();
    await done;
    expect(seen).toEqual(['a', 'a', 'a', 'b', 'c', 'c', 'c']);
    expect(faults.counts).toEqual({ control: 1 });
  });

  it('whoever waits for a job hears of its end, or what it has thrown', async () => {
    const world = new World();
    const account = world.account(25);
    const done = account.through(world.job('a', 0.5, 5)).then(() => world.log.push('done'));
    while (world.isArmed) world.turn();
    await done;
    expect(world.log).toEqual(['a', 'a', 'a', 'a', 'a', 'done']);
    const failing = { step: () => world.log.length > 100 || throwIt(new Error('planted')) };
    await expect(account.through(failing)).rejects.toThrow('planted');
    expect([account.isWaiting, faults.counts]).toEqual([false, {}]);
  });

  it('what was added during a slice is called after it, and `idle` waits for it', async () => {
    const world = new World();
    const account = world.account(25);
    account.start({
      step: () => {
        account.start(world.job('inner', 0.1, 1));
        world.log.push('outer');
        return false;
      },
    });
    expect(world.log).toEqual(['outer']);
    const idle = world.thread.idle().then(() => world.log.push('idle'));
    world.turn();
    await idle;
    expect(world.log).toEqual(['outer', 'inner', 'idle']);
  });

  it('`turn` waits while there is no time', async () => {
    const world = new World();
    const account = world.account(25);
    await account.turn();
    account.charge(() => world.clock.advance(4));
    const turn = account.turn().then(() => world.log.push('turn'));
    expect(world.isArmed).toBe(true);
    await Promise.resolve();
    expect(world.log).toEqual([]);
    world.turn();
    await turn;
  });
});
