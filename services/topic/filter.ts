/**
 * The grammar of topic names and topic filters (MQTT 5.0 section 4.7, MQTT 3.1.1 section 4.7) and how
 * filters relate to names and to each other. Pure string functions; `tree.ts` does the same for many at once.
 */

/** Longest UTF-8 string that the protocol can carry. [MQTT-4.7.3-3] */
const utf8BytesMax = 65_535;

/** Of a topic name or filter, `$share/group/` included. DynamoDB bounds the sort key of what is stored under it. */
export const topicBytesMax = 1024;
/**
 * Of a topic name or filter, unless the operator says something else. Nobody has a tenth of that; and what a filter, a topic
 * or a grant costs to be matched grows with its levels.
 */
export const topicLevelsMax = 128;

/** Undefined when it has no more levels than it may, otherwise what is wrong with it. */
export function levelsError(what: string, text: string, levelsMax: number): string | undefined {
  let levels = 1;
  for (let at = text.indexOf('/'); at >= 0; at = text.indexOf('/', at + 1)) levels++;
  return levels > levelsMax ? `${what} can have at most ${levelsMax} levels, and this one has ${levels}` : undefined;
}

/** Undefined when `name` is a valid topic name, otherwise what is wrong with it. */
export function topicNameError(name: string): string | undefined {
  if (name.length === 0) return 'a topic name must have at least one character'; // [MQTT-4.7.3-1]
  if (name.includes('\0')) return 'a topic name cannot contain a null character'; // [MQTT-4.7.3-2]
  if (name.includes('+') || name.includes('#')) return 'a topic name cannot contain wildcards (+ or #)'; // [MQTT-3.3.2-2]
  if (Buffer.byteLength(name) > utf8BytesMax) return `a topic name can have at most ${utf8BytesMax} bytes`;
  return undefined;
}

/** Undefined when `filter` is a valid topic filter (without `$share`), otherwise what is wrong with it. */
export function topicFilterError(filter: string): string | undefined {
  if (filter.length === 0) return 'a topic filter must have at least one character'; // [MQTT-4.7.3-1]
  if (filter.includes('\0')) return 'a topic filter cannot contain a null character'; // [MQTT-4.7.3-2]
  if (Buffer.byteLength(filter) > utf8BytesMax) return `a topic filter can have at most ${utf8BytesMax} bytes`;
  // In place, because it is asked of every filter that comes.
  for (let at = filter.indexOf('+'); at >= 0; at = filter.indexOf('+', at + 1))
    if (!isAlone(filter, at)) return 'the wildcard + must be alone in its level'; // [MQTT-4.7.1-2]
  const rest = filter.indexOf('#');
  if (rest >= 0 && (rest < filter.length - 1 || !isAlone(filter, rest)))
    return 'the wildcard # must be alone in the last level'; // [MQTT-4.7.1-1]
  return undefined;
}

const isAlone = (filter: string, at: number): boolean =>
  (at === 0 || filter[at - 1] === '/') && (at === filter.length - 1 || filter[at + 1] === '/');

/**
 * At which levels the filter has its wildcards; empty without. Of all filters with the same pattern at most one matches a
 * topic, so that patterns, and not filters, are what a topic can cost.
 */
export function wildcardPattern(filter: string): string {
  if (!filter.includes('+') && !filter.endsWith('#')) return '';
  const places: string[] = [];
  for (const [i, level] of filter.split('/').entries()) if (level === '+' || level === '#') places.push(level + i);
  return places.join();
}

export interface SharedFilter {
  readonly group: string;
  readonly filter: string;
}

const sharePrefix = '$share/';

/**
 * Splits `$share/group/filter`. Undefined for a filter that is not shared; an error text for one that is
 * meant to be and is not well formed. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
 */
export function parseShared(filter: string): SharedFilter | undefined | string {
  if (filter !== '$share' && !filter.startsWith(sharePrefix)) return undefined;
  const end = filter.indexOf('/', sharePrefix.length);
  if (end < 0) return 'a shared subscription must be $share/<group>/<filter>';
  const group = filter.slice(sharePrefix.length, end);
  if (group.length === 0 || group.includes('+') || group.includes('#'))
    return 'the group of a shared subscription must have at least one character and no wildcards';
  const inner = filter.slice(end + 1);
  return topicFilterError(inner) ?? { group, filter: inner };
}

/** `$share/group` or `$share/group/`: a share of nothing. [MQTT-4.8.2-2] */
export function isShareWithoutFilter(filter: string): boolean {
  if (!filter.startsWith(sharePrefix)) return false;
  const end = filter.indexOf('/', sharePrefix.length);
  return end < 0 || end === filter.length - 1;
}

/** Whether the filter (valid, without `$share`) matches the topic name (valid). In place: it is asked of many names in turn. */
export function filterMatches(filter: string, topicName: string): boolean {
  // [MQTT-4.7.2-1] A filter that starts with a wildcard does not match names that start with `$`.
  if (topicName.startsWith('$') && (filter.startsWith('+') || filter.startsWith('#'))) return false;
  let at = 0;
  for (let from = 0; from <= filter.length;) {
    const filterEnd = endOfLevel(filter, from);
    if (filter.startsWith('#', from)) return true; // Also the parent level: "sport/#" matches "sport". (section 4.7.1.2)
    if (at > topicName.length) return false;
    const nameEnd = endOfLevel(topicName, at);
    if (!filter.startsWith('+', from)) {
      if (nameEnd - at !== filterEnd - from) return false;
      for (let i = from, j = at; i < filterEnd; i++, j++)
        if (filter.charCodeAt(i) !== topicName.charCodeAt(j)) return false;
    }
    at = nameEnd + 1;
    from = filterEnd + 1;
  }
  return at > topicName.length;
}

function endOfLevel(text: string, from: number): number {
  const at = text.indexOf('/', from);
  return at < 0 ? text.length : at;
}

/** Whether some topic name is matched by both. */
export function filtersOverlap(a: string, b: string): boolean {
  const x = a.split('/');
  const y = b.split('/');
  if (isHidden(x, y) || isHidden(y, x)) return false;
  for (let i = 0; ; i++) {
    if (x[i] === '#' || y[i] === '#') return true;
    if (i >= x.length || i >= y.length) return x.length === y.length;
    if (x[i] !== '+' && y[i] !== '+' && x[i] !== y[i]) return false;
  }
}

/** [MQTT-4.7.2-1] A filter that starts with a wildcard does not match names that start with `$`. */
function isHidden(filter: readonly string[], name: readonly string[]): boolean {
  return (filter[0] === '+' || filter[0] === '#') && name[0]!.startsWith('$');
}
