/**
 * Expressions, parsed by dynalite's own parsers and compiled to functions. What is compiled is kept by its text, its names
 * and the types of its values: a broker sends the same few expressions for ever.
 */
import validations from 'dynalite/validations/index.js';
import { type Attributes, compare, equal, invalid, sum, typeOf, type Value, wrongOperand } from './values.js';

export type Values = Readonly<Record<string, Value>>;
type Path = readonly (string | number)[];

/** The part of a request that is compiled. */
export interface Expressions {
  readonly ConditionExpression?: string;
  readonly FilterExpression?: string;
  readonly KeyConditionExpression?: string;
  readonly ProjectionExpression?: string;
  readonly UpdateExpression?: string;
  readonly ExpressionAttributeNames?: Readonly<Record<string, string>>;
  readonly ExpressionAttributeValues?: Values;
}

type Predicate = (item: Attributes, values: Values) => boolean;
type Operand = (item: Attributes, values: Values) => Value | undefined;

export interface KeyCondition {
  readonly operator: string;
  /** Names of values. */
  readonly operands: readonly string[];
}

export interface Compiled {
  readonly condition?: Predicate;
  readonly filter?: Predicate;
  /** By key attribute. */
  readonly keys?: Readonly<Record<string, KeyCondition>>;
  /** Names of attributes. */
  readonly projection?: readonly string[];
  /** The item as it is afterwards; the one that is given is left as it is. */
  readonly update?: (item: Attributes, values: Values) => Attributes;
}

const compiledMax = 10_000;
const kept = new Map<string, Compiled>();
const nothing: Compiled = {};

/** Throws Refusal for an expression that is none. */
export function compile(request: Expressions): Compiled {
  const { ConditionExpression, FilterExpression, KeyConditionExpression, ProjectionExpression, UpdateExpression } =
    request;
  const texts = [ConditionExpression, FilterExpression, KeyConditionExpression, ProjectionExpression, UpdateExpression];
  if (texts.every((text) => text === undefined)) return nothing;
  let name = JSON.stringify([texts, request.ExpressionAttributeNames]);
  for (const value in request.ExpressionAttributeValues)
    name += `${value}=${typeOf(request.ExpressionAttributeValues[value]!)}`;
  const found = kept.get(name);
  if (found) return found;
  const compiled = new Compiler(request.ExpressionAttributeValues ?? {}).compile(request);
  if (kept.size >= compiledMax) kept.clear();
  kept.set(name, compiled);
  return compiled;
}

/** What the parsers make; an operand is a path, one of the request's value objects, or again a node. */
interface Node {
  readonly type: string;
  readonly name?: string;
  readonly args: readonly unknown[];
}

interface Section {
  readonly type: 'set' | 'remove' | 'add' | 'delete';
  readonly path: Path;
  readonly val?: unknown;
}

class Compiler {
  /** The parsers hand the value objects on as they are: by identity one knows which value stood there. */
  readonly #names: ReadonlyMap<unknown, string>;

  constructor(values: Values) {
    this.#names = new Map(Object.entries(values).map(([name, value]) => [value, name]));
  }

