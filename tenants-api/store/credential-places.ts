/**
 * How many credentials a tenant has, as an attribute of its row, for the quota `credentials`:
 *
 *      take a place (one conditional write) -> write the credential      remove the credential -> give the place back
 *
 * A crash in between, or an answer that got lost, leaves the number too high and never too low. So whoever finds no place
 * counts what is there, at most once in a while: the credentials of a full tenant may be 100 MB to read. A credential that
 * is being written just then is not counted: a quota may be exceeded by as many as are under way at that moment.
 */
import { ConditionFailed, type Dynamo } from '../../services/dynamo/dynamo.js';
import { credentialPrefix, tenantKey } from '../../services/tenancy/tenancy.js';
import { type Actor, findTenant, isStillAllowed, whileAllowed } from './tenants.js';

const countAgainMs = 600_000;

/** `max` null: any number. */
export async function takePlace(
  dynamo: Dynamo,
  actor: Actor,
  max: number | null,
  nowMs: number,
): Promise<'taken' | 'full' | 'not allowed'> {
  if (await take(dynamo, actor, max)) return 'taken';
  if (!(await isStillAllowed(dynamo, actor))) return 'not allowed';
  if (!(await recount(dynamo, actor, nowMs))) return 'full';
  return (await take(dynamo, actor, max)) ? 'taken' : 'full';
}

/** False as well where nobody has counted yet: a tenant of an earlier release. */
async function take(dynamo: Dynamo, actor: Actor, max: number | null): Promise<boolean> {
  const { condition, names, values } = whileAllowed(actor);
  const hasPlace = max === null ? 'attribute_exists(credentialCount)' : 'credentialCount < :max';
  return await unlessFailed(() =>
    dynamo.update('tenants', tenantKey(actor.tenant.id), {
      update: 'ADD credentialCount :one',
      condition: `${condition} AND ${hasPlace}`,
      names,
      values: { ...values, ':one': 1, ...(max !== null && { ':max': max }) },
    }),
  );
}

/** Of a credential that has been removed, or was not written. Not tried again: given back twice, it would be too low. */
export async function giveBackPlace(dynamo: Dynamo, actor: Actor): Promise<void> {
  const { condition, names, values } = whileAllowed(actor);
  await unlessFailed(() =>
    dynamo.update('tenants', tenantKey(actor.tenant.id), {
      update: 'ADD credentialCount :minusOne',
      condition: `${condition} AND credentialCount > :zero`,
      names,
      values: { ...values, ':minusOne': -1, ':zero': 0 },
      maxAttempts: 1,
    }),
  ).catch(() => false);
}

/** False when that was done not long ago, or when the number has changed meanwhile. */
async function recount(dynamo: Dynamo, actor: Actor, nowMs: number): Promise<boolean> {
  const { id, scope } = actor.tenant;
  const before = (await findTenant(dynamo, id))?.credentials;
  if (before !== undefined && before.countedAtMs + countAgainMs > nowMs) return false;
  let count = 0;
  const query = { pk: scope, sk: { beginsWith: credentialPrefix }, consistent: true, attributes: ['sk'] };
  for await (const page of dynamo.queryAll('tenants', query)) count += page.length;
  const { condition, names, values } = whileAllowed(actor);
  const isSame = before === undefined ? 'attribute_not_exists(credentialCount)' : 'credentialCount = :before';
  return await unlessFailed(() =>
    dynamo.update('tenants', tenantKey(id), {
      update: 'SET credentialCount = :count, credentialsCountedAtMs = :now',
      condition: `${condition} AND ${isSame}`,
      names,
      values: { ...values, ':count': count, ':now': nowMs, ...(before && { ':before': before.count }) },
    }),
  );
}

async function unlessFailed(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    if (error instanceof ConditionFailed) return false;
    throw error;
  }
}
