/**
 * API keys: `shoal_<tenant>_<key id><secret>`. The tenant and the key id say where the hash is stored, so that a
 * check is one read; the fixed start lets secret scanners find keys that leaked.
 */
import { randomInt } from 'node:crypto';
import type { TenantId } from '../kernel/kernel.js';
import { generateSecret } from './secrets.js';

export interface ApiKeyParts {
  readonly tenant: TenantId;
  readonly keyId: string;
  readonly secret: string;
}

const keyIdAlphabet = 'abcdefghijkmnpqrstuvwxyz23456789';
/** 50 bits: two keys of one tenant never meet. */
const keyIdCharacters = 10;
const apiKeyPattern = /^shoal_([a-z0-9-]{3,32})_([a-z0-9]{10})([A-Za-z0-9_-]{32})$/;

export function generateApiKeyParts(tenant: TenantId): ApiKeyParts {
  const keyId = Array.from({ length: keyIdCharacters }, () => keyIdAlphabet[randomInt(keyIdAlphabet.length)]).join('');
  return { tenant, keyId, secret: generateSecret() };
}

export function formatApiKey({ tenant, keyId, secret }: ApiKeyParts): string {
  return `shoal_${tenant}_${keyId}${secret}`;
}

/** Undefined for anything that is not formed like an API key. */
export function parseApiKey(text: string): ApiKeyParts | undefined {
  const [, tenant, keyId, secret] = apiKeyPattern.exec(text) ?? [];
  return tenant === undefined ? undefined : { tenant: tenant as TenantId, keyId: keyId!, secret: secret! };
}
