/**
 * The matching tree: many topic filters, each with one value, and the question "which of them match this name?". Levels
 * that no other filter shares lie together in one node, so a filter is a node or two however many levels it has. `+` and
 * `#` are levels like any other. `version` changes with the set of filters, so that a caller may keep what `match` said.
 *
 * `match` looks at each node at most once, and of each level at no more nodes than the filters have patterns of wildcards
 * (`wildcardPattern`): mostly at as many as match.
 */
interface Node<T> {
  /** The levels between its parent and this, as they stand in the filter. */
  path: string;
  /** Whether `path` has a level that is `+` or `#`. */
  isWild: boolean;
  value: T | undefined;
  /** By their first levels; an only child has no map, which would be larger than the node. */
  children: Node<T> | Map<string, Node<T>> | undefined;
}

const nodeOf = <T>(path: string, value: T | undefined): Node<T> => ({
  path,
  isWild: path.includes('+') || path.endsWith('#'),
  value,
  children: undefined,
});

export class TopicTree<T> {
  /** Of no level: its path means nothing. */
  readonly #root = nodeOf<T>('', undefined);
  #size = 0;
  #version = 0;

  /** How many filters have a value. */
  get size(): number {
    return this.#size;
  }

  get version(): number {
    return this.#version;
  }

  get(filter: string): T | undefined {
    let node = this.#root;
    for (let at = 0; at <= filter.length;) {
      const child = childOf(node, levelAt(filter, at));
      if (!child || commonEnd(child.path, filter, at) !== child.path.length) return undefined;
      at += child.path.length + 1;
      node = child;
    }
    return node.value;
  }

  set(filter: string, value: T): void {
    this.#put(this.#reach(filter), value);
  }

  /** The value of the filter, which is what `make` returns if there was none. */
  getOrMake(filter: string, make: (filter: string) => T): T {
    const node = this.#reach(filter);
    if (node.value === undefined) this.#put(node, make(filter));
    return node.value!;
  }

