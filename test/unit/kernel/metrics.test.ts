import { expect, it } from 'vitest';
import { Metrics } from '../../../services/kernel/kernel.js';

it('metrics give one counter for one name and labels, and read gauges when asked', () => {
  const metrics = new Metrics();
  metrics.counter('closed', 'Closed', { reason: 'a' }).add();
  metrics.counter('closed', 'Closed', { reason: 'a' }).add(2);
  metrics.counter('closed', 'Closed', { reason: 'b' });
  let open = 1;
  metrics.gauge('open', 'Open', () => open);
  open = 7;
  expect([...metrics.samples()]).toEqual([
    { name: 'closed', kind: 'counter', help: 'Closed', labels: { reason: 'a' }, value: 3 },
    { name: 'closed', kind: 'counter', help: 'Closed', labels: { reason: 'b' }, value: 0 },
    { name: 'open', kind: 'gauge', help: 'Open', labels: {}, value: 7 },
  ]);
});
