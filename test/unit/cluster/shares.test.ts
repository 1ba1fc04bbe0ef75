/** What may be kept for another broker: of all, of each tenant, and who waits. */
import { describe, expect, it } from 'vitest';
import { keptBytesMax } from '../../../services/broker/cluster/cluster.js';
import type { Home } from '../../../services/broker/cluster/cluster.js';
import { Shares } from '../../../services/broker/cluster/shares.js';
import type { TenantScope } from '../../../services/kernel/kernel.js';
import { Chance } from '../../support/chance.js';
import { seed } from '../../support/seeds.js';

function tenant(name: string): Home & { hindered: number } {
  return {
    ...{ scope: name as TenantScope, hindered: 0 },
    hinder() {
      this.hindered++;
    },
    unhinder() {
      this.hindered--;
    },
  } as Home & { hindered: number };
}

describe('what is kept for a broker', () => {
  it('is the half for one tenant alone, and leaves room for the next', () => {
    const shares = new Shares();
    const [one, other] = [tenant('a'), tenant('b')];
    const step = 1 << 16;
    while (shares.hasRoom(shares.of(one))) shares.take(shares.of(one), step);
    expect(shares.bytes).toBe(keptBytesMax / 2);
    shares.look(shares.of(one));
    shares.look(shares.of(one));
    shares.look(shares.of(other));
    expect([one.hindered, other.hindered, shares.hasRoom(shares.of(other))]).toEqual([1, 0, true]);
    while (shares.hasRoom(shares.of(other))) shares.take(shares.of(other), step);
    expect(shares.of(other).bytes).toBe(keptBytesMax / 4);
    shares.give(shares.of(one), 2 * step);
    shares.given();
    expect(one.hindered).toBe(1); // The other one has taken what was room.
    shares.give(shares.of(other), shares.of(other).bytes);
    shares.given();
    expect(one.hindered).toBe(0);
  });

  it('never comes to more than it may, whoever comes and goes, and nobody waits for ever', () => {
    const chance = new Chance(seed);
    const shares = new Shares();
    const tenants = Array.from({ length: 20 }, (_, i) => tenant(String(i)));
    const kept: [home: Home, bytes: number][] = [];
    const largest = 400_000;
    let most = 0;
    for (let i = 0; i < 20_000; i++) {
      const home = tenants[chance.between(0, 19)]!;
      if (chance.happens(0.7)) {
        // A publisher that waits sends nothing.
        if (home.hindered > 0) continue;
        const bytes = chance.between(1, largest);
        shares.take(shares.of(home), bytes);
        shares.look(shares.of(home));
        kept.push([home, bytes]);
      } else if (kept.length > 0) {
        const [[paid, bytes]] = kept.splice(chance.between(0, kept.length - 1), 1) as [[Home, number]];
        shares.give(shares.of(paid), bytes);
        shares.given();
      }
      most = Math.max(most, shares.bytes);
      expect(shares.bytes).toBe(kept.reduce((sum, [, bytes]) => sum + bytes, 0));
    }
    expect(most).toBeGreaterThan(keptBytesMax / 2);
    // And what each had under way when it was told to wait: here one message.
    expect(most).toBeLessThanOrEqual(keptBytesMax + largest * tenants.length);
    for (const [home, bytes] of kept) shares.give(shares.of(home), bytes);
    shares.given();
    expect([shares.bytes, tenants.some(({ hindered }) => hindered !== 0)]).toEqual([0, false]);
  });

  it('is nothing when it has died, and those that waited go on', () => {
    const shares = new Shares();
    const one = tenant('a');
    shares.take(shares.of(one), keptBytesMax);
    shares.look(shares.of(one));
    shares.end();
    expect(one.hindered).toBe(0);
  });
});