  #put(node: Node<T>, value: T): void {
    if (node.value === undefined) this.#size++;
    node.value = value;
    this.#version++;
  }

  /** The node of the filter, which may have no value yet: to be given one. */
  #reach(filter: string): Node<T> {
    let node = this.#root;
    for (let at = 0; at <= filter.length;) {
      let child = childOf(node, levelAt(filter, at));
      if (child) {
        const end = commonEnd(child.path, filter, at);
        if (end < child.path.length) child = split(node, child, end);
      } else addChild(node, (child = nodeOf<T>(filter.slice(at), undefined)));
      at += child.path.length + 1;
      node = child;
    }
    return node;
  }

  delete(filter: string): boolean {
    let above: Node<T> | undefined;
    let parent = this.#root;
    let node = this.#root;
    for (let at = 0; at <= filter.length;) {
      const child = childOf(node, levelAt(filter, at));
      if (!child || commonEnd(child.path, filter, at) !== child.path.length) return false;
      at += child.path.length + 1;
      above = parent;
      parent = node;
      node = child;
    }
    if (node.value === undefined) return false;
    node.value = undefined;
    this.#size--;
    this.#version++;
    if (node.children === undefined) {
      removeChild(parent, node);
      // What has held two children apart does not any more.
      if (parent !== this.#root) joinWithOnlyChild(above!, parent);
    } else joinWithOnlyChild(parent, node);
    return true;
  }

  /**
   * The values, in no order. Filters may come and go between two of them: those that do neither until the end are said once, and of the
   * others one may be said that has gone, so whoever asks looks again. A node that is divided or joined meanwhile keeps what it had.
   */
  *[Symbol.iterator](): Generator<T, void, void> {
    const stack: Iterator<Node<T>>[] = [childrenOf(this.#root)];
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const next = top.next();
      if (next.done) stack.pop();
      else {
        if (next.value.value !== undefined) yield next.value.value;
        if (next.value.children !== undefined) stack.push(childrenOf(next.value));
      }
    }
  }

  /**
   * Calls `visit` with the value of every filter that matches the topic name, in an order that only the filters decide. Returns
   * how many nodes it has looked at.
   */
  match(topicName: string, visit: (value: T) => void): number {
    return matchBelow(this.#root, topicName, 0, visit);
  }
}

/** Of the filters that begin with what is above the node, those that match the name from the level at `at` on. */
function matchBelow<T>(node: Node<T>, name: string, at: number, visit: (value: T) => void): number {
  const { children } = node;
  if (children === undefined) return 0;
  // [MQTT-4.7.2-1] Wildcards in the first level do not match names that start with "$".
  const mayBeWild = at > 0 || name.charCodeAt(0) !== dollar;
  if (!(children instanceof Map)) {
    return mayBeWild || !startsWild(children) ? matchFrom(children, name, at, visit) : 0;
  }
  let looked = 0;
  if (mayBeWild) {
    const rest = children.get('#');
    if (rest) looked += matchFrom(rest, name, at, visit);
    const any = children.get('+');
    if (any) looked += matchFrom(any, name, at, visit);
  }
  const literal = children.get(levelAt(name, at));
  if (literal) looked += matchFrom(literal, name, at, visit);
  return looked;
}

/** The same with the levels of the node, and what is below it. `at` may be one behind the end: no level is left. */
function matchFrom<T>(node: Node<T>, name: string, at: number, visit: (value: T) => void): number {
  const { path } = node;
  if (!node.isWild) {
    if (!name.startsWith(path, at)) return 1;
    at += path.length;
    if (at < name.length && name.charCodeAt(at) !== slash) return 1;
    at++;
  } else
    for (let from = 0; from <= path.length;) {
      const code = path.charCodeAt(from);
      // "#" stands alone in its level, and is the last: "sport/#" matches "sport", too.
      if (code === hash) {
        if (node.value !== undefined) visit(node.value);
        return 1;
      }
      if (at > name.length) return 1;
      const nameEnd = endOfLevel(name, at);
      const pathEnd = endOfLevel(path, from);
      if (code !== plus && (nameEnd - at !== pathEnd - from || !isSame(name, at, path, from, pathEnd))) return 1;
      at = nameEnd + 1;
      from = pathEnd + 1;
      if (at > name.length && from <= path.length && path.charCodeAt(from) !== hash) return 1;
    }
  if (at <= name.length) return 1 + matchBelow(node, name, at, visit);
  if (node.value !== undefined) visit(node.value);
  const rest = node.children && childOf(node, '#');
  if (rest?.value !== undefined) visit(rest.value);
  return rest ? 2 : 1;
}

const dollar = 0x24;
const hash = 0x23;
const plus = 0x2b;
const slash = 0x2f;

function startsWild({ path }: Node<unknown>): boolean {
  const first = path.charCodeAt(0);
  return first === plus || first === hash;
}

function endOfLevel(text: string, from: number): number {
  const at = text.indexOf('/', from);
  return at < 0 ? text.length : at;
}

const levelAt = (text: string, at: number): string => text.slice(at, endOfLevel(text, at));

function isSame(a: string, fromA: number, b: string, fromB: number, endB: number): boolean {
  for (; fromB < endB; fromA++, fromB++) if (a.charCodeAt(fromA) !== b.charCodeAt(fromB)) return false;
  return true;
}

/** Where the levels end that `path` has in common with the filter from `at` on; the first one is known to be the same. */
function commonEnd(path: string, filter: string, at: number): number {
  let common = 0;
  for (let from = 0; from <= path.length;) {
    const end = endOfLevel(path, from);
    if (at + from > filter.length || endOfLevel(filter, at + from) !== at + end) break;
    if (!isSame(filter, at + from, path, from, end)) break;
    common = end;
    from = end + 1;
  }
  return common;
}

function childOf<T>({ children }: Node<T>, level: string): Node<T> | undefined {
  if (children instanceof Map) return children.get(level);
  return children !== undefined && levelAt(children.path, 0) === level ? children : undefined;
}

function childrenOf<T>({ children }: Node<T>): Iterator<Node<T>> {
  return children instanceof Map ? children.values() : (children === undefined ? [] : [children])[Symbol.iterator]();
}

function addChild<T>(node: Node<T>, child: Node<T>): void {
  const { children } = node;
  if (children === undefined) node.children = child;
  else {
    const map = children instanceof Map ? children : new Map([[levelAt(children.path, 0), children]]);
    node.children = map.set(levelAt(child.path, 0), child);
  }
}

function removeChild<T>(node: Node<T>, child: Node<T>): void {
  const { children } = node;
  if (!(children instanceof Map)) node.children = undefined;
  else {
    children.delete(levelAt(child.path, 0));
    if (children.size === 1) [node.children] = children.values();
  }
}

/** A node between the two, with the levels of the child up to `end`. */
function split<T>(parent: Node<T>, child: Node<T>, end: number): Node<T> {
  const upper = nodeOf<T>(child.path.slice(0, end), undefined);
  const lower = nodeOf(child.path.slice(end + 1), child.value);
  lower.children = child.children;
  upper.children = lower;
  replaceChild(parent, upper);
  return upper;
}

function joinWithOnlyChild<T>(parent: Node<T>, node: Node<T>): void {
  const { children } = node;
  if (node.value !== undefined || children === undefined || children instanceof Map) return;
  const joined = nodeOf(`${node.path}/${children.path}`, children.value);
  joined.children = children.children;
  replaceChild(parent, joined);
}

function replaceChild<T>(parent: Node<T>, by: Node<T>): void {
  if (parent.children instanceof Map) parent.children.set(levelAt(by.path, 0), by);
  else parent.children = by;
}
