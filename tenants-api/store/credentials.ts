/**
 * Credentials in the table `tenants`, by the scope of their tenant: a write that comes late, when the name is somebody
 * else's, does not reach the new owner's. Every change is one conditional write that lets the revision grow.
 */
import { ConditionFailed, type Dynamo } from '../../services/dynamo/dynamo.js';
import type { TenantScope } from '../../services/kernel/kernel.js';
import {
  type Credential,
  credentialFromItem,
  credentialKey,
  credentialNameError,
  credentialPrefix,
  credentialToItem,
  type Grant,
  type SecretHash,
} from '../../services/tenancy/tenancy.js';
import { giveBackPlace, takePlace } from './credential-places.js';
import { type Actor, isStillAllowed } from './tenants.js';
import { decodeCursor, type List, type ListPage, type PageRequest, toPage } from './paging.js';

export async function findCredential(
  dynamo: Dynamo,
  scope: TenantScope,
  name: string,
): Promise<Credential | undefined> {
  const item = await dynamo.get('tenants', credentialKey(scope, name), { consistent: true });
  return item && credentialFromItem(item);
}

/**
 * `not allowed`: the tenant or the actor's key has gone meanwhile. No condition on the credential's own item can tell, so
 * it is asked after the write, which is then taken back: a purge that has passed already would not come again. `full`:
 * the tenant has `max` of them.
 */
export async function createCredential(
  dynamo: Dynamo,
  actor: Actor,
  credential: Credential,
  max: number | null,
): Promise<'created' | 'taken' | 'full' | 'not allowed'> {
  const place = await takePlace(dynamo, actor, max, credential.createdAtMs);
  if (place !== 'taken') return place;
  const outcome = await writeCredential(dynamo, actor, credential);
  if (outcome !== 'created') await giveBackPlace(dynamo, actor);
  return outcome;
}

async function writeCredential(
  dynamo: Dynamo,
  actor: Actor,
  credential: Credential,
): Promise<'created' | 'taken' | 'not allowed'> {
  const { scope, name, secretHash } = credential;
  try {
    await dynamo.put('tenants', credentialToItem(credential), { condition: 'attribute_not_exists(pk)' });
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    // The answer to our own first attempt may have got lost: the hash tells, it is random or salted.
    const found = await findCredential(dynamo, scope, name);
    if (found?.secretHash !== secretHash) return 'taken';
  }
  if (await isStillAllowed(dynamo, actor)) return 'created';
  await removeCredential(dynamo, scope, name, secretHash);
  return 'not allowed';
}

const listOf = (scope: TenantScope): List => ({
  name: 'credentials',
  scope,
  isPosition: ([bucket, after]) => bucket === 0 && credentialNameError(after) === undefined,
});

export async function listCredentials<T>(
  dynamo: Dynamo,
  scope: TenantScope,
  { limit, cursor }: PageRequest,
  view: (credential: Credential) => T,
): Promise<ListPage<T>> {
  const list = listOf(scope);
  const after = cursor === undefined ? undefined : decodeCursor(list, cursor)[1];
  const page = await dynamo.query('tenants', {
    pk: scope,
    sk: { beginsWith: credentialPrefix },
    limit: limit + 1,
    consistent: true,
    ...(after !== undefined && { from: { ...credentialKey(scope, after) } }),
  });
  return toPage(list, limit, page.items.map(credentialFromItem), ({ name }) => [0, name], view);
}

/** `grants` undefined: everything. Undefined when there is no such credential. */
export async function setGrants(
  dynamo: Dynamo,
  scope: TenantScope,
  name: string,
  grants: readonly Grant[] | undefined,
): Promise<Credential | undefined> {
  const set = grants === undefined ? 'REMOVE grants ADD revision :one' : 'SET grants = :grants ADD revision :one';
  return await change(dynamo, scope, name, set, { ':one': 1, ...(grants && { ':grants': grants }) });
}

export async function setSecret(
  dynamo: Dynamo,
  scope: TenantScope,
  name: string,
  secretHash: SecretHash,
): Promise<Credential | undefined> {
  const set = 'SET secretHash = :hash ADD revision :one';
  return await change(dynamo, scope, name, set, { ':one': 1, ':hash': secretHash });
}

/** Whether there was one. With `secretHash`: only if it still has that one. */
export async function removeCredential(
  dynamo: Dynamo,
  scope: TenantScope,
  name: string,
  secretHash?: SecretHash,
): Promise<boolean> {
  const only = secretHash !== undefined && { condition: 'secretHash = :hash', values: { ':hash': secretHash } };
  try {
    return (await dynamo.delete('tenants', credentialKey(scope, name), { returnOld: true, ...only })) !== undefined;
  } catch (error) {
    if (error instanceof ConditionFailed) return false;
    throw error;
  }
}

async function change(
  dynamo: Dynamo,
  scope: TenantScope,
  name: string,
  update: string,
  values: Record<string, unknown>,
): Promise<Credential | undefined> {
  const options = { update, values, condition: 'attribute_exists(pk)', returns: 'new' } as const;
  try {
    const item = await dynamo.update('tenants', credentialKey(scope, name), options);
    return item && credentialFromItem(item);
  } catch (error) {
    if (error instanceof ConditionFailed) return undefined;
    throw error;
  }
}
