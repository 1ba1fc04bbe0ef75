/**
 * Plain items as DynamoDB's attribute values in JSON, and back: strings, numbers, booleans, null, bytes, lists, maps and sets.
 * What they mean is what the SDK's `marshall` and `unmarshall` make of them; a test compares the two.
 */
import type { Item, TableKey } from './tables.js';

/** `{"S":"text"}`, with bytes in base64. */
export type AttributeValue = Readonly<Record<string, unknown>>;
export type Attributes = Record<string, AttributeValue>;

/** Without the attributes that are undefined. */
export function toAttributes(item: object): Attributes {
  const attributes: Attributes = {};
  for (const name in item) {
    const value = (item as Record<string, unknown>)[name];
    if (value !== undefined) attributes[name] = toAttribute(value);
  }
  return attributes;
}

/** The JSON of `toAttributes(item)`. What a record is mostly made of takes no objects on its way. */
export function attributesText(item: object): string {
  let text = '';
  for (const name in item) {
    const value = (item as Record<string, unknown>)[name];
    if (value !== undefined) text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${attributeText(value)}`;
  }
  return `{${text}}`;
}

/** The JSON of one. */
export function attributeText(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return `{"S":${JSON.stringify(value)}}`;
    case 'number':
      return `{"N":"${numberText(value)}"}`;
    default:
      return JSON.stringify(toAttribute(value));
  }
}

/** The JSON of `toKey(key)`. */
export const keyText = ({ pk, sk }: TableKey): string =>
  `{"pk":{"S":${JSON.stringify(pk)}},"sk":{"S":${JSON.stringify(sk)}}}`;

/** The key alone, so that an item serves as its own key. */
export function toKey({ pk, sk }: TableKey): Attributes {
  return { pk: { S: pk }, sk: { S: sk } };
}

function toAttribute(value: unknown): AttributeValue {
  switch (typeof value) {
    case 'string':
      return { S: value };
    case 'number':
      return { N: numberText(value) };
    case 'boolean':
      return { BOOL: value };
    case 'bigint':
      return { N: value.toString() };
    case 'object':
      return value === null ? { NULL: true } : objectAttribute(value);
    default:
      throw new TypeError(`DynamoDB stores no ${typeof value}`);
  }
}

function objectAttribute(value: object): AttributeValue {
  if (value instanceof Uint8Array) return { B: base64(value) };
  if (Array.isArray(value)) return { L: value.filter((one) => one !== undefined).map(toAttribute) };
  if (value instanceof Set) return setAttribute([...(value as Set<unknown>)]);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    throw new TypeError(`DynamoDB stores no ${value.constructor.name}`);
  return { M: toAttributes(value) };
}

function setAttribute(members: readonly unknown[]): AttributeValue {
  if (members.every((one) => typeof one === 'string') && members.length > 0) return { SS: members };
  if (members.every((one) => typeof one === 'number') && members.length > 0) return { NS: members.map(numberText) };
  if (members.every((one) => one instanceof Uint8Array) && members.length > 0) return { BS: members.map(base64) };
  throw new TypeError('DynamoDB stores no empty or mixed set');
}

/** DynamoDB keeps 38 digits, JavaScript fewer: what it may have rounded already is not stored as if it were exact. */
function numberText(value: number): string {
  if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER)
    throw new RangeError(`DynamoDB does not store the number ${value}`);
  return String(value);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

export function fromAttributes(attributes: Readonly<Record<string, AttributeValue>>): Item {
  const item: Record<string, unknown> = {};
  for (const name of Object.keys(attributes)) item[name] = fromAttribute(attributes[name]!);
  return item;
}

function fromAttribute(attribute: AttributeValue): unknown {
  for (const type in attribute) {
    const value = attribute[type];
    switch (type) {
      case 'S':
      case 'BOOL':
        return value;
      case 'N':
        return numberOf(value as string);
      case 'B':
        return bytesOf(value as string);
      case 'NULL':
        return null;
      case 'L':
        return (value as AttributeValue[]).map(fromAttribute);
      case 'M':
        return fromAttributes(value as Attributes);
      case 'SS':
        return new Set(value as string[]);
      case 'NS':
        return new Set((value as string[]).map(numberOf));
      case 'BS':
        return new Set((value as string[]).map(bytesOf));
    }
  }
  throw new TypeError(`unknown type of an attribute: ${Object.keys(attribute).join(', ')}`);
}

/** A whole number that JavaScript would round comes as a BigInt. */
function numberOf(text: string): number | bigint {
  const value = Number(text);
  if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
  return BigInt(text);
}

function bytesOf(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
