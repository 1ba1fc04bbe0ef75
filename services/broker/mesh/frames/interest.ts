/** What brokers tell each other of who serves, of subscriptions and of receipts; layouts in `content.ts`. */
import { Buffer } from 'node:buffer';
import { contentTypes, type Encoded, numberBytes, numbers, Reading } from './content.js';

export interface FilterOfFrame {
  readonly pattern: string;
  readonly high: number;
  readonly low: number;
  readonly isThere: boolean;
}

/** Of the lane control, but for `passed`. */
export type ControlContent =
  | { readonly type: 'serves' | 'knows' }
  | { readonly type: 'barrier' | 'passed'; readonly barrier: number }
  | { readonly type: 'watch' | 'unwatch'; readonly tenant: string; readonly watch: number }
  | {
      readonly type: 'interest';
      readonly tenant: string;
      readonly watch: number;
      readonly isWhole: boolean;
      readonly filters: readonly FilterOfFrame[];
    }
  | { readonly type: 'receipts'; readonly ranges: readonly ReceiptRange[] };

/** Of so many messages in order, with the same outcome. */
export interface ReceiptRange {
  readonly first: number;
  count: number;
  readonly reasonCode: number;
}

const textBytes = (text: string): Buffer => {
  const bytes = Buffer.from(text);
  if (bytes.length > 255) throw new RangeError('a text of a frame is longer than 255 bytes');
  return bytes;
};

export function controlContent(content: ControlContent): Encoded {
  const type = contentTypes[content.type];
  switch (content.type) {
    case 'serves':
    case 'knows':
      return { type, body: Buffer.alloc(numberBytes) };
    case 'barrier':
    case 'passed':
      return { type, body: numbers(0, content.barrier) };
    case 'watch':
    case 'unwatch': {
      const tenant = textBytes(content.tenant);
      return { type, body: Buffer.concat([numbers(0, content.watch), Buffer.of(tenant.length), tenant]) };
    }
    case 'interest':
      return { type, body: interestBody(content) };
    case 'receipts': {
      const { ranges } = content;
      const body = Buffer.allocUnsafe(numberBytes + ranges.length * rangeBytes);
      for (const [i, { first, count, reasonCode }] of ranges.entries()) {
        const at = numberBytes + i * rangeBytes;
        body.writeUIntBE(first, at, 6);
        body.writeUInt32BE(count, at + 6);
        body[at + 10] = reasonCode;
      }
      return { type, body };
    }
  }
}

const rangeBytes = 11;
const filterBytes = 9;

function interestBody({ tenant, watch, isWhole, filters }: ControlContent & { type: 'interest' }): Buffer {
  const name = textBytes(tenant);
  const parts = [numbers(0, watch), Buffer.of(isWhole ? 1 : 0, name.length), name];
  for (let at = 0; at < filters.length;) {
    const { pattern } = filters[at]!;
    let end = at;
    while (end < filters.length && end - at < 0xffff && filters[end]!.pattern === pattern) end++;
    const text = Buffer.from(pattern);
    const group = Buffer.allocUnsafe(6 + text.length + (end - at) * filterBytes);
    group.writeUInt32BE(text.length, 0);
    text.copy(group, 4);
    let to = group.writeUInt16BE(end - at, 4 + text.length);
    for (; at < end; at++) {
      const { high, low, isThere } = filters[at]!;
      to = group.writeUInt32BE(high, to);
      to = group.writeUInt32BE(low, to);
      group[to++] = isThere ? 1 : 0;
    }
    parts.push(group);
  }
  return Buffer.concat(parts);
}

export function readControl(type: number, body: Buffer): ControlContent | undefined {
  const reading = new Reading(body, numberBytes, body.length);
  let content: ControlContent;
  switch (type) {
    case contentTypes.serves:
    case contentTypes.knows:
      content = { type: type === contentTypes.serves ? 'serves' : 'knows' };
      break;
    case contentTypes.barrier:
    case contentTypes.passed:
      content = { type: type === contentTypes.barrier ? 'barrier' : 'passed', barrier: reading.number(6) };
      break;
    case contentTypes.watch:
    case contentTypes.unwatch: {
      const watch = reading.number(6);
      content = { type: type === contentTypes.watch ? 'watch' : 'unwatch', watch, tenant: reading.text() };
      break;
    }
    case contentTypes.interest: {
      const watch = reading.number(6);
      const isWhole = reading.flag();
      content = { type: 'interest', watch, isWhole, tenant: reading.text(), filters: readFilters(reading) };
      break;
    }
    case contentTypes.receipts: {
      const ranges: ReceiptRange[] = [];
      while (!reading.isOver)
        ranges.push({ first: reading.number(6), count: reading.number(4), reasonCode: reading.byte() });
      content = { type: 'receipts', ranges };
      break;
    }
    default:
      return undefined;
  }
  reading.end();
  return content;
}

function readFilters(reading: Reading): FilterOfFrame[] {
  const filters: FilterOfFrame[] = [];
  while (!reading.isOver) {
    const pattern = reading.text(reading.number(4));
    for (let left = reading.number(2); left > 0; left--)
      filters.push({ pattern, high: reading.number(4), low: reading.number(4), isThere: reading.flag() });
  }
  return filters;
}
