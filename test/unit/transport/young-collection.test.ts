import { PerformanceObserver } from 'node:perf_hooks';
import { expect, it } from 'vitest';
import { hasReadInto } from '../../../services/broker/transport/young-collection.js';
import { until } from '../../support/until.js';

it('the young generation is collected each time that what was read has grown by 8 MB', async () => {
  let collections = 0;
  const observer = new PerformanceObserver((list) => (collections += list.getEntries().length));
  observer.observe({ entryTypes: ['gc'] });
  const kept: Buffer[] = [];
  for (let i = 0; i < 2000; i++) {
    kept.push(Buffer.allocUnsafeSlow(1 << 16)); // 125 MB in all, and no objects to speak of.
    hasReadInto(1 << 16);
  }
  await until(() => collections >= 10, 'the collections');
  observer.disconnect();
  expect(kept).toHaveLength(2000);
});
