/**
 * The grants of one credential, compiled: what a client may do with a topic or a filter is asked of all of them at once.
 *
 * For each level it is known which rules have which word there, as a set of bits, one a rule. The walk along a topic keeps
 * the set of the rules that fit so far. So an answer costs what the levels of the topic cost, whatever the rules are: 100 rules
 * of 128 levels are no more work than one. Only the words with a client id in them are compared one by one, by those rules
 * that fit up to there.
 *
 * Nothing of one client is in here, so all that use the credential share it.
 */

/** A word with the client id in it: the texts before, between and after its places. */
export type Template = readonly string[];

export interface Rule {
  readonly effect: 'allow' | 'deny';
  readonly action: 'publish' | 'subscribe' | 'all';
  readonly levels: readonly (string | Template)[];
  /** It is `#`, and for topics that begin with `$` as well. */
  readonly isWhole: boolean;
}

/** Of one level: where the sets begin in `#bits`. */
interface Depth {
  /** A set; or, where it is one rule as for most words of many rules, that rule: -1 for the first, -2 for the second, … */
  readonly words: Map<string, number>;
  readonly templates: { readonly template: Template; readonly set: number }[];
  /** Where they stand in `templates`, by their texts. No text has a NUL. */
  readonly places: Map<string, number>;
  /** Rules with `+` here. */
  readonly any: number;
  /** Rules with `#` here. */
  readonly rest: number;
  /** Rules that have a level here. */
  readonly some: number;
  /** Rules that have had their last level before this. */
  readonly none: number;
}

export class AccessRules {
  readonly #depths: Depth[] = [];
  /** 32-bit words of a set. */
  readonly #width: number;
  readonly #hiddenIds: boolean;
  #bits = new Uint32Array(256);
  #bitsUsed = 0;
  #count = 0;
  /** The rules that fit so far, during a walk. */
  readonly #fitting: Uint32Array;
  readonly #sets: Readonly<Record<`${'allow' | 'deny'} ${'publish' | 'subscribe'}`, number>>;
  /** Rules with a wildcard in front, and with a `$`. */
  readonly #wild: number;
  readonly #hidden: number;

