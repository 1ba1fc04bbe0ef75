/**
 * Who is asking. A tenant's key leads to that tenant alone: the tenant of the path is compared with the key's and
 * never looked up on a key's behalf, so that a tenant that exists and one that does not take the same way.
 *
 * What is found is true when it is read. A handler that has waited since (for a body, or for scrypt) asks again, and its
 * writes name the creation id of the tenant that was found.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { TenantId } from '../../services/kernel/kernel.js';
import { parseApiKey, tenantIdError, verifySecret } from '../../services/tenancy/tenancy.js';
import { Problem } from '../problems.js';
import { findKey } from '../store/keys.js';
import { type Actor, findTenant, type StoredTenant } from '../store/tenants.js';

export interface Caller extends Actor {
  readonly isOperator: boolean;
}

export interface AuthenticationOptions {
  readonly dynamo: Dynamo;
  readonly operatorKey: string;
  /** As in the request. */
  readonly authorization: string | undefined;
  /** As in the path. */
  readonly tenantId: string;
  readonly allow: 'tenant' | 'operator' | 'both';
  /** For deleting alone: whoever began has to be able to finish. */
  readonly includeDeleting?: boolean;
}

/** The caller and the tenant of the path, or throws the Problem to answer with. */
export async function authenticate(options: AuthenticationOptions): Promise<Caller> {
  const { dynamo, operatorKey, allow } = options;
  const token = bearerToken(options.authorization);
  if (token === undefined) throw new Problem('unauthenticated');
  const isOperator = isOperatorKey(token, operatorKey);
  const caller = isOperator ? undefined : await tenantOfKey(dynamo, token);
  if (!isOperator && caller === undefined) throw new Problem('unauthenticated');
  if (caller !== undefined && caller.id !== options.tenantId) throw new Problem('tenant-not-found');
  const isId = tenantIdError(options.tenantId) === undefined;
  const tenant = caller ?? (isId ? await findTenant(dynamo, options.tenantId as TenantId) : undefined);
  if (tenant === undefined || (tenant.status === 'deleting' && !options.includeDeleting))
    throw new Problem('tenant-not-found');
  if (isOperator && allow === 'tenant') throw new Problem('tenant-only');
  if (!isOperator && allow === 'operator') throw new Problem('operator-only');
  if (!isOperator && tenant.status === 'suspended') throw new Problem('tenant-suspended');
  const keyId = isOperator ? undefined : parseApiKey(token)?.keyId;
  return { tenant, isOperator, ...(keyId !== undefined && { keyId }) };
}

/** Throws the Problem to answer with, unless it is the operator who asks. */
export async function authenticateOperator(
  dynamo: Dynamo,
  operatorKey: string,
  authorization: string | undefined,
): Promise<void> {
  const token = bearerToken(authorization);
  if (token !== undefined && isOperatorKey(token, operatorKey)) return;
  const tenant = token === undefined ? undefined : await tenantOfKey(dynamo, token);
  throw new Problem(tenant === undefined ? 'unauthenticated' : 'operator-only');
}

export function bearerToken(authorization: string | undefined): string | undefined {
  return /^Bearer +([^\s]+) *$/i.exec(authorization ?? '')?.[1];
}

/** Constant-time, whatever the lengths. */
export function isOperatorKey(token: string, operatorKey: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return operatorKey !== '' && timingSafeEqual(digest(token), digest(operatorKey));
}

/** The tenant that the key opens, read anew each time: a deleted key stops at once. */
async function tenantOfKey(dynamo: Dynamo, token: string): Promise<StoredTenant | undefined> {
  const parts = parseApiKey(token);
  if (parts === undefined) return undefined;
  const tenant = await findTenant(dynamo, parts.tenant);
  const key = tenant && (await findKey(dynamo, tenant, parts.keyId));
  return (await verifySecret(parts.secret, key?.secretHash)) ? tenant : undefined;
}
