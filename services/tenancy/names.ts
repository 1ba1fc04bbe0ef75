/** The grammar of tenant ids, credential names and user names. */
import type { TenantId } from '../kernel/kernel.js';

/** Short enough to leave a partition key to the client id, and lower case so that it can become a host name. */
const tenantIdPattern = /^[a-z0-9-]{3,32}$/;

/** Without `/`, `+` and `#`, so that `${username}` in a grant is always one plain level. */
const credentialNamePattern = /^[A-Za-z0-9._:@-]{1,64}$/;

/** Undefined when `name` can be a tenant's id, otherwise what is wrong with it. */
export function tenantIdError(name: string): string | undefined {
  return tenantIdPattern.test(name) ? undefined : 'a tenant name must have 3 to 32 characters of a-z, 0-9 and -';
}

/** Undefined when `name` can be a credential's name, otherwise what is wrong with it. */
export function credentialNameError(name: string): string | undefined {
  if (!credentialNamePattern.test(name))
    return 'a credential name must have 1 to 64 characters of A-Z, a-z, 0-9, dot, underscore, colon, @ and -';
  // Names appear in paths, where clients resolve these away.
  if (name === '.' || name === '..') return 'a credential name cannot be . or ..';
  return undefined;
}

/** `name@tenant` at its last `@`; undefined when it cannot be the user name of any credential. */
export function splitUserName(userName: string): { readonly name: string; readonly tenant: TenantId } | undefined {
  const at = userName.lastIndexOf('@');
  const name = userName.slice(0, at);
  const tenant = userName.slice(at + 1);
  if (at < 0 || credentialNameError(name) !== undefined || tenantIdError(tenant) !== undefined) return undefined;
  return { name, tenant: tenant as TenantId };
}
