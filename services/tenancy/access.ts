/**
 * Grants, and what they let one client do. A grant allows or denies publishing, subscribing or both below a topic
 * filter in which `${clientid}` and `${username}` stand for the client's own. Deny beats allow, no match is deny.
 *
 * Compiled once for a client; the broker caches the answer per session and topic, so that neither call is on the way
 * of a message that was seen before. Knows nothing of packets and reason codes.
 *
 * A client chooses its own id, so what it puts into `${clientid}` is hostile. An id with `/`, `+`, `#` or NUL would
 * turn one level into several or into a wildcard, and one that starts with `$` would reach the topics that wildcards
 * keep hidden. An allow that meets such a value matches nothing. A deny must not shrink: it is widened to everything
 * at and below the level where the value stands, and when that is the first level, to everything.
 */
import { filterCovers, filtersOverlap, topicFilterError } from '../topic/topic.js';
import { filterBytesMax } from './keys.js';

export interface Grant {
  readonly effect: 'allow' | 'deny';
  readonly action: 'publish' | 'subscribe' | 'all';
  /** A topic filter without `$share/<group>/`. */
  readonly topic: string;
}

export interface Access {
  /** `topic`: a valid topic name. */
  mayPublish(topic: string): boolean;
  /** `filter`: a valid topic filter without `$share/<group>/`. */
  maySubscribe(filter: string): boolean;
}

/** Of one credential: a hundred filters of full length still fit well into one item. */
export const grantsMax = 100;

const variables = ['${clientid}', '${username}'] as const;

/** Undefined when the grant can be stored, otherwise what is wrong with it. */
export function grantError(grant: Grant): string | undefined {
  const { topic } = grant;
  if (Buffer.byteLength(topic) > filterBytesMax) return `the topic of a grant can have at most ${filterBytesMax} bytes`;
  if (isBelow(topic, '$share'))
    return 'write the topic of a grant without $share/<group>/; it covers shared subscriptions as well';
  if (variables.reduce((rest, variable) => rest.replaceAll(variable, ''), topic).includes('${'))
    return `the topic of a grant can use the variables ${variables.join(' and ')}`;
  if (
    grant.action === 'publish' &&
    grant.effect === 'allow' &&
    isBelow(topic, '$SYS') &&
    !topic.startsWith(bridgeStates)
  )
    return `nobody can publish below $SYS, except bridges below ${bridgeStates}`;
  return topicFilterError(topic);
}

/** What `who` may do. Without grants: everything in the tenant. `username` is the credential's name, without `@tenant`. */
export function compileAccess(
  grants: readonly Grant[] | undefined,
  who: { readonly clientId: string; readonly username: string },
): Access {
  if (grants === undefined) return everything;
  const publish = { allow: new TopicSet(), deny: new TopicSet() };
  const subscribe = { allow: [] as string[], deny: [] as string[] };
  let denied = { publish: false, subscribe: false };
  for (const grant of grants) {
    const filter = toFilter(grant, who);
    if (filter === undefined) continue;
    const isPublish = grant.action !== 'subscribe';
    const isSubscribe = grant.action !== 'publish';
    if (filter === whole) {
      denied = { publish: denied.publish || isPublish, subscribe: denied.subscribe || isSubscribe };
      continue;
    }
    if (isPublish) publish[grant.effect].add(filter);
    if (isSubscribe) subscribe[grant.effect].push(filter);
  }
  return {
    mayPublish: (topic) =>
      !denied.publish && publish.allow.has(topic) && !publish.deny.has(topic) && !isReserved(topic),
    // One allow has to cover the whole filter; a deny that meets it anywhere refuses it.
    maySubscribe: (filter) =>
      !denied.subscribe &&
      !isBelow(filter, '$share') &&
      subscribe.allow.some((allow) => filterCovers(allow, filter)) &&
      !subscribe.deny.some((deny) => filtersOverlap(deny, filter)),
  };
}

