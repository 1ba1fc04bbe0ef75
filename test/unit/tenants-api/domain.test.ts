import { describe, expect, it } from 'vitest';
import { isOperatorKey } from '../../../tenants-api/domain/authentication.js';
import { monthsBetween } from '../../../tenants-api/domain/deletion.js';
import { sourceOf } from '../../../tenants-api/domain/source.js';

describe('the source of a request', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['unknown', 'unknown'],
  ])('%s counts as %s', (address, expected) => expect(sourceOf(address)).toBe(expected));
});

describe('the months of a tenant', () => {
  it.each([
    ['2026-11-21', '2026-11-21', ['2026-10', '2026-11', '2026-12']],
    ['2025-12-31', '2026-01-01', ['2025-11', '2025-12', '2026-01', '2026-02']],
    ['2026-01-31', '2026-03-01', ['2025-12', '2026-01', '2026-02', '2026-03', '2026-04']],
  ])('from %s to %s', (from, to, expected) =>
    expect(monthsBetween(Date.parse(from), Date.parse(to))).toEqual(expected),
  );
});

describe('the operator key', () => {
  it.each([
    ['op', 'op', true],
    ['op', 'oq', false],
    ['op', 'operator', false],
    ['', '', false], // Not set means that nobody is the operator.
  ])('%j against %j', (token, key, expected) => expect(isOperatorKey(token, key)).toBe(expected));
});
