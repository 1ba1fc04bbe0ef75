/**
 * Branded identifiers: a client id can never be passed where a tenant id belongs.
 * Whoever reads one from outside (a CONNECT packet, an item, a path) brands it after validation.
 */
declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

export type TenantId = Brand<string, 'TenantId'>;
/**
 * One tenant from its sign-up to its deletion. A name may be taken again by somebody else; a scope is not: it is the first
 * part of the key of everything that is stored of the tenant (`tenancy/scope.ts`).
 */
export type TenantScope = Brand<string, 'TenantScope'>;
/** A client identifier, unique inside its tenant only. */
export type ClientId = Brand<string, 'ClientId'>;
/** New at each start of a broker process. */
export type BrokerId = Brand<string, 'BrokerId'>;
