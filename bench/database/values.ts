/** Attribute values as they travel in DynamoDB's JSON (`{ S: 'text' }`): their sizes, their order, and when they are equal. */

/** Exactly one member, named by its type. Never changed: items share them. */
export type Value = Readonly<Record<string, unknown>>;
export type Attributes = Readonly<Record<string, Value>>;

/** What DynamoDB answers with status 400. */
export class Refusal extends Error {
  readonly type: string;
  readonly item: Attributes | undefined;
  constructor(type: string, message: string, item?: Attributes) {
    super(message);
    this.type = type;
    this.item = item;
  }
}

export const invalid = (message: string): Refusal => new Refusal('ValidationException', message);

export function typeOf(value: Value): string {
  const type = Object.keys(value)[0];
  if (type !== undefined) return type;
  throw invalid('Supplied AttributeValue is empty, must contain exactly one of the supported datatypes');
}

/** Names and values, as DynamoDB counts them. */
export function bytesOf(attributes: Attributes): number {
  let bytes = 0;
  for (const name in attributes) bytes += Buffer.byteLength(name) + valueBytes(attributes[name]!);
  return bytes;
}

function valueBytes(value: Value): number {
  const type = typeOf(value);
  const content = value[type];
  switch (type) {
    case 'S':
      return Buffer.byteLength(content as string);
    case 'N':
      return numberBytes(content as string);
    case 'B':
      return Buffer.byteLength(content as string, 'base64');
    case 'BOOL':
    case 'NULL':
      return 1;
    case 'SS':
    case 'NS':
    case 'BS':
      return (content as string[]).reduce((sum, one) => sum + valueBytes({ [type[0]!]: one }), 0);
    case 'L':
      return (content as Value[]).reduce((sum, one) => sum + 1 + valueBytes(one), 3);
    case 'M':
      return 3 + bytesOf(content as Attributes) + Object.keys(content as object).length;
    default:
      throw invalid(`${type} is not a datatype`);
  }
}

function numberBytes(text: string): number {
  const digits = text.replace(/[eE].*$|[-+.]/g, '').replace(/^0+|0+$/g, '').length;
  return digits === 0 ? 1 : 1 + Math.ceil(digits / 2) + (text.startsWith('-') ? 1 : 0);
}

const beyondAscii = /[^\0-\x7f]/;

/** Texts that compare as the values do: text by its bytes of UTF-8, bytes as they are, numbers by their size. */
export function orderOf(value: Value): string {
  if ('S' in value) {
    const text = value['S'] as string;
    return beyondAscii.test(text) ? Buffer.from(text).toString('latin1') : text;
  }
  if ('B' in value) return Buffer.from(value['B'] as string, 'base64').toString('latin1');
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(Number(value['N']));
  const isNegative = bytes[0]! >= 0x80;
  for (let at = 0; at < 8; at++) bytes[at]! ^= isNegative ? 0xff : at === 0 ? 0x80 : 0;
  return bytes.toString('latin1');
}

/** Negative, zero or positive; NaN for values that have no order among each other. */
export function compare(a: Value, b: Value): number {
  const type = typeOf(a);
  if (type !== typeOf(b)) return NaN;
  if (type === 'N') return compareNumbers(a['N'] as string, b['N'] as string);
  if (type !== 'S' && type !== 'B') return NaN;
  const [one, other] = [orderOf(a), orderOf(b)];
  return one < other ? -1 : one > other ? 1 : 0;
}

const wholeNumber = /^-?\d+$/;
const exactDigits = 15;

function compareNumbers(a: string, b: string): number {
  if ((a.length > exactDigits || b.length > exactDigits) && wholeNumber.test(a) && wholeNumber.test(b)) {
    const [one, other] = [BigInt(a), BigInt(b)];
    return one < other ? -1 : one > other ? 1 : 0;
  }
  return Number(a) - Number(b);
}

/** `sign` 1 adds, -1 subtracts. Whole numbers exactly, others as doubles. */
export function sum(a: Value, b: Value, sign: 1 | -1): Value {
  const [one, other] = [a['N'], b['N']];
  if (typeof one !== 'string' || typeof other !== 'string') throw wrongOperand();
  if (wholeNumber.test(one) && wholeNumber.test(other)) {
    if (one.length < exactDigits && other.length < exactDigits)
      return { N: String(Number(one) + sign * Number(other)) };
    return { N: String(BigInt(one) + BigInt(sign) * BigInt(other)) };
  }
  return { N: String(Number(one) + sign * Number(other)) };
}

export const wrongOperand = (): Refusal => invalid('An operand in the update expression has an incorrect data type');

export function equal(a: Value, b: Value): boolean {
  const type = typeOf(a);
  if (type !== typeOf(b)) return false;
  const [one, other] = [a[type], b[type]];
  if (type === 'N') return compareNumbers(one as string, other as string) === 0;
  if (typeof one !== 'object' || typeof other !== 'object') return one === other;
  if (type === 'L') {
    const [list, others] = [one as Value[], other as Value[]];
    return list.length === others.length && list.every((each, at) => equal(each, others[at]!));
  }
  if (type === 'M') {
    const [map, others] = [one as Attributes, other as Attributes];
    const names = Object.keys(map);
    return (
      names.length === Object.keys(others).length &&
      names.every((name) => others[name] !== undefined && equal(map[name]!, others[name]))
    );
  }
  const [set, others] = [one as string[], new Set(other as string[])];
  return set.length === others.size && set.every((each) => others.has(each));
}
