import { describe, expect, it } from 'vitest';
import type { TenantId } from '../../../services/kernel/kernel.js';
import {
  formatApiKey,
  generateApiKeyParts,
  generateSecret,
  hashSecret,
  parseApiKey,
  type SecretHash,
  verifySecret,
} from '../../../services/tenancy/tenancy.js';

describe('secrets', () => {
  it('have 192 bits and differ', () => {
    const secrets = new Set(Array.from({ length: 100 }, generateSecret));
    expect(secrets.size).toBe(100);
    for (const secret of secrets) expect(secret).toMatch(/^[A-Za-z0-9_-]{32}$/);
  });

  it.each([
    ['generated', /^sha256\$[\w-]{43}$/],
    ['chosen', /^scrypt\$14\$8\$1\$[\w-]{22}\$[\w-]{43}$/],
  ] as const)('that are %s are stored hashed and verified', async (kind, form) => {
    const hash = await hashSecret('correct horse', kind);
    expect(hash).toMatch(form);
    expect(hash).not.toContain('horse');
    expect(await verifySecret('correct horse', hash)).toBe(true);
    expect(await verifySecret('correct horsf', hash)).toBe(false);
    expect(await verifySecret('', hash)).toBe(false);
  });

  it('that people choose are salted', async () => {
    expect(await hashSecret('correct horse', 'chosen')).not.toBe(await hashSecret('correct horse', 'chosen'));
  });

  it.each([
    // Stored by the first release: verified for ever.
    ['sha256$QQTTb42iwlQ0n4WDZ5Pr4CngyVcGOjTJHC6SAxh7VjE', true],
    ['scrypt$14$8$1$AAECAwQFBgcICQoLDA0ODw$JbN2hANm9NOw4h5BRHZnbjzQ6Jr0QwNWojTOC2WgIbU', true],
    [undefined, false],
    ['', false],
    ['sha256$', false],
    ['md5$QQTTb42iwlQ0n4WDZ5Pr4CngyVcGOjTJHC6SAxh7VjE', false],
    ['scrypt$30$8$1$AAECAwQFBgcICQoLDA0ODw$AAAA', false],
    ['scrypt$14$8$AAECAwQFBgcICQoLDA0ODw$AAAA', false],
    ['scrypt$x$8$1$AA$AA', false],
  ])('are verified against the stored hash %s', async (hash, expected) => {
    expect(await verifySecret('correct horse', hash as SecretHash | undefined)).toBe(expected);
  });
});

describe('API keys', () => {
  it('name their tenant and are parsed back', () => {
    const parts = generateApiKeyParts('a-1' as TenantId);
    const key = formatApiKey(parts);
    expect(key.startsWith('shoal_a-1_')).toBe(true);
    expect(parseApiKey(key)).toEqual(parts);
  });

  it.each(['', 'shoal_acme_', 'shoal_acme_short', `shoal_AC_${'a'.repeat(42)}`, `Bearer shoal_acme_${'a'.repeat(42)}`])(
    'are told from %j',
    (text) => expect(parseApiKey(text)).toBeUndefined(),
  );
});