const everything: Access = {
  mayPublish: (topic) => !isReserved(topic),
  maySubscribe: (filter) => !isBelow(filter, '$share'),
};

/** Where the brokers that are bridged to a tenant say whether they are there. mosquitto does so unless it is told not to. */
export const bridgeStates = '$SYS/broker/connection/';

/** Topics that only the service publishes to. [MQTT-4.7.2-1] lets a server keep `$` topics to itself. */
function isReserved(topic: string): boolean {
  if (topic.charCodeAt(0) !== dollar) return false;
  return (isBelow(topic, '$SYS') && !topic.startsWith(bridgeStates)) || isBelow(topic, '$share');
}

function isBelow(topic: string, level: string): boolean {
  return topic.startsWith(level) && (topic.length === level.length || topic.charCodeAt(level.length) === slash);
}

const dollar = 0x24;
const slash = 0x2f;

/** More than `#`, which leaves out topics that start with `$`. */
const whole = Symbol('every topic');

/** The grant's filter for this client; undefined when it matches nothing. */
function toFilter(grant: Grant, who: { clientId: string; username: string }): string | typeof whole | undefined {
  const isAllow = grant.effect === 'allow';
  const levels: string[] = [];
  for (const [i, template] of grant.topic.split('/').entries()) {
    const level = substitute(template, who);
    const isUnsafe =
      level === undefined || (isAllow && i === 0 && level.startsWith('$') && !isHiddenOnPurpose(template));
    if (!isUnsafe) levels.push(level);
    else if (isAllow) return undefined;
    else return i === 0 ? whole : [...levels, '#'].join('/');
  }
  return levels.join('/');
}

/** The level with its variables replaced; undefined when a value would be more than a part of one plain level. */
function substitute(template: string, who: { clientId: string; username: string }): string | undefined {
  if (!template.includes('${')) return template;
  let isUnsafe = false;
  // One pass: a value that itself reads `${username}` stays text.
  const level = template.replace(/\$\{(clientid|username)\}/g, (_, variable: string) => {
    const value = variable === 'clientid' ? who.clientId : who.username;
    isUnsafe ||= /[/+#\0]/.test(value);
    return value;
  });
  return isUnsafe ? undefined : level;
}

/** Whether the `$` in front is the grant's own and not a client's. */
function isHiddenOnPurpose(template: string): boolean {
  return template.startsWith('$') && !variables.some((variable) => template.startsWith(variable));
}

/** A set of topics given by filters: those without wildcards by hash, `a/b/#` by prefix, the others level by level. */
class TopicSet {
  readonly #exact = new Set<string>();
  readonly #prefixes: string[] = [];
  readonly #patterns: string[][] = [];

  add(filter: string): void {
    const levels = filter.split('/');
    const isMulti = levels.at(-1) === '#';
    if (levels.includes('+') || filter === '#') this.#patterns.push(levels);
    else if (isMulti) this.#prefixes.push(filter.slice(0, -2));
    else this.#exact.add(filter);
  }

  has(topic: string): boolean {
    if (this.#exact.has(topic)) return true;
    for (const prefix of this.#prefixes) if (isBelow(topic, prefix)) return true;
    for (const levels of this.#patterns) if (matches(levels, topic)) return true;
    return false;
  }
}

/** `filterMatches` over levels that are split already and without splitting the topic. */
function matches(levels: readonly string[], topic: string): boolean {
  // [MQTT-4.7.2-1] A wildcard in front does not match a `$` in front.
  if (topic.charCodeAt(0) === dollar && (levels[0] === '+' || levels[0] === '#')) return false;
  let start = 0;
  for (const level of levels) {
    if (level === '#') return true;
    if (start > topic.length) return false;
    const slashAt = topic.indexOf('/', start);
    const end = slashAt < 0 ? topic.length : slashAt;
    if (level !== '+' && (end - start !== level.length || !topic.startsWith(level, start))) return false;
    start = end + 1;
  }
  return start > topic.length;
}
