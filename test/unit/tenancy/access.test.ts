import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { filterMatches, topicLevelsMax } from '../../../services/topic/topic.js';
import {
  accessWork,
  compileAccess,
  type Grant,
  grantError,
  plainUserName,
  sdkOf,
  splitUserName,
} from '../../../services/tenancy/tenancy.js';
import { plainAccess } from '../../support/plain-access.js';
import { random, seed } from '../../support/seeds.js';

const sensor = { clientId: 'c1', username: 'sensor' };

function grant(text: string): Grant {
  const [effect, action, topic] = text.split(' ') as [Grant['effect'], Grant['action'], string];
  return { effect, action, topic };
}

/** A hundred, and how often one of them has been read. */
function countedGrants() {
  let read = 0;
  const grants = Array.from({ length: 100 }, (_, i) => ({
    ...grant('allow all x'),
    get topic() {
      read++;
      return `a/\${clientid}/${i}`;
    },
  }));
  return { grants, read: () => read };
}

describe('access', () => {
  // grants | who asks, when it matters | may publish | may not publish | may subscribe | may not subscribe
  const rows: {
    name: string;
    grants?: string[];
    who?: Partial<typeof sensor>;
    publish?: string[];
    notPublish?: string[];
    subscribe?: string[];
    notSubscribe?: string[];
  }[] = [
    {
      name: 'without grants everything is allowed but what only the service publishes',
      publish: ['a', 'a/b', '$other/a', '$SYSTEM', '/', '$SYS/broker/connection/b/state'],
      notPublish: [
        '$SYS',
        '$SYS/broker',
        '$SYS/broker/connection',
        '$SYS/broker/connections/x',
        '$share/g/a',
        '$share',
      ],
      subscribe: ['#', '+/+', '$SYS/#', 'a'],
      notSubscribe: ['$share/g/a'],
    },
    { name: 'no grant matches: denied', grants: [], notPublish: ['a'], notSubscribe: ['a', '#'] },
    {
      name: 'an allow covers what its filter covers',
      grants: ['allow all a/+/c', 'allow publish x/#'],
      publish: ['a/b/c', 'x', 'x/', 'x/y/z'],
      notPublish: ['a/c', 'a/b', 'a/b/c/d', 'xy', 'X', '$SYS'],
      subscribe: ['a/b/c', 'a/+/c'],
      notSubscribe: ['a/#', 'a/+/+', '+/b/c', '#', 'x', 'x/#'],
    },
    {
      name: 'a deny beats an allow, in any order',
      grants: ['deny publish a/secret/#', 'allow all a/#', 'deny subscribe +/private'],
      publish: ['a/b', 'a/private'],
      notPublish: ['a/secret', 'a/secret/x'],
      subscribe: ['a/b', 'a/secret', 'a/private/x'],
      notSubscribe: ['a/private', 'a/+', 'a/#', 'a/+/#'],
    },
    {
      name: 'wildcards in front leave topics with $ alone',
      grants: ['allow all #', 'allow subscribe $SYS/#'],
      publish: ['a', 'a/$SYS'],
      notPublish: ['$other/a', '$SYS/a', '$SYS/broker/connection/b/state'],
      subscribe: ['#', 'a', '$SYS/clients', '$SYS/#'],
      notSubscribe: ['$other/a', '$share/g/a'],
    },
    {
      name: 'variables stand for the client',
      grants: ['allow all ${clientid}/#', 'allow publish dev-${clientid}/${username}'],
      publish: ['c1/a', 'c1', 'dev-c1/sensor'],
      notPublish: ['c2/a', '${clientid}/a', 'dev-c1/other'],
      subscribe: ['c1/#'],
      notSubscribe: ['+/a', 'c2/a'],
    },
    {
      name: 'a client id that reads like a variable stays text',
      grants: ['allow all t/${clientid}/x'],
      who: { clientId: '${username}' },
      publish: ['t/${username}/x'],
      notPublish: ['t/sensor/x'],
    },
    ...['a/b', '+', '#', 'a+', 'x\0y'].map((clientId) => ({
      name: `an allow matches nothing with the client id ${JSON.stringify(clientId)}, and a deny grows`,
      grants: ['allow all ${clientid}/#', 'allow all t/${clientid}', 'allow all t/#', 'deny all t/d/${clientid}/x'],
      who: { clientId },
      publish: ['t/a', 't/e/x'],
      notPublish: ['a/b/c', 'a/b', '+/x', 't/d/x', 't/d', 't/d/a/b/x', 't/d/other/y'],
      subscribe: ['t/a'],
      notSubscribe: ['+/x', '#', 'a/b/#', 't/+/x', 't/d/#', 't/d/q/y'],
    })),
    {
      name: 'a deny whose first level is a bad value denies everything',
      grants: ['allow all #', 'allow all $other/#', 'deny publish ${clientid}/x'],
      who: { clientId: '$other/y' },
      notPublish: ['a', '$other/y/x', '$other/z'],
      subscribe: ['#', '$other/a'],
    },
    {
      name: 'a bridge may say its state where a grant names the place, and # does not',
      grants: [
        'allow all #',
        'allow publish $SYS/broker/connection/+/state',
        'deny publish $SYS/broker/connection/x/#',
      ],
      publish: ['$SYS/broker/connection/b/state'],
      notPublish: ['$SYS/broker/connection/b', '$SYS/broker/connection/x/state', '$SYS/broker/uptime'],
      notSubscribe: ['$SYS/broker/connection/b/state'],
    },
    {
      name: 'a client id with $ in front does not reach hidden topics',
      grants: ['allow all ${clientid}/#', 'deny all ${clientid}/private', 'allow all $dev/${clientid}'],
      who: { clientId: '$SYS' },
      publish: ['$dev/$SYS'],
      notPublish: ['$SYS/x', 'x'],
      notSubscribe: ['$SYS/#', '$SYS/x', '#'],
    },
    {
      name: 'a $ in front of a client id widens nothing behind the first level: it is allowed and denied like any other',
      grants: [
        'allow all dev/${clientid}/#',
        'allow all log/#',
        'deny all log/${clientid}/#',
        'deny all dev/+/private',
      ],
      who: { clientId: '$SYS' },
      publish: ['dev/$SYS/x', 'dev/$SYS', 'log/other/x'],
      notPublish: ['dev/other/x', '$SYS/x', 'log/$SYS/x', 'log/$SYS', 'dev/$SYS/private'],
      subscribe: ['log/other/#'],
      notSubscribe: ['$SYS/#', '#', 'dev/+/x', 'dev/other/#', 'log/#', 'log/$SYS/a', 'dev/$SYS/#'],
    },
    {
      name: 'a deny whose first level is a client id with a $ in front denies those topics alone',
      grants: ['allow all #', 'allow all $dev/#', 'deny all ${clientid}/#'],
      who: { clientId: '$dev' },
      publish: ['a', 'dev/x'],
      notPublish: ['$dev/x', '$dev'],
      subscribe: ['#', 'dev/#'],
      notSubscribe: ['$dev/#', '$dev/x'],
    },
  ];
  it.each(rows)('$name', ({ grants, who, publish, notPublish, subscribe, notSubscribe }) => {
    const access = compileAccess(grants?.map(grant), { ...sensor, ...who });
    const ask = (may: (topic: string) => boolean, topics: string[] = []): [string, boolean][] =>
      topics.map((topic) => [topic, may(topic)]);
    const answer = (topics: string[] = [], is: boolean): [string, boolean][] => topics.map((topic) => [topic, is]);
    expect(ask((topic) => access.mayPublish(topic), publish)).toEqual(answer(publish, true));
    expect(ask((topic) => access.mayPublish(topic), notPublish)).toEqual(answer(notPublish, false));
    expect(ask((topic) => access.maySubscribe(topic), subscribe)).toEqual(answer(subscribe, true));
    expect(ask((topic) => access.maySubscribe(topic), notSubscribe)).toEqual(answer(notSubscribe, false));
  });

  /**
   * The definition itself, over every topic of a small world: its levels hold one word (`z`) that no filter names, and
   * its topics are one level deeper than any filter, so that what holds in it holds everywhere. What a filter asks for
   * is judged level by level, so `/#` includes its parent, the one empty level, though no message can have that topic.
   */
  const words = ['a', 'b', '$x', '', 'z'];
  const levelled = [1, 2, 3, 4].flatMap((depth) =>
    Array.from({ length: words.length ** depth }, (_, n) =>
      Array.from({ length: depth }, (_, i) => words[Math.floor(n / words.length ** i) % words.length]!).join('/'),
    ),
  );
  const world = levelled.filter((topic) => topic !== '');
  const filters = fc
    .tuple(
      fc.array(fc.constantFrom('a', 'b', '$x', '', '+', '${clientid}'), { minLength: 1, maxLength: 3 }),
      fc.boolean(),
    )
    .map(([levels, isMulti]) => (isMulti ? [...levels.slice(0, 2), '#'] : levels).join('/'))
    .filter((filter) => filter !== '');
  const grants = fc.array(
    fc.record({
      effect: fc.constantFrom('allow' as const, 'deny' as const),
      action: fc.constantFrom('publish' as const, 'subscribe' as const, 'all' as const),
      topic: filters,
    }),
    { maxLength: 4 },
  );

  it('agrees with its definition in a small world', () => {
    fc.assert(
      fc.property(grants, filters, fc.constantFrom('a', 'b'), (some, asked, clientId) => {
        const filter = asked.replaceAll('${clientid}', 'b');
        const access = compileAccess(some, { clientId, username: 'u' });
        const matched = (effect: string, action: string): ((topic: string) => boolean)[] =>
          some
            .filter((g) => g.effect === effect && (g.action === action || g.action === 'all'))
            .map((g) => (topic) => filterMatches(g.topic.replaceAll('${clientid}', clientId), topic));
        const may = (action: string, topics: string[]): boolean =>
          matched('allow', action).some((allow) => topics.every(allow)) &&
          !matched('deny', action).some((deny) => topics.some(deny));
        for (const topic of world)
          if (access.mayPublish(topic) !== may('publish', [topic])) throw new Error(`publish ${topic}`);
        const asks = levelled.filter((topic) => filterMatches(filter, topic));
        expect(access.maySubscribe(filter)).toBe(may('subscribe', asks));
      }),
      { numRuns: 300 },
    );
  });

  /** Few words and many rules, so that many fit for a while; more than 32 of them take more than one word of bits. */
  const levels = (words: readonly string[], max: number): fc.Arbitrary<string> =>
    fc
      .tuple(fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: max }), fc.boolean())
      .map(([parts, isMulti]) => (isMulti ? [...parts.slice(0, -1), '#'] : parts).join('/'))
      .filter((filter) => filter !== '');
  const variables = [
    '${clientid}',
    '${username}',
    'a${clientid}',
    '${clientid}${clientid}',
    '$${clientid}',
    '${username}a',
  ];
  const manyGrants = fc.array(
    fc.record({
      effect: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const),
      action: fc.constantFrom('publish' as const, 'subscribe' as const, 'all' as const),
      topic: levels(['a', 'a', '+', '+', 'aa', '', '$x', ...variables], 6),
    }),
    { maxLength: 100, size: 'max' },
  );
  const who = fc.record({
    clientId: fc.constantFrom('a', 'aa', 'b', '$x', '$', 'a/b', '#', '+', '\0'),
    username: fc.constantFrom('a', 'aa', 'b', '$x', '${clientid}', 'a+'),
  });
  const asked = fc.array(levels(['a', 'a', 'a', '+', 'aa', 'aaa', 'b', '', '$x', '$aa'], 7), { maxLength: 40 });

  it(`says of many rules what each says by itself (seed ${seed})`, () => {
    fc.assert(
      fc.property(manyGrants, fc.array(who, { minLength: 1, maxLength: 4 }), asked, (some, clients, filters) => {
        for (const client of clients) {
          const access = compileAccess(some, client);
          const plain = plainAccess(some, client);
          for (const filter of filters) {
            const topic = filter.replaceAll(/[+#]/g, 'a');
            const got = [access.mayPublish(topic), access.maySubscribe(filter), access.maySubscribe(topic)];
            const wanted = [plain.mayPublish(topic), plain.maySubscribe(filter), plain.maySubscribe(topic)];
            expect(got, `${client.clientId} ${client.username} ${filter}`).toEqual(wanted);
          }
        }
      }),
      random(300),
    );
  });

  it('bears rules and topics of all levels that there may be', () => {
    const deep = (...last: string[]): string =>
      [...Array<string>(topicLevelsMax - last.length).fill('a'), ...last].join('/');
    const rules = Array.from({ length: 99 }, (_, i) =>
      grant(`deny all ${i.toString(2).replaceAll('0', '+/').replaceAll('1', 'a/')}${deep().slice(20)}/${i}`),
    );
    const access = compileAccess([...rules, grant('allow all #')], sensor);
    expect(access.mayPublish(deep())).toBe(true);
    expect(access.maySubscribe(deep('+'))).toBe(true);
    const [, denied] = rules.map(({ topic }) => topic.replaceAll('+', 'b'));
    expect([access.mayPublish(denied!), access.maySubscribe(denied!)]).toEqual([false, false]);
  });

  it('is compiled once for all clients of a credential, whatever their ids', () => {
    const { grants, read } = countedGrants();
    for (let i = 0; i < 1000; i++)
      for (const clientId of [`c${i}`, `$c${i}`, `c/${i}`]) {
        const access = compileAccess(grants, { clientId, username: 'u' });
        expect(access.mayPublish(`a/${clientId}/7`)).toBe(!clientId.includes('/'));
      }
    expect(read()).toBe(3 * grants.length); // For ids that are safe, that begin with `$`, and that are not safe.
  });

  it('is compiled in steps of one grant, which count for everybody who asks', () => {
    const { grants, read } = countedGrants();
    const [one, two] = ['one', 'two'].map((clientId) => ({ clientId, username: 'u' }));
    const works = [accessWork(grants, one!)!, accessWork(grants, two!)!];
    for (let i = 1; i < 100; i++) expect([works[i % 2]!.step(), read()]).toEqual([true, i]);
    expect([works[0]!.step(), works[1]!.step(), read()]).toEqual([false, false, 100]);
    expect([accessWork(grants, one!), accessWork(undefined, one!)]).toEqual([undefined, undefined]);
    expect([compileAccess(grants, one!).mayPublish('a/one/99'), read()]).toEqual([true, 100]);
  });

  const names = fc.string({ unit: fc.constantFrom('a', '/', '+', '#', '$', '\0', 'S'), minLength: 1, maxLength: 4 });
  it('never lets a hostile client id out of its own level', () => {
    fc.assert(
      fc.property(names, fc.constantFrom(...world), (clientId, topic) => {
        const allow = compileAccess([grant('allow all t/${clientid}/x'), grant('allow all ${clientid}')], {
          clientId,
          username: 'u',
        });
        const own = [`t/${clientId}/x`, clientId];
        expect(allow.mayPublish(topic) && (!own.includes(topic) || /[/$]/.test(clientId))).toBe(false);
        expect(allow.maySubscribe('#') || allow.maySubscribe('+') || allow.maySubscribe('t/#')).toBe(false);
        const deny = compileAccess([grant('allow all #'), grant('deny all t/${clientid}/x')], {
          clientId,
          username: 'u',
        });
        for (const literal of [`t/${clientId}/x`, `t/${clientId.replaceAll(/[+#]/g, 'a')}/x`])
          expect(deny.mayPublish(literal)).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('a grant', () => {
  it.each([
    ['allow all #', undefined],
    ['allow publish telemetry/${clientid}/#', undefined],
    ['deny subscribe a-${username}/+', undefined],
    ['allow subscribe $SYS/#', undefined],
    ['allow publish $SYS/x', /nobody can publish/],
    ['allow publish $SYS/broker/connection/#', undefined],
    ['allow publish $SYS/broker/+/x', /nobody can publish/],
    ['allow all a/#/b', /wildcard #/],
    ['allow all a+', /wildcard \+/],
    ['allow all a/${clientid}+', /wildcard \+/],
    ['allow all ', /at least one character/],
    ['allow all a\0b', /null character/],
    ['allow all $share/g/a', /without \$share/],
    ['allow all ${client}/a', /\$\{clientid\} and \$\{username\}/],
    [`allow all ${'x'.repeat(1025)}`, /at most 1024 bytes/],
    [`allow all ${'ä'.repeat(513)}`, /at most 1024 bytes/],
    [`allow all ${'x'.repeat(1024)}`, undefined],
    [`allow all ${'a/'.repeat(topicLevelsMax - 1)}#`, undefined],
    [
      `allow all ${'a/'.repeat(topicLevelsMax)}#`,
      /the topic of a grant can have at most 128 levels, and this one has 129/,
    ],
  ])('%s is judged', (text, expected) => {
    const error = grantError(grant(text));
    if (expected === undefined) expect(error).toBeUndefined();
    else expect(error).toMatch(expected);
  });
});

describe('a user name', () => {
  it.each([
    ['sensor-1@acme', { name: 'sensor-1', tenant: 'acme' }],
    ['a@b.org@acme', { name: 'a@b.org', tenant: 'acme' }],
    ['sensor-1', undefined],
    ['@acme', undefined],
    ['a@', undefined],
    ['a@ACME', undefined],
    ['a@ab', undefined],
    ['a/b@acme', undefined],
    ['..@acme', undefined],
    [`${'x'.repeat(65)}@acme`, undefined],
    ['', undefined],
    ['sensor@acme?SDK=NodeJSv2&Version=1', { name: 'sensor', tenant: 'acme' }],
    ['sensor@acme?x@other', { name: 'sensor', tenant: 'acme' }],
    ['sensor?@acme', undefined],
    ['?SDK=JavaScript', undefined],
  ])('%s is split at its last @', (userName, expected) => expect(splitUserName(userName)).toEqual(expected));
});

describe('what stands behind the user name', () => {
  it.each([
    ['sensor@acme', undefined],
    ['sensor@acme?SDK=NodeJSv2&Version=1.21.0', 'NodeJSv2/1.21.0'],
    ['sensor@acme?SDK=JavaScript', 'JavaScript'],
    ['sensor@acme?Version=1', undefined],
    ['?SDK=Python&Version=1', 'Python/1'],
    ['s@a?x-amz-customauthorizer-name=a&token=secret&SDK=CPPv2&Version=dev?', 'CPPv2/dev'],
    ['s@a?token=secret', undefined],
    ['s@a?SDK=%3Cb%3E\n\u202eX&Version=%00%FF', 'bX'],
    [`s@a?SDK=${'x'.repeat(1000)}&Version=${'1'.repeat(60_000)}`, `${'x'.repeat(32)}/${'1'.repeat(32)}`],
  ])('%.60s', (userName, sdk) => {
    expect(sdkOf(userName)).toBe(sdk);
    expect(plainUserName(userName)).toBe(
      userName.slice(0, userName.indexOf('?') < 0 ? undefined : userName.indexOf('?')),
    );
  });
});