  /** `hidden`: client ids begin with `$`. To be asked once all rules are added. */
  constructor(rulesMax: number, hidden: boolean) {
    this.#width = Math.ceil(rulesMax / 32);
    this.#hiddenIds = hidden;
    this.#sets = {
      'allow publish': this.#newSet(),
      'allow subscribe': this.#newSet(),
      'deny publish': this.#newSet(),
      'deny subscribe': this.#newSet(),
    };
    this.#wild = this.#newSet();
    this.#hidden = this.#newSet();
    this.#fitting = new Uint32Array(this.#width);
  }

  /** What this takes grows with the levels of the rule, not with the rules that are there. */
  add({ effect, action, levels: given, isWhole }: Rule): void {
    const rule = this.#count++;
    const levels = isEverything(given) ? ['#'] : given;
    if (action !== 'subscribe') this.#put(this.#sets[`${effect} publish`], rule);
    if (action !== 'publish') this.#put(this.#sets[`${effect} subscribe`], rule);
    const [first] = levels;
    if (first === '+' || first === '#') {
      if (!isWhole) this.#put(this.#wild, rule);
    } else if (startsHidden(first!, this.#hiddenIds)) this.#put(this.#hidden, rule);
    for (const [i, level] of levels.entries()) {
      const depth = this.#depthAt(i);
      this.#put(depth.some, rule);
      if (level === '+') this.#put(depth.any, rule);
      else if (level === '#') this.#put(depth.rest, rule);
      else if (typeof level !== 'string') this.#put(this.#setOfTemplate(depth, level), rule);
      else this.#putWord(depth.words, level, rule);
    }
    this.#put(this.#depthAt(levels.length).none, rule);
  }

  #depthAt(i: number): Depth {
    return (this.#depths[i] ??= {
      words: new Map(),
      templates: [],
      places: new Map(),
      any: this.#newSet(),
      rest: this.#newSet(),
      some: this.#newSet(),
      none: this.#newSet(),
    });
  }

  #newSet(): number {
    const set = this.#bitsUsed;
    this.#bitsUsed += this.#width;
    if (this.#bitsUsed > this.#bits.length) {
      const bits = new Uint32Array(2 * this.#bits.length);
      bits.set(this.#bits);
      this.#bits = bits;
    }
    return set;
  }

  #put(set: number, rule: number): void {
    this.#bits[set + (rule >>> 5)]! |= 1 << (rule & 31);
  }

  #putWord(words: Map<string, number>, word: string, rule: number): void {
    let set = words.get(word);
    if (set === undefined) return void words.set(word, ~rule);
    if (set < 0) {
      const only = ~set;
      words.set(word, (set = this.#newSet()));
      this.#put(set, only);
    }
    this.#put(set, rule);
  }

  #setOfTemplate({ templates, places }: Depth, template: Template): number {
    const key = template.join('\0');
    const place = places.get(key);
    if (place !== undefined) return templates[place]!.set;
    const set = this.#newSet();
    places.set(key, templates.length);
    templates.push({ template, set });
    return set;
  }

  /** `topic`: a valid topic name. */
  mayPublish(topic: string, clientId: string): boolean {
    return (
      this.#meets(this.#sets['allow publish'], topic, clientId, false) &&
      !this.#meets(this.#sets['deny publish'], topic, clientId, false)
    );
  }

  /** One allow has to cover the whole filter; a deny that meets it anywhere refuses it. */
  maySubscribe(filter: string, clientId: string): boolean {
    return (
      this.#meets(this.#sets['allow subscribe'], filter, clientId, false) &&
      !this.#meets(this.#sets['deny subscribe'], filter, clientId, true)
    );
  }

  /** Whether a rule of the set covers the topic or filter; or, with `overlaps`, some topic that the filter matches. */
  #meets(set: number, text: string, clientId: string, overlaps: boolean): boolean {
    const fitting = this.#fitting;
    for (let i = 0; i < this.#width; i++) fitting[i] = this.#bits[set + i]!;
    // [MQTT-4.7.2-1] A wildcard in front does not match a `$` in front.
    const first = text.charCodeAt(0);
    if (first === dollar) this.#leaveOut(this.#wild);
    else if (overlaps && (first === plus || first === hash)) this.#leaveOut(this.#hidden);
    let at = 0;
    for (const depth of this.#depths) {
      if (this.#fits(depth.rest)) return true; // Also the parent level: "sport/#" matches "sport". (section 4.7.1.2)
      if (at > text.length) return this.#fits(depth.none);
      const slashAt = text.indexOf('/', at);
      const end = slashAt < 0 ? text.length : slashAt;
      const level = text.slice(at, end);
      if (level === '#') return overlaps && fitting.some((word) => word !== 0);
      if (!this.#narrow(depth, level, clientId, overlaps)) return false;
      at = end + 1;
    }
    return false;
  }

  /** Leaves only what has this level at its place; false when nothing is left. */
  #narrow(depth: Depth, level: string, clientId: string, overlaps: boolean): boolean {
    const fitting = this.#fitting;
    const bits = this.#bits;
    const word = depth.words.get(level);
    const any = overlaps && level === '+' ? depth.some : depth.any;
    let templated: Uint32Array | undefined;
    for (const { template, set } of depth.templates)
      if (this.#fits(set) && isFilledIn(template, level, clientId)) {
        templated ??= new Uint32Array(this.#width);
        for (let i = 0; i < this.#width; i++) templated[i]! |= bits[set + i]!;
      }
    let left = 0;
    for (let i = 0; i < this.#width; i++) {
      let has = bits[any + i]!;
      if (word !== undefined) has |= word >= 0 ? bits[word + i]! : ~word >>> 5 === i ? 1 << (~word & 31) : 0;
      if (templated) has |= templated[i]!;
      left |= fitting[i]! &= has;
    }
    return left !== 0;
  }

  #fits(set: number): boolean {
    for (let i = 0; i < this.#width; i++) if ((this.#fitting[i]! & this.#bits[set + i]!) !== 0) return true;
    return false;
  }

  #leaveOut(set: number): void {
    for (let i = 0; i < this.#width; i++) this.#fitting[i]! &= ~this.#bits[set + i]!;
  }
}

/** `+/#` is `#`: every topic has a first level. */
const isEverything = (levels: Rule['levels']): boolean => levels.length === 2 && levels[0] === '+' && levels[1] === '#';

function startsHidden(first: string | Template, hidden: boolean): boolean {
  if (typeof first === 'string') return first.startsWith('$');
  return first[0] === '' ? hidden : first[0]!.startsWith('$');
}

/** Whether the level is the template with the client id in its places. */
function isFilledIn(template: Template, level: string, clientId: string): boolean {
  let at = template[0]!.length;
  if (!level.startsWith(template[0]!)) return false;
  for (let i = 1; i < template.length; i++) {
    if (!level.startsWith(clientId, at)) return false;
    at += clientId.length;
    if (!level.startsWith(template[i]!, at)) return false;
    at += template[i]!.length;
  }
  return at === level.length;
}

const dollar = 0x24;
const hash = 0x23;
const plus = 0x2b;
