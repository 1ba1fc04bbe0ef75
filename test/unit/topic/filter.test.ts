import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  filterMatches,
  filtersOverlap,
  parseShared,
  levelsError,
  topicFilterError,
  topicNameError,
  TopicTree,
  wildcardPattern,
} from '../../../services/topic/topic.js';
import { random, seed } from '../../support/seeds.js';

/** Levels of names in the oracle; `x` stands for whatever a filter does not name. */
const nameLevels = ['a', 'b', '', '$s', 'x'];
const depthMax = 4;

/**
 * Every name of up to four levels: filters of up to three cannot tell apart more. With the empty one, which is not valid:
 * filters that meet there only count as overlapping, which is the safe side.
 */
const names: string[] = [];
const grow = (levels: readonly string[]): void => {
  if (levels.length > 0) names.push(levels.join('/'));
  if (levels.length < depthMax) for (const level of nameLevels) grow([...levels, level]);
};
grow([]);

/** The specification's words (section 4.7), level by level and without cleverness. */
function oracle(filter: string, name: string): boolean {
  if (/^[+#]/.test(filter) && name.startsWith('$')) return false;
  const walk = (f: readonly string[], n: readonly string[]): boolean => {
    if (f.length === 0) return n.length === 0;
    if (f[0] === '#') return true;
    if (n.length === 0) return false;
    return (f[0] === '+' || f[0] === n[0]) && walk(f.slice(1), n.slice(1));
  };
  return walk(filter.split('/'), name.split('/'));
}

const filter = fc
  .tuple(fc.array(fc.constantFrom('a', 'b', '', '+', '$s'), { maxLength: 3 }), fc.boolean())
  .map(([levels, rest]) => [...levels.slice(0, rest ? 2 : 3), ...(rest ? ['#'] : [])].join('/'))
  .filter((text) => text.length > 0);

describe('grammar', () => {
  it.each(['a', '/', '//', 'a b', 'a/', '/a', '$SYS/x', 'ä/漢', 'a'.repeat(65_535)])('%.20s is a topic name', (name) =>
    expect(topicNameError(name)).toBeUndefined(),
  );
  it.each(['', 'a\0', '+', 'a/+', 'a+', '#', 'a/#', 'a'.repeat(65_536), 'ä'.repeat(32_768)])(
    '%.20j is no topic name',
    (name) => expect(topicNameError(name)).toEqual(expect.any(String)),
  );
  it.each(['#', '+', '/', '+/+', '/+', '+/', 'a/#', 'a/+/#', '+/a/#', '/#', '$SYS/#', 'a//b'])(
    '%s is a filter',
    (text) => expect(topicFilterError(text)).toBeUndefined(),
  );
  it.each(['', 'a#', 'a/#/b', '#/', '##', 'a+', '+a', 'a/b+/c', '++', 'a/#b', 'a\0b', 'a'.repeat(65_536)])(
    '%.20j is no filter',
    (text) => expect(topicFilterError(text)).toEqual(expect.any(String)),
  );
  it.each([
    ['$share/g/a', { group: 'g', filter: 'a' }],
    ['$share/g//', { group: 'g', filter: '/' }],
    ['$share/g/$share/h/a', { group: 'g', filter: '$share/h/a' }],
    ['$share/g/+/#', { group: 'g', filter: '+/#' }],
    ['$shared/g/a', undefined],
    ['a/$share/g', undefined],
  ])('%s is shared as it says', (text, result) => expect(parseShared(text)).toEqual(result));
  it.each(['$share', '$share/', '$share/g', '$share/g/', '$share//a', '$share/g+/a', '$share/#/a', '$share/g/a#'])(
    '%s is meant to be shared and is not well formed',
    (text) => expect(parseShared(text)).toEqual(expect.any(String)),
  );
});

it.each([
  ['a', undefined],
  ['a/b/c', undefined],
  ['///', /at most 3 levels, and this one has 4/],
  [`${'/'.repeat(65_534)}`, /has 65535/],
])('%.20s has as many levels as it has', (text, expected) => {
  const error = levelsError('a topic name', text, 3);
  if (expected === undefined) expect(error).toBeUndefined();
  else expect(error).toMatch(expected);
});

describe(`filters against every name of ${depthMax} levels (seed ${seed})`, () => {
  it('match what the specification says', () => {
    fc.assert(
      fc.property(filter, (text) => {
        for (const name of names)
          if (filterMatches(text, name) !== oracle(text, name)) expect.fail(`${text} and ${name}`);
      }),
      random(100),
    );
  });

  it('overlap exactly when some name says so', () => {
    fc.assert(
      fc.property(filter, filter, (a, b) => {
        expect(filtersOverlap(a, b)).toBe(names.some((name) => oracle(a, name) && oracle(b, name)));
      }),
      random(1500),
    );
  });
});

describe('the pattern of wildcards', () => {
  it.each([
    ['a/b', ''],
    ['a+b', ''],
    ['#', '#0'],
    ['a/#', '#1'],
    ['+', '+0'],
    ['a/+/b/+/#', '+1,+3,#4'],
    ['x/+/y/+/#', '+1,+3,#4'],
  ])('of %s is %j', (text, pattern) => expect(wildcardPattern(text)).toBe(pattern));

  it('tells apart all filters that match one name', () => {
    fc.assert(
      fc.property(fc.uniqueArray(filter, { maxLength: 60 }), fc.constantFrom(...names), (filters, name) => {
        const patterns = filters.filter((text) => oracle(text, name)).map((text) => wildcardPattern(text));
        expect(new Set(patterns).size).toBe(patterns.length);
      }),
      random(500),
    );
  });
});

/** All filters of so many levels that are each one of the words, up to `max` of them, with the same tail. */
function combinations(levels: number, words: readonly string[], tail: string, max: number): string[] {
  return Array.from({ length: Math.min(max, words.length ** levels) }, (_, n) =>
    Array.from({ length: levels }, (_each, i) => words[Math.floor(n / words.length ** i) % words.length]!).join('/'),
  ).map((head, n) => head + tail.replace('N', `${n}`));
}

describe('what a match costs', () => {
  const same = (levels: number, last = ''): string => Array<string>(levels).fill('a').join('/') + last;
  // filters | names
  it.each([
    ['all of 13 levels', combinations(13, ['+', 'a'], '', Infinity), [same(13), same(12, '/x'), same(14), 'x']],
    ['all of 13 levels and what is below', combinations(13, ['+', 'a'], '/#', Infinity), [same(13), same(128)]],
    ['many of 20 levels', combinations(20, ['+', 'a'], '/#', 10_000), [same(20), same(25)]],
    ['deep ones that end apart', combinations(13, ['+', 'a'], `/${'+/a/'.repeat(57)}N`, Infinity), [same(127, '/7')]],
    ['# at each level', Array.from({ length: 127 }, (_, i) => `${'+/'.repeat(i)}#`), [same(127), 'a']],
    ['a million topics below one', combinations(6, [...'0123456789'], '/+', 100_000), ['1/2/3/4/5/6/7', '1/2/3']],
  ])('is less than the patterns of wildcards at each level, and twice the filters: %s', (_what, filters, asked) => {
    const tree = new TopicTree<string>();
    const patterns = new Set(filters.map((text) => wildcardPattern(text)));
    for (const text of filters) tree.set(text, text);
    for (const name of asked) {
      let found = 0;
      const looked = tree.match(name, () => found++);
      expect(found).toBeLessThanOrEqual(patterns.size);
      expect(looked).toBeLessThanOrEqual(Math.min(2 * filters.length, patterns.size * name.split('/').length));
      expect(looked).toBeGreaterThanOrEqual(found);
    }
  });
});

describe(`TopicTree (seed ${seed})`, () => {
  it('matches what each filter matches by itself, whatever was set and deleted before', () => {
    const change = fc.tuple(filter, fc.constantFrom('set', 'make', 'delete'));
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 40 }),
        fc.array(fc.constantFrom(...names), { maxLength: 20 }),
        (changes, asked) => {
          const tree = new TopicTree<string>();
          const model = new Set<string>();
          for (const [text, what] of changes) {
            const before = tree.version;
            if (what === 'set') tree.set(text, text);
            else if (what === 'make') expect(tree.getOrMake(text, (made) => made)).toBe(text);
            else expect(tree.delete(text)).toBe(model.has(text));
            const hasChanged = what === 'set' || (what === 'make') !== model.has(text);
            expect(tree.version !== before).toBe(hasChanged);
            if (what === 'delete') model.delete(text);
            else model.add(text);
            expect(tree.size).toBe(model.size);
          }
          for (const text of [...model, 'a/never', '+'])
            expect(tree.get(text)).toBe(model.has(text) ? text : undefined);
          for (const name of asked) {
            const found: string[] = [];
            tree.match(name, (value) => found.push(value));
            expect(found.sort()).toEqual([...model].filter((text) => oracle(text, name)).sort());
          }
        },
      ),
      random(300),
    );
  });

  it('says each filter that stays while others come and go, once, and none that has never been', () => {
    const change = fc.tuple(filter, fc.boolean());
    fc.assert(
      fc.property(
        fc.array(filter, { maxLength: 30 }),
        fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 40 }),
        (begun, changes) => {
          const tree = new TopicTree<string>();
          for (const text of begun) tree.set(text, text);
          const staying = new Set(begun);
          const ever = new Set(begun);
          const said: string[] = [];
          for (const text of tree) {
            said.push(text);
            for (const [other, isSet] of changes.shift() ?? []) {
              if (isSet) tree.set(other, other);
              else tree.delete(other);
              staying.delete(other);
              ever.add(other);
            }
          }
          for (const text of staying) expect(said.filter((one) => one === text)).toEqual([text]);
          for (const text of said) expect(ever).toContain(text);
        },
      ),
      random(500),
    );
  });

  it('keeps apart what begins alike, however the levels lie together', () => {
    const level = fc.constantFrom('a', 'a', 'b', '', '+', 'ab');
    const long = fc
      .tuple(fc.array(level, { minLength: 1, maxLength: 7 }), fc.boolean())
      .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))
      .filter((text) => text.length > 0);
    const change = fc.record({ text: long, deletes: fc.option(fc.nat()) });
    const name = fc.array(fc.constantFrom('a', 'a', 'b', '', 'ab'), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.array(name, { maxLength: 10 }), (changes, asked) => {
        const tree = new TopicTree<string>();
        const model = new Set<string>();
        for (const { text, deletes } of changes) {
          tree.set(text, text);
          model.add(text);
          if (deletes === null) continue;
          const one = [...model][deletes % model.size]!;
          expect(tree.delete(one)).toBe(true);
          model.delete(one);
        }
        for (const levels of [...asked, ...[...model].map((text) => text.replaceAll(/[+#]/g, 'a').split('/'))]) {
          const text = levels.join('/');
          const found: string[] = [];
          tree.match(text, (value) => found.push(value));
          expect(found.sort()).toEqual([...model].filter((each) => filterMatches(each, text)).sort());
          expect(tree.get(text)).toBe(model.has(text) ? text : undefined);
        }
        for (const text of model) expect(tree.delete(text)).toBe(true);
        tree.match('a', () => expect.unreachable());
      }),
      random(500),
    );
  });

  it('bears a name of tens of thousands of levels', () => {
    const tree = new TopicTree<number>();
    const deep = Array(30_000).fill('a').join('/');
    tree.set(deep, 1);
    tree.set('#', 2);
    tree.set('+/#', 3);
    const found: number[] = [];
    tree.match(deep, (value) => found.push(value));
    expect(found.sort()).toEqual([1, 2, 3]);
    expect(tree.delete(deep)).toBe(true);
  });
});