  compile(request: Expressions): Compiled {
    const parsed: Parameters<typeof validations.validateExpressions>[0] = { ...request };
    const wrong = validations.validateExpressions(parsed);
    if (wrong !== undefined) throw invalid(wrong);
    const { _condition, _filter, _keyCondition, _updates, _projection } = parsed;
    return {
      ...(_condition && { condition: this.#predicate(_condition.expression as Node) }),
      ...(_filter && { filter: this.#predicate(_filter.expression as Node) }),
      ...(_keyCondition && { keys: this.#keys(_keyCondition.expression) }),
      ...(_projection && { projection: _projection.paths.map(attributeOf) }),
      ...(_updates && { update: this.#update(_updates.sections as readonly Section[]) }),
    };
  }

  #keys(expression: unknown): Readonly<Record<string, KeyCondition>> {
    const conditions = validations.convertKeyCondition(expression);
    if (typeof conditions === 'string') throw invalid(`Invalid KeyConditionExpression: ${conditions}`);
    return Object.fromEntries(
      Object.entries(conditions).map(([attribute, { ComparisonOperator, AttributeValueList }]) => [
        attribute,
        { operator: ComparisonOperator, operands: AttributeValueList.map((value) => this.#names.get(value)!) },
      ]),
    );
  }

  #predicate(node: Node): Predicate {
    if (node.type === 'and' || node.type === 'or') {
      const [one, other] = node.args.map((arg) => this.#predicate(arg as Node)) as [Predicate, Predicate];
      return node.type === 'and'
        ? (item, values) => one(item, values) && other(item, values)
        : (item, values) => one(item, values) || other(item, values);
    }
    if (node.type === 'not') {
      const inner = this.#predicate(node.args[0] as Node);
      return (item, values) => !inner(item, values);
    }
    const test = tests[node.type === 'function' ? node.name! : node.type];
    if (!test) throw invalid(`this database does not know ${node.name ?? node.type}`);
    const operands = node.args.map((arg) => this.#operand(arg));
    return (item, values) => test(...operands.map((operand) => operand(item, values)));
  }

  #operand(arg: unknown): Operand {
    if (Array.isArray(arg)) {
      const path = arg as Path;
      const [head] = path;
      if (path.length === 1) return (item) => item[head!];
      return (item) => valueAt(path, item);
    }
    const name = this.#names.get(arg);
    if (name !== undefined) return (_, values) => values[name];
    const node = arg as Node;
    const operands = node.args.map((inner) => this.#operand(inner));
    const operation = operations[node.type === 'function' ? node.name! : node.type];
    if (!operation) throw invalid(`this database does not know ${node.name ?? node.type}`);
    return (item, values) => operation(...operands.map((operand) => operand(item, values)));
  }

  #update(sections: readonly Section[]): (item: Attributes, values: Values) => Attributes {
    const isDeep = sections.some(({ path }) => path.length > 1);
    const steps = sections.map(({ type, path, val }) => ({
      type,
      path,
      operand: val === undefined ? () => undefined : this.#operand(val),
    }));
    return (item, values) => {
      const given = steps.map(({ operand }) => operand(item, values));
      const after = isDeep ? structuredClone(item) : { ...item };
      steps.forEach(({ type, path }, at) => change(type, place(path, after), given[at]));
      return after;
    };
  }
}

function attributeOf(path: Path): string {
  if (path.length > 1) throw invalid('this database projects whole attributes only');
  return String(path[0]);
}

function valueAt(path: Path, item: Attributes): Value | undefined {
  let value: Value | undefined = { M: item };
  for (const step of path) value = (value?.['M'] ?? value?.['L'] ?? {})[step as never];
  return value;
}

type Test = (...operands: (Value | undefined)[]) => boolean;

const ordered =
  (holds: (order: number) => boolean): Test =>
  (a, b) =>
    a !== undefined && b !== undefined && holds(compare(a, b));

const tests: Readonly<Record<string, Test>> = {
  '=': (a, b) => a !== undefined && b !== undefined && equal(a, b),
  '<>': (a, b) => a === undefined || b === undefined || !equal(a, b),
  '<': ordered((order) => order < 0),
  '<=': ordered((order) => order <= 0),
  '>': ordered((order) => order > 0),
  '>=': ordered((order) => order >= 0),
  between: (a, low, high) => tests['>=']!(a, low) && tests['<=']!(a, high),
  in: (a, ...list) => list.some((one) => tests['=']!(a, one)),
  attribute_exists: (a) => a !== undefined,
  attribute_not_exists: (a) => a === undefined,
  attribute_type: (a, type) => a !== undefined && typeOf(a) === type?.['S'],
  begins_with: (a, start) => {
    const type = start === undefined ? '' : typeOf(start);
    if (a === undefined || typeOf(a) !== type) return false;
    if (type === 'S') return (a['S'] as string).startsWith(start!['S'] as string);
    return bytes(a).subarray(0, bytes(start!).length).equals(bytes(start!));
  },
  contains: (a, part) => {
    if (a === undefined || part === undefined) return false;
    if ('L' in a) return (a['L'] as Value[]).some((one) => equal(one, part));
    if ('S' in a && 'S' in part) return (a['S'] as string).includes(part['S'] as string);
    if ('B' in a && 'B' in part) return bytes(a).includes(bytes(part));
    const set = a[`${typeOf(part)}S`];
    return Array.isArray(set) && set.includes(part[typeOf(part)]);
  },
};

const bytes = (value: Value): Buffer => Buffer.from(value['B'] as string, 'base64');

const missing = () => invalid('The provided expression refers to an attribute that does not exist in the item');

const operations: Readonly<Record<string, (...operands: (Value | undefined)[]) => Value | undefined>> = {
  size: (a) => {
    if (a === undefined) return undefined;
    const content = Object.values(a)[0];
    if ('S' in a) return { N: String(Buffer.byteLength(content as string)) };
    if ('B' in a) return { N: String(bytes(a).length) };
    return { N: String(Object.keys(content as object).length) };
  },
  if_not_exists: (a, otherwise) => a ?? otherwise,
  list_append: (a, b) => {
    if (!a || !b) throw missing();
    if (!('L' in a && 'L' in b)) throw wrongOperand();
    return { L: [...(a['L'] as Value[]), ...(b['L'] as Value[])] };
  },
  add: (a, b) => {
    if (!a || !b) throw missing();
    return sum(a, b, 1);
  },
  subtract: (a, b) => {
    if (!a || !b) throw missing();
    return sum(a, b, -1);
  },
};

/** Where a path ends: in a map or a list. */
interface Place {
  readonly parent: Record<string | number, Value>;
  readonly step: string | number;
}

function place(path: Path, item: Attributes): Place {
  const step = path[path.length - 1]!;
  if (path.length === 1) return { parent: item, step };
  const holder = valueAt(path.slice(0, -1), item);
  const parent = typeof step === 'number' ? holder?.['L'] : holder?.['M'];
  if (!parent) throw invalid('The document path provided in the update expression is invalid for update');
  return { parent: parent as Record<string | number, Value>, step };
}

function change(type: Section['type'], { parent, step }: Place, given: Value | undefined): void {
  const before = parent[step];
  if (type === 'remove') return remove(parent, step);
  if (given === undefined) throw missing();
  if (type === 'set') {
    if (Array.isArray(parent)) parent[Math.min(step as number, parent.length)] = given;
    else parent[step] = given;
    return;
  }
  const kind = typeOf(given);
  if (before !== undefined && typeOf(before) !== kind) throw wrongOperand();
  if (type === 'add' && kind === 'N') {
    parent[step] = before ? sum(before, given, 1) : given;
    return;
  }
  const set = new Set((before?.[kind] as string[] | undefined) ?? []);
  for (const one of given[kind] as string[]) set[type](one);
  if (set.size > 0) parent[step] = { [kind]: [...set] };
  else remove(parent, step);
}

function remove(parent: Place['parent'], step: string | number): void {
  if (Array.isArray(parent)) parent.splice(step as number, 1);
  else delete parent[step];
}
