/** Attacks with filters, grants and topics: what the matching tree and the access rules have to walk. */
import type { Credential, Grant } from '../../support/broker.js';
import { bytes, publishBytes, subscribeBytes } from '../../support/packet-bytes.js';
import { Foe } from '../foe.js';
import { atMost, every } from '../pace.js';
import { credentialWith, type Attack, type Scene } from '../scene.js';

const suback = 9;
const patienceMs = 20_000;
const filtersPerSession = 100;
/** As many levels as 1024 bytes have room for, and as many as a broker with a limit on levels still takes. */
const depths = [490, 128] as const;

const subscribeAll = (filters: readonly string[]): Buffer =>
  subscribeBytes(
    filters.map((filter) => ({ filter, qos: 0 })),
    5,
    1,
  );
const publish = (topic: string): Buffer => publishBytes({ topic, payload: 'x' }, 5);

/** 2^13 filters, all combinations of `+` and `a` on 13 levels, and topics of which each is new and matches many. */
export const combinations: Attack = async (scene) => {
  const levels = 13;
  const count = Math.floor(2 ** levels * scene.scale);
  const filters = Array.from({ length: count }, (_, n) =>
    Array.from({ length: levels }, (_, level) => ((n >> level) & 1 ? '+' : 'a')).join('/'),
  );
  const subscribed: Promise<unknown>[] = [];
  for (let from = 0; from < count; from += filtersPerSession) {
    const opening = [subscribeAll(filters.slice(from, from + filtersPerSession))];
    const foe = new Foe(scene, { clientId: `f${from}`, opening });
    subscribed.push(atMost(patienceMs, foe.hears(suback)).then(() => foe.ignore()));
  }
  await Promise.all(subscribed);
  const publisher = new Foe(scene, { clientId: 'publisher' });
  return () =>
    every(900, (n) => {
      const topic = Array.from({ length: levels }, () => 'a');
      topic[n % levels] = `u${n}`;
      publisher.write(publish(topic.join('/')));
    });
};

/** Denies that differ from every topic and filter of theirs on the last level only. */
function deepRules(levels: number, denies: number, salt = ''): Grant[] {
  const deny = Array.from({ length: denies }, (_, n): Grant => {
    return { effect: 'deny', action: 'all', topic: `${'+/'.repeat(levels - 1)}n${salt}${n}` };
  });
  return [{ effect: 'allow', action: 'all', topic: '#' }, ...deny];
}

/** A credential with as deep rules as it gets. */
async function deepCredential(scene: Scene, denies: number): Promise<{ account: Credential; levels: number }> {
  for (const levels of depths) {
    const account = await credentialWith(scene, `deep${levels}`, { grants: deepRules(levels, denies) });
    if (account !== undefined) return { account, levels };
  }
  throw new Error('the API takes no deep rules at all');
}

const deepFilters = (levels: number, from: number): string[] =>
  Array.from({ length: filtersPerSession }, (_, n) => `${'a/'.repeat(levels - 1)}f${from + n}`);

/** 100 connections with 100 filters of nearly 500 levels, a credential with 59 grants of as many, three PATCHes of it. */
export const deepGrants: Attack = async (scene) => {
  const { account, levels } = await deepCredential(scene, 58);
  const place = { ...scene, credential: account };
  return () => {
    const foes = Array.from({ length: Math.ceil(100 * scene.scale) }, (_, n) => {
      const subscribe = subscribeAll(deepFilters(levels - 10, n * filtersPerSession));
      const foe = new Foe(place, { clientId: `g${n}`, opening: [subscribe] });
      foe.ignore();
      return { foe, subscribe };
    });
    every(10, (n) => {
      const { foe, subscribe } = foes[n % foes.length]!;
      foe.write(subscribe);
    });
    every(0.5, (n) => {
      if (n >= 3) return;
      const grants = deepRules(levels, 58, `p${n}`);
      void scene.api(`/credentials/${account.username.split('@')[0]}`, { grants }, 'PATCH').catch(() => undefined);
    });
  };
};

/** 5000 such filters in SUBSCRIBEs as long as a packet may be, and the same in UNSUBSCRIBEs. */
export const longSubscribes: Attack = async (scene) => {
  const { account, levels } = await deepCredential(scene, 58);
  const place = { ...scene, credential: account };
  return () => {
    for (let n = 0; n < 50 * scene.scale; n++) {
      const filters = deepFilters(levels - 10, n * filtersPerSession);
      const subscribe = subscribeAll(filters);
      const unsubscribe = bytes.packet('unsubscribe', 2, bytes.u16(2), bytes.properties(), ...filters.map(bytes.utf8));
      const both = [subscribe, unsubscribe];
      let turn = 0;
      new Foe(place, { clientId: `s${n}` }).flood(() => both[turn++ % both.length]!);
    }
  };
};

/** 99 deny rules, each of which a new topic has to be compared with down to its last level; as many as the rate allows. */
export const denyRules: Attack = async (scene) => {
  const { account, levels } = await deepCredential(scene, 99);
  return () => {
    const foe = new Foe({ ...scene, credential: account }, { clientId: 'denied' });
    let n = 0;
    foe.flood(() => publish(`${'a/'.repeat(levels - 10)}u${n++}`));
  };
};

/** Filters of 1019 levels, nearly all empty, that share no level; and of 128, once these are refused. */
export const deepFilterMemory: Attack = (scene) => {
  const packets = (levels: number) => (first: number) =>
    subscribeAll(
      Array.from(
        { length: filtersPerSession },
        (_, n) => `${(first * filtersPerSession + n).toString(36)}${'/'.repeat(levels - 1)}`,
      ),
    );
  const [longest, allowed] = [packets(1019), packets(128)];
  let sessions = 0;
  const add = (): void => {
    const n = sessions++;
    const foe = new Foe(scene, { clientId: `d${n}`, opening: [longest(n)] });
    // Refused or closed: the same with as many levels as are allowed, as often as the quotas allow.
    void foe.hears(suback).then(() => foe.ignore());
    const modest = new Foe(scene, { clientId: `m${n}`, opening: [allowed(n)] });
    modest.ignore();
  };
  return Promise.resolve(() => {
    for (let n = 0; n < 10; n++) add();
    every(5, () => sessions < 200 * scene.scale && add());
  });
};
