/** Credentials in the table `tenants`. Every change is one conditional write that lets the revision grow. */
import { ConditionFailed, type Dynamo } from '../../services/dynamo/dynamo.js';
import type { TenantId } from '../../services/kernel/kernel.js';
import {
  type Credential,
  credentialFromItem,
  credentialKey,
  credentialPrefix,
  credentialToItem,
  type Grant,
  type SecretHash,
} from '../../services/tenancy/tenancy.js';
import { decodeCursor, type ListPage, type PageRequest, toPage } from './paging.js';

export async function findCredential(dynamo: Dynamo, tenant: TenantId, name: string): Promise<Credential | undefined> {
  const item = await dynamo.get('tenants', credentialKey(tenant, name), { consistent: true });
  return item && credentialFromItem(item);
}

/** False when the name is taken. */
export async function createCredential(dynamo: Dynamo, credential: Credential): Promise<boolean> {
  try {
    await dynamo.put('tenants', credentialToItem(credential), { condition: 'attribute_not_exists(pk)' });
    return true;
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    // The answer to our own first attempt may have got lost: the hash tells, it is random or salted.
    const found = await findCredential(dynamo, credential.tenant, credential.name);
    return found?.secretHash === credential.secretHash;
  }
}

const list = 'credentials';

export async function listCredentials<T>(
  dynamo: Dynamo,
  tenant: TenantId,
  { limit, cursor }: PageRequest,
  view: (credential: Credential) => T,
): Promise<ListPage<T>> {
  const after = cursor === undefined ? undefined : decodeCursor(list, cursor)[1];
  const page = await dynamo.query('tenants', {
    pk: tenant,
    sk: { beginsWith: credentialPrefix },
    limit: limit + 1,
    consistent: true,
    ...(after !== undefined && { from: { ...credentialKey(tenant, after) } }),
  });
  return toPage(list, limit, page.items.map(credentialFromItem), ({ name }) => [0, name], view);
}

/** `grants` undefined: everything. Undefined when there is no such credential. */
export async function setGrants(
  dynamo: Dynamo,
  tenant: TenantId,
  name: string,
  grants: readonly Grant[] | undefined,
): Promise<Credential | undefined> {
  const set = grants === undefined ? 'REMOVE grants ADD revision :one' : 'SET grants = :grants ADD revision :one';
  return await change(dynamo, tenant, name, set, { ':one': 1, ...(grants && { ':grants': grants }) });
}

export async function setSecret(
  dynamo: Dynamo,
  tenant: TenantId,
  name: string,
  secretHash: SecretHash,
): Promise<Credential | undefined> {
  const set = 'SET secretHash = :hash ADD revision :one';
  return await change(dynamo, tenant, name, set, { ':one': 1, ':hash': secretHash });
}

/** Whether there was one. */
export async function removeCredential(dynamo: Dynamo, tenant: TenantId, name: string): Promise<boolean> {
  return (await dynamo.delete('tenants', credentialKey(tenant, name), { returnOld: true })) !== undefined;
}

async function change(
  dynamo: Dynamo,
  tenant: TenantId,
  name: string,
  update: string,
  values: Record<string, unknown>,
): Promise<Credential | undefined> {
  const options = { update, values, condition: 'attribute_exists(pk)', returns: 'new' } as const;
  try {
    const item = await dynamo.update('tenants', credentialKey(tenant, name), options);
    return item && credentialFromItem(item);
  } catch (error) {
    if (error instanceof ConditionFailed) return undefined;
    throw error;
  }
}
