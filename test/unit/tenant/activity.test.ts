/** Looks at many tenants, of which few do anything, find those few. */
import { expect, test } from 'vitest';
import { Activity } from '../../../services/broker/tenant/activity.js';

const names = (found: ReadonlySet<{ name: string }>): string[] => [...found].map(({ name }) => name);
const some = (...names: string[]) => names.map((name) => ({ name, isTouched: false }));

test('each look has those that were touched since its last one, once each', () => {
  const [a, b] = some('a', 'b');
  const activity = new Activity<{ name: string; isTouched: boolean }>();
  const [often, seldom] = [activity.look(), activity.look()];
  for (const one of [a!, a!, b!, a!]) activity.touch(one);
  expect(names(often())).toEqual(['a', 'b']);
  expect(names(often())).toEqual([]);
  activity.touch(b!);
  expect(names(often())).toEqual(['b']);
  expect(names(seldom())).toEqual(['a', 'b']);
  expect(names(seldom())).toEqual([]);
});

test('one that is touched while others are looked at comes with the next look', () => {
  const [a] = some('a');
  const activity = new Activity<{ name: string; isTouched: boolean }>();
  const look = activity.look();
  activity.touch(a!);
  for (const one of look()) activity.touch(one);
  expect(names(look())).toEqual(['a']);
});

test('one that has gone is in no look any more', () => {
  const [a, b] = some('a', 'b');
  const activity = new Activity<{ name: string; isTouched: boolean }>();
  const [one, other] = [activity.look(), activity.look()];
  activity.touch(a!);
  one();
  activity.touch(b!);
  activity.forget(a!);
  activity.forget(b!);
  expect([names(one()), names(other())]).toEqual([[], []]);
  activity.touch(a!); // Something of it was still under way.
  expect([names(one()), names(other())]).toEqual([[], []]);
});
