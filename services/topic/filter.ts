/**
 * The grammar of topic names and topic filters (MQTT 5.0 section 4.7, MQTT 3.1.1 section 4.7) and how
 * filters relate to names and to each other. Pure string functions; `tree.ts` does the same for many at once.
 */

/** Longest UTF-8 string that the protocol can carry. [MQTT-4.7.3-3] */
const utf8BytesMax = 65_535;

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
  const levels = filter.split('/');
  for (const [i, level] of levels.entries()) {
    // [MQTT-4.7.1-1] "#" stands alone in the last level, [MQTT-4.7.1-2] "+" fills its whole level.
    if (level === '#' ? i !== levels.length - 1 : level.includes('#'))
      return 'the wildcard # must be alone in the last level';
    if (level !== '+' && level.includes('+')) return 'the wildcard + must be alone in its level';
  }
  return undefined;
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

/** Whether the filter (valid, without `$share`) matches the topic name (valid). */
export function filterMatches(filter: string, topicName: string): boolean {
  const f = filter.split('/');
  const t = topicName.split('/');
  if (isHidden(f, t)) return false;
  for (let i = 0; i < f.length; i++) {
    if (f[i] === '#') return true; // Also the parent level: "sport/#" matches "sport". (section 4.7.1.2)
    if (i >= t.length || (f[i] !== '+' && f[i] !== t[i])) return false;
  }
  return f.length === t.length;
}

/** Whether every topic name that `inner` matches is matched by `outer`, too. */
export function filterCovers(outer: string, inner: string): boolean {
  if (outer === '+/#') outer = '#'; // The same names: every one has a first level.
  const o = outer.split('/');
  const n = inner.split('/');
  if (isHidden(o, n)) return false;
  for (let i = 0; i < o.length; i++) {
    if (o[i] === '#') return true;
    if (i >= n.length || n[i] === '#' || (o[i] !== '+' && o[i] !== n[i])) return false;
  }
  return o.length === n.length;
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
