/**
 * Which tenant of a name is meant. A name is free again when its tenant has been deleted, so the name alone says too
 * little: what was checked of the one owner's tenant could be used on the next one's. Each sign-up therefore makes a
 * creation id, and the two together are the scope, which is the first part of the key of everything that is stored of
 * the tenant but its own row. Items of two tenants of one name never meet, however late a write arrives.
 *
 * Tenants of before there were creation ids have none, and their scope is their name.
 */
import { randomBytes } from 'node:crypto';
import type { TenantId, TenantScope } from '../kernel/kernel.js';

/** 64 bits: two tenants of one name never get the same. */
const creationIdBytes = 8;
/** In no tenant's id, and not `#` or `$`, which end a scope in keys. */
const separator = '~';

export const generateCreationId = (): string => randomBytes(creationIdBytes).toString('hex');

export interface Incarnation {
  readonly id: TenantId;
  readonly creationId?: string;
}

export function scopeOf({ id, creationId }: Incarnation): TenantScope {
  return (creationId === undefined ? String(id) : id + separator + creationId) as TenantScope;
}

/** The name of the tenant. */
export function tenantOf(scope: TenantScope): TenantId {
  return scope.split(separator, 1)[0] as TenantId;
}
