/** Every attack by its name: what a tenant can do within the quotas of the free plan. */
import type { Attack } from '../scene.js';
import * as database from './database.js';
import * as door from './door.js';
import * as packets from './packets.js';
import * as topics from './topics.js';

export interface AttackRow {
  readonly title: string;
  readonly attack: Attack;
  /** Prepares for longer than the rates of the plan would allow here. */
  readonly isPatient?: true;
  /** The neighbour comes with passwords that it has chosen, and which the broker does not know yet. */
  readonly chosenPasswords?: true;
}

export const attacks = {
  combinations: { title: '8192 filters of + and a, 900 new topics/s', attack: topics.combinations, isPatient: true },
  'deep-grants': { title: '100 x 100 deep filters, 59 deep grants, 3 PATCHes', attack: topics.deepGrants },
  'long-subscribes': { title: '5000 deep filters, SUBSCRIBE and UNSUBSCRIBE', attack: topics.longSubscribes },
  pings: { title: 'PINGREQ flood, 4 connections', attack: packets.pings },
  subscribes: { title: 'SUBSCRIBE and UNSUBSCRIBE flood', attack: packets.subscribes },
  'many-properties': { title: 'PUBACKs with 40 000 properties', attack: packets.manyProperties },
  'deny-rules': { title: '99 deep deny rules, 1000 new topics/s', attack: topics.denyRules },
  'wrong-passwords': { title: '100 wrong passwords/s', attack: door.wrongPasswords, chosenPasswords: true },
  'unread-replays': { title: '1500 x SUBSCRIBE #, not reading', attack: database.unreadReplays, isPatient: true },
  plans: { title: '1000 subscribers of #, 1000 new topics/s', attack: database.plans, isPatient: true },
  'paused-publishers': { title: '1000 publishers over their rate', attack: packets.pausedPublishers, isPatient: true },
  'throttled-sessions': {
    title: '24 sessions that the database throttles',
    attack: database.throttledSessions,
    isPatient: true,
  },
  'one-client-id': { title: '4096 CONNECTs of one client id, 100/s more', attack: door.oneClientId },
  'fan-out-to-stored': {
    title: '200 messages to 9900 sessions away',
    attack: database.fanOutToStored,
    isPatient: true,
  },
  'deep-filters': { title: 'filters of 1019 levels', attack: topics.deepFilterMemory },
  'unread-wildcards': {
    title: '50 clients x 5 wildcards, not reading',
    attack: database.unreadWildcards,
    isPatient: true,
  },
  wills: { title: 'CONNECT with a will of 60 KB', attack: door.wills },
  'stored-trickle': {
    title: '10 messages/s of 1 KB to 200 sessions away',
    attack: database.storedTrickle,
    isPatient: true,
  },
} as const satisfies Record<string, AttackRow>;

export type AttackName = keyof typeof attacks;

export const rowOf = (name: AttackName): AttackRow => attacks[name];
