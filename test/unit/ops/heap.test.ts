import { expect, test } from 'vitest';
import { oldGenerationLimit } from '../../../services/broker/ops/heap.js';

const mib = 2 ** 20;

test.each([
  ['the argument', ['--max-old-space-size=96'], '', 288, 96],
  ['the last of two', ['--max-old-space-size=96', '--max_old_space_size=100'], '', 288, 100],
  ['the environment', ['--enable-source-maps'], '--no-warnings --max-old-space-size=1228', 1420, 1228],
  ['the argument before the environment', ['--max-old-space-size=96'], '--max-old-space-size=1228', 288, 96],
  ['never more than there is', ['--max-old-space-size=9999'], '', 4288, 4288],
  ['no setting: all but the young generation', [], '', 4288, 4096],
  ['no setting on a small machine', [], '', 256, 128],
])('the limit of what stays: %s', (_, execArgv, options, limitMib, expectedMib) => {
  expect(oldGenerationLimit(execArgv, options, limitMib * mib)).toBe(expectedMib * mib);
});
