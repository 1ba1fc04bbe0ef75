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

/**
 * The same for a name that somebody signs up with. Stricter than what `tenantIdError` takes: tenants of earlier releases
 * have other names, and keep them. A hyphen at either end is no host name (RFC 1123, section 2.1). What every JavaScript
 * object has is safe here, where names are no keys of objects, and a trap for the tools of whoever runs this.
 */
export function newTenantIdError(name: string): string | undefined {
  const error = tenantIdError(name);
  if (error !== undefined) return error;
  if (name.startsWith('-') || name.endsWith('-')) return 'a tenant name must begin and end with a letter or a digit';
  return name in Object.prototype
    ? `${name} cannot be a tenant name, as programs take it for something else`
    : undefined;
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
  const plain = plainUserName(userName);
  const at = plain.lastIndexOf('@');
  const name = plain.slice(0, at);
  const tenant = plain.slice(at + 1);
  if (at < 0 || credentialNameError(name) !== undefined || tenantIdError(tenant) !== undefined) return undefined;
  return { name, tenant: tenant as TenantId };
}

/** Without what the SDKs for AWS IoT append: `?SDK=…&Version=…`, or the parameters of an authorizer. No name has a `?`. */
export function plainUserName(userName: string): string {
  const queryAt = userName.indexOf('?');
  return queryAt < 0 ? userName : userName.slice(0, queryAt);
}

/** Of each of its two parts. */
const sdkCharactersMax = 32;

/**
 * What a client says of itself behind its user name, for people to read: `NodeJSv2/1.21.0`. Nothing else of the query, which
 * may hold the secrets of an authorizer.
 */
export function sdkOf(userName: string): string | undefined {
  const queryAt = userName.indexOf('?');
  if (queryAt < 0) return undefined;
  const query = new URLSearchParams(userName.slice(queryAt + 1));
  const [sdk, version] = ['SDK', 'Version'].map((parameter) =>
    query
      .get(parameter)
      ?.replace(/[^A-Za-z0-9._+-]/g, '')
      .slice(0, sdkCharactersMax),
  );
  if (!sdk) return undefined;
  return version ? `${sdk}/${version}` : sdk;
}
