import { describe, expect, it } from 'vitest';
import { effectiveQuotas, plans, quotaKinds, quotaValueError } from '../../../services/tenancy/tenancy.js';

describe('quotas', () => {
  it('are the nineteen kinds, each with a unit, a default within its bounds and a reason of one sentence', () => {
    expect(quotaKinds.map(({ kind }) => kind)).toEqual([
      'connections',
      'publishPerSecond',
      'deliverPerSecond',
      'bytesPerSecond',
      'messageBytesMax',
      'subscriptionsPerSession',
      'sessionExpirySecondsMax',
      'queuedMessagesPerSession',
      'retainedMessages',
      'retainedBytes',
      'credentials',
      'connectsPerSecond',
      'packetsPerSecond',
      'subscribesPerSecond',
      'subscriptions',
      'cpuShare',
      'memoryBytes',
      'databaseUnitsPerSecond',
      'databaseUnitsPerMonth',
    ]);
    for (const row of quotaKinds) {
      expect(row.unit, row.kind).not.toBe('');
      expect(row.reason, row.kind).toMatch(/^[A-Z].*\.$/);
      expect(quotaValueError(row.kind, row.free), row.kind).toBeUndefined();
      expect(plans.free.quotas[row.kind]).toBe(row.free);
    }
  });

  it('are the plan with overrides over it, within the hard bounds', () => {
    expect(effectiveQuotas('free', {})).toEqual(plans.free.quotas);
    const quotas = effectiveQuotas('free', { connections: 5, publishPerSecond: null, messageBytesMax: null });
    expect(quotas).toEqual({
      ...plans.free.quotas,
      connections: 5,
      publishPerSecond: null,
      messageBytesMax: 393_216,
    });
    expect(effectiveQuotas('free', { messageBytesMax: 10 ** 9 }).messageBytesMax).toBe(393_216);
  });

  it.each([
    ['connections', 0, undefined],
    ['connections', null, undefined],
    ['connections', -1, /at least 0/],
    ['connections', 1.5, /whole number/],
    ['connections', Number.POSITIVE_INFINITY, /whole number/],
    ['messageBytesMax', 393_216, undefined],
    ['messageBytesMax', 393_217, /at most 393216/],
    ['messageBytesMax', 0, /at least 1/],
    ['cpuShare', 101, /at most 100/],
    ['connectsPerSecond', 0, /at least 1/],
  ] as const)('%s of %s is judged', (kind, value, expected) => {
    const error = quotaValueError(kind, value);
    if (expected === undefined) expect(error).toBeUndefined();
    else expect(error).toMatch(expected);
  });
});
