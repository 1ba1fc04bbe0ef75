/** Reading stored items: every attribute is checked, because another release, or a person, may have written it. */
export type Item = Record<string, unknown>;

/** A stored item that this release cannot read. Names the record and the attribute, never its value. */
export class RecordUnreadable extends Error {
  override readonly name = 'RecordUnreadable';
}

/** All items carry the version of their shape. A new shape gets a new number and a decoder beside the old one. */
export const itemVersion = 1;

export class ItemReader {
  readonly #record: string;
  readonly #item: Item;

  constructor(record: string, item: Item) {
    this.#record = record;
    this.#item = item;
    if (item['v'] !== itemVersion) throw new RecordUnreadable(`stored ${record}: version is not ${itemVersion}`);
  }

  text(name: string): string {
    const value = this.#item[name];
    return typeof value === 'string' ? value : this.#fail(name);
  }

  number(name: string): number {
    const value = this.#item[name];
    return typeof value === 'number' ? value : this.#fail(name);
  }

  flag(name: string): boolean {
    const value = this.#item[name];
    return typeof value === 'boolean' ? value : this.#fail(name);
  }

  oneOf<const T extends string>(name: string, values: readonly T[]): T {
    return values.find((value) => value === this.#item[name]) ?? this.#fail(name);
  }

  /** Undefined when the attribute is missing, else what `read` makes of it; `read` answers undefined to refuse it. */
  optional<T>(name: string, read: (value: unknown) => T | undefined): T | undefined {
    const value = this.#item[name];
    return value === undefined ? undefined : (read(value) ?? this.#fail(name));
  }

  #fail(name: string): never {
    throw new RecordUnreadable(`stored ${this.#record}: attribute ${name} is missing or of the wrong type`);
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
