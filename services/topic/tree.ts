/**
 * The matching trie: many topic filters, each with one value, and the question "which of them match this
 * name?". One node a level; `+` and `#` are children like any other. `version` changes with every change of
 * the set of filters, so that a caller may cache what `match` said.
 */
interface Node<T> {
  readonly children: Map<string, Node<T>>;
  value: T | undefined;
}

export class TopicTree<T> {
  readonly #root: Node<T> = { children: new Map(), value: undefined };
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
    let node: Node<T> | undefined = this.#root;
    for (const level of filter.split('/')) {
      node = node.children.get(level);
      if (!node) return undefined;
    }
    return node.value;
  }

  set(filter: string, value: T): void {
    let node = this.#root;
    for (const level of filter.split('/')) {
      let child = node.children.get(level);
      if (!child) node.children.set(level, (child = { children: new Map(), value: undefined }));
      node = child;
    }
    if (node.value === undefined) this.#size++;
    node.value = value;
    this.#version++;
  }

  delete(filter: string): boolean {
    const levels = filter.split('/');
    const path: Node<T>[] = [this.#root];
    for (const level of levels) {
      const child = path[path.length - 1]!.children.get(level);
      if (!child) return false;
      path.push(child);
    }
    const last = path[path.length - 1]!;
    if (last.value === undefined) return false;
    last.value = undefined;
    this.#size--;
    this.#version++;
    for (let i = levels.length; i > 0; i--) {
      const node = path[i]!;
      if (node.value !== undefined || node.children.size > 0) break;
      path[i - 1]!.children.delete(levels[i - 1]!);
    }
    return true;
  }

  /** Calls `visit` with the value of every filter that matches the topic name, in no particular order. */
  match(topicName: string, visit: (value: T) => void): void {
    // The frontier of nodes whose path matches so far; breadth first, so that depth needs no stack. A level at most
    // doubles it ("+" and the literal), and it never exceeds the number of filters.
    let frontier: Node<T>[] = [this.#root];
    const levels = topicName.split('/');
    // [MQTT-4.7.2-1] Wildcards in the first level do not match names that start with "$".
    let wildcards = !topicName.startsWith('$');
    for (const level of levels) {
      const next: Node<T>[] = [];
      for (const node of frontier) {
        if (wildcards) {
          const rest = node.children.get('#');
          if (rest?.value !== undefined) visit(rest.value);
          const any = node.children.get('+');
          if (any) next.push(any);
        }
        const literal = node.children.get(level);
        if (literal) next.push(literal);
      }
      if (next.length === 0) return;
      frontier = next;
      wildcards = true;
    }
    for (const node of frontier) {
      if (node.value !== undefined) visit(node.value);
      const rest = node.children.get('#'); // "sport/#" matches "sport", too.
      if (rest?.value !== undefined) visit(rest.value);
    }
  }
}
