import { expect, test } from 'vitest';
import { Crowd } from '../../../services/broker/transport/crowd.js';
import { addressGroup } from '../../../services/kernel/kernel.js';
import { Chance } from '../../support/chance.js';

interface Someone {
  readonly group: string;
}

test('is what a search through all of them would find, after any steps', () => {
  const chance = new Chance(7);
  for (let round = 0; round < 30; round++) {
    const crowd = new Crowd<Someone>();
    const all: Someone[] = [];
    for (let step = 0; step < 300; step++) {
      if (all.length > 0 && chance.happens(0.48)) crowd.remove(all.splice(chance.between(0, all.length - 1), 1)[0]!);
      else {
        const member = { group: `g${chance.between(0, 5)}` };
        all.push(member);
        crowd.add(member);
      }
      const of = (group: string): Someone[] => all.filter((member) => member.group === group);
      const groups = [...new Set(all.map(({ group }) => group))];
      const largest = Math.max(0, ...groups.map((group) => of(group).length));
      expect([crowd.size, crowd.largest]).toEqual([all.length, largest]);
      expect(crowd.oldest).toBe(all[0]);
      for (const group of groups) {
        expect(crowd.sizeOf(group)).toBe(of(group).length);
        expect(crowd.oldestOf(group)).toBe(of(group)[0]);
      }
      const found = crowd.oldestOfLargest;
      if (all.length === 0) expect(found).toBeUndefined();
      else expect([of(found!.group).length, of(found!.group)[0]]).toEqual([largest, found]);
    }
  }
});

test('somebody who has been taken out may be taken out again', () => {
  const crowd = new Crowd<Someone>();
  const [one, other] = [{ group: 'a' }, { group: 'a' }];
  crowd.add(one);
  crowd.add(other);
  crowd.remove(one);
  crowd.remove(one);
  expect([crowd.size, crowd.largest, crowd.oldest]).toEqual([1, 1, other]);
});

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:db8::9', '2001:db8:0:0::/64'],
  ['2001:db8::', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s counts as %s', (address, group) => {
  expect(addressGroup(address)).toBe(group);
});
