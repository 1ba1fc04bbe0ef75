/**
 * Grants, and what they let one client do. A grant allows or denies publishing, subscribing or both below a topic
 * filter in which `${clientid}` and `${username}` stand for the client's own. Deny beats allow, no match is deny.
 *
 * Compiled once for all clients of a credential (`access-rules.ts`), a grant at a time (`accessWork`); the broker caches the
 * answer per session and topic, so that neither call is on the way of a message that was seen before. Knows nothing of
 * packets and reason codes.
 *
 * A client chooses its own id, so what it puts into `${clientid}` is hostile. An id with `/`, `+`, `#` or NUL would
 * turn one level into several or into a wildcard, and one that starts with `$` would reach the topics that wildcards
 * keep hidden. An allow that meets such a value matches nothing. A deny must not shrink: it is widened to everything
 * at and below the level where the value stands, and when that is the first level, to everything.
 */
import { levelsError, topicBytesMax, topicFilterError, topicLevelsMax } from '../topic/topic.js';
import { AccessRules, type Rule, type Template } from './access-rules.js';

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
  /** Two that are made of the same let a client do the same. */
  readonly madeOf?: object;
}

/** Of one credential: a hundred filters of full length still fit well into one item. */
export const grantsMax = 100;

const variables = ['${clientid}', '${username}'] as const;

/** Undefined when the grant can be stored, otherwise what is wrong with it. */
export function grantError(grant: Grant): string | undefined {
  const { topic } = grant;
  if (Buffer.byteLength(topic) > topicBytesMax) return `the topic of a grant can have at most ${topicBytesMax} bytes`;
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
  return topicFilterError(topic) ?? levelsError('the topic of a grant', topic, topicLevelsMax);
}

interface Who {
  readonly clientId: string;
  /** The credential's name, without `@tenant`. */
  readonly username: string;
}

/** What `who` may do. Without grants: everything in the tenant. */
export function compileAccess(grants: readonly Grant[] | undefined, who: Who): Access {
  if (grants === undefined) return everything;
  const compiling = sharedRules(grants, who);
  while (compiling.step());
  return new GrantedAccess(compiling, who.clientId);
}

/** There is one for each connection: no closures. */
class GrantedAccess implements Access {
  readonly madeOf: object;
  readonly #rules: AccessRules;
  readonly #clientId: string;

  constructor({ mark, rules }: Compiling, clientId: string) {
    this.madeOf = mark;
    this.#rules = rules;
    this.#clientId = clientId;
  }

  mayPublish(topic: string): boolean {
    return !isReserved(topic) && this.#rules.mayPublish(topic, this.#clientId);
  }

  maySubscribe(filter: string): boolean {
    return !isBelow(filter, '$share') && this.#rules.maySubscribe(filter, this.#clientId);
  }
}

/**
 * What `compileAccess` would have to do first, in steps of one grant: a hundred of full length take longer than anybody should
 * wait for. Undefined when nothing is left to do. Whoever takes a step takes it for all clients of the credential.
 */
export function accessWork(grants: readonly Grant[] | undefined, who: Who): { step(): boolean } | undefined {
  const compiling = grants && sharedRules(grants, who);
  return compiling?.isDone === false ? compiling : undefined;
}

const everything: Access = {
  mayPublish: (topic) => !isReserved(topic),
  maySubscribe: (filter) => !isBelow(filter, '$share'),
  madeOf: {},
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

/** How far a value can be trusted: as a part of one plain level; the same, but with a `$` in front; or not at all. */
type Standing = 'plain' | 'hidden' | 'unsafe';

function standingOf(value: string): Standing {
  if (value === '' || /[/+#\0]/.test(value)) return 'unsafe';
  return value.startsWith('$') ? 'hidden' : 'plain';
}

/** The rules for all clients of that standing, as far as they are compiled. */
class Compiling {
  readonly rules: AccessRules;
  /** Stands for them, and does not keep them. */
  readonly mark: object = {};
  readonly #grants: readonly Grant[];
  readonly #username: string;
  readonly #standing: Standing;
  #next = 0;

  constructor(grants: readonly Grant[], username: string, standing: Standing) {
    this.rules = new AccessRules(grants.length, standing === 'hidden');
    this.#grants = grants;
    this.#username = username;
    this.#standing = standing;
  }

  get isDone(): boolean {
    return this.#next === this.#grants.length;
  }

  /** One grant; whether there are more. */
  step(): boolean {
    if (this.isDone) return false;
    const rule = toRule(this.#grants[this.#next]!, this.#username, this.#standing);
    if (rule) this.rules.add(rule);
    this.#next++;
    return !this.isDone;
  }
}

interface Compiled {
  readonly username: string;
  readonly byStanding: Map<Standing, Compiling>;
}

const compiled = new WeakMap<readonly Grant[], Compiled>();

/** The grants are known by their array, which is that of the cached credential. */
function sharedRules(grants: readonly Grant[], { clientId, username }: Who): Compiling {
  const standing = standingOf(clientId);
  let known = compiled.get(grants);
  if (known?.username !== username) compiled.set(grants, (known = { username, byStanding: new Map() }));
  let compiling = known.byStanding.get(standing);
  if (!compiling) known.byStanding.set(standing, (compiling = new Compiling(grants, username, standing)));
  return compiling;
}

/** The grant as it is for such clients; undefined when it matches nothing. */
function toRule({ effect, action, topic }: Grant, username: string, standing: Standing): Rule | undefined {
  const isAllow = effect === 'allow';
  const levels: (string | Template)[] = [];
  for (const [i, text] of topic.split('/').entries()) {
    const level = fillIn(text, username, standing);
    const isSafe = level !== undefined && !(isAllow && i === 0 && beginsHidden(text, username, standing));
    if (isSafe) levels.push(level);
    else if (isAllow) return undefined;
    else return { effect, action, levels: [...levels, '#'], isWhole: i === 0 };
  }
  return { effect, action, levels, isWhole: false };
}

/** The level with the user name in it; undefined when a value would be more than a part of one plain level. */
function fillIn(text: string, username: string, standing: Standing): string | Template | undefined {
  if (!text.includes('${')) return text;
  const texts = [''];
  for (const part of text.split(/(\$\{(?:clientid|username)\})/)) {
    if (part === '${clientid}') {
      if (standing === 'unsafe') return undefined;
      texts.push('');
    } else if (part === '${username}') {
      if (standingOf(username) === 'unsafe') return undefined;
      texts[texts.length - 1] += username;
    } else texts[texts.length - 1] += part;
  }
  return texts.length === 1 ? texts[0] : texts;
}

/** Whether the level begins with a `$` that is not the grant's own. */
function beginsHidden(text: string, username: string, standing: Standing): boolean {
  if (text.startsWith('${clientid}')) return standing === 'hidden';
  return text.startsWith('${username}') && username.startsWith('$');
}
