import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PeerFault, reasons } from '../../../services/broker/wire/reasons.js';
import { TopicTable } from '../../../services/broker/wire/topic-table.js';

const lookup = (table: TopicTable, text: string) => {
  const bytes = Buffer.from(`..${text}..`);
  return table.lookup(bytes, 2, bytes.length - 2);
};

describe('topic names on the wire', () => {
  it('are decoded once and compared by their bytes, whatever collides', () => {
    const table = new TopicTable();
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 300, unit: 'grapheme' }), (text) => {
        fc.pre(!/[+#\0]/.test(text));
        const name = lookup(table, text);
        expect([name.text, name.bytes.toString()]).toEqual([text, text]);
        if (name.bytes.length <= 256) expect(lookup(table, text)).toBe(name);
      }),
    );
    // More names than slots: every one is still itself.
    for (let i = 0; i < 40_000; i++) expect(lookup(table, `device/${i}`).text).toBe(`device/${i}`);
  });

  it('do not change with the buffer that they came in', () => {
    const table = new TopicTable();
    const bytes = Buffer.from('first');
    const name = table.lookup(bytes, 0, 5);
    bytes.write('other');
    expect([name.text, name.bytes.toString()]).toEqual(['first', 'first']);
    expect(table.lookup(bytes, 0, 5).text).toBe('other');
  });

  it.each([
    ['a/+', 0x90],
    ['#', 0x90],
    ['a\0', 0x81],
  ])('%j is refused with 0x%s', (text, code) => {
    const table = new TopicTable();
    for (const times of [1, 2])
      expect(() => lookup(table, text), `time ${times}`).toThrow(
        expect.objectContaining({ reason: expect.objectContaining({ code }) as unknown }),
      );
  });

  it.each([
    ['a/'.repeat(127), undefined],
    ['a/'.repeat(128), /at most 128 levels, and this one has 129/],
    ['/'.repeat(1025), /at most 1024 bytes/],
  ])('%.10j... is judged by its levels and bytes', (text, words) => {
    const table = new TopicTable();
    for (const times of [1, 2])
      if (words === undefined) expect(lookup(table, text).text).toBe(text);
      else expect(() => lookup(table, text), `time ${times}`).toThrow(words);
  });

  it('have as many levels as the operator says', () => {
    const table = new TopicTable(8);
    expect(lookup(table, '1/2/3/4/5/6/7/8').text).toBe('1/2/3/4/5/6/7/8');
    expect(() => lookup(table, '1/2/3/4/5/6/7/8/')).toThrow(
      expect.objectContaining({ reason: reasons.topicNameInvalid }) as Error,
    );
  });

  it('are refused when they are not UTF-8', () => {
    const bytes = Buffer.from([0x61, 0xc3, 0x28]);
    expect(() => new TopicTable().lookup(bytes, 0, 3)).toThrow(PeerFault);
  });
});
