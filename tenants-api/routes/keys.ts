/** API keys of a tenant. */
import { createRoute, z } from '@hono/zod-openapi';
import type { TenantScope } from '../../services/kernel/kernel.js';
import { type ApiKey, formatApiKey, generateApiKeyParts, hashSecret } from '../../services/tenancy/tenancy.js';
import type { Api, ApiDeps } from '../deps.js';
import {
  bearer,
  guard,
  guardProblems,
  json,
  jsonBody,
  bodyProblems,
  onlyJson,
  pageOf,
  pageQuery,
  problemResponses,
  refusal,
  tenantPath,
  timestamp,
} from '../http.js';
import { Problem } from '../problems.js';
import { addKey, keysMax, listKeys, removeKey } from '../store/keys.js';
import { decodeCursor, type List, toPage } from '../store/paging.js';

const keyView = z.object({ id: z.string(), createdAt: timestamp }).openapi('ApiKey');
const newKey = keyView.extend({ apiKey: z.string().openapi({ description: 'Shown only once' }) }).openapi('NewApiKey');
const keyPath = tenantPath.extend({ keyId: z.string().openapi({ param: { name: 'keyId', in: 'path' } }) });

/** No fields yet: a body is not needed, and what it may not say is refused. */
const newKeyBody = z.strictObject({}).openapi('NewApiKeyRequest');

const tags = ['API keys'];

const isKeyId = (id: string): boolean => /^[a-z0-9]{10}$/.test(id);
const listOf = (scope: TenantScope): List => ({
  name: 'keys',
  scope,
  isPosition: ([bucket, after]) => bucket === 0 && isKeyId(after),
});

export function keyRoutes(app: Api, deps: ApiDeps): void {
  const { dynamo, clock } = deps;
  const create = createRoute({
    method: 'post',
    path: '/v1/tenants/{id}/keys',
    operationId: 'createKey',
    summary: 'Create an API key',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' }), onlyJson],
    request: { params: tenantPath, body: jsonBody(newKeyBody, false) },
    responses: {
      201: json(newKey, 'The key'),
      ...problemResponses('too-many-keys', ...guardProblems, ...bodyProblems),
    },
  });
  app.openapi(create, async (c) => {
    const parts = generateApiKeyParts(c.get('caller').tenant.id);
    const secretHash = await hashSecret(parts.secret, 'generated');
    const key: ApiKey = { id: parts.keyId, secretHash, createdAtMs: clock.nowMs() };
    const outcome = await addKey(dynamo, await c.get('callerNow')(), key);
    if (outcome === 'not allowed') throw await refusal(c);
    if (outcome === 'too many')
      throw new Problem('too-many-keys', { detail: `A tenant can have at most ${keysMax} API keys` });
    return c.json({ ...viewOf(key), apiKey: formatApiKey(parts) }, 201);
  });

  const readAll = createRoute({
    method: 'get',
    path: '/v1/tenants/{id}/keys',
    operationId: 'listKeys',
    summary: 'List API keys',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: tenantPath, query: pageQuery },
    responses: {
      200: json(pageOf('ApiKeyPage', keyView), 'Keys, sorted by id, without their secrets'),
      ...problemResponses('invalid-request', 'invalid-cursor', ...guardProblems),
    },
  });
  app.openapi(readAll, async (c) => {
    const { limit, cursor } = c.req.valid('query');
    const { tenant } = c.get('caller');
    const list = listOf(tenant.scope);
    const after = cursor === undefined ? '' : decodeCursor(list, cursor)[1];
    const keys = (await listKeys(dynamo, tenant)).filter(({ id }) => id > after);
    return c.json(
      toPage(list, limit, keys, ({ id }) => [0, id], viewOf),
      200,
    );
  });

  const remove = createRoute({
    method: 'delete',
    path: '/v1/tenants/{id}/keys/{keyId}',
    operationId: 'deleteKey',
    summary: 'Delete an API key',
    description:
      'The key stops working at once. The last key cannot be deleted, so that nobody is locked out by accident.',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: keyPath },
    responses: {
      204: { description: 'Deleted' },
      ...problemResponses('key-not-found', 'last-key', ...guardProblems),
    },
  });
  app.openapi(remove, async (c) => {
    const { keyId } = c.req.valid('param');
    const outcome = isKeyId(keyId) ? await removeKey(dynamo, c.get('caller'), keyId) : 'not found';
    if (outcome === 'not allowed') throw await refusal(c);
    if (outcome === 'not found') throw new Problem('key-not-found');
    if (outcome === 'last key') throw new Problem('last-key', { detail: 'Create another key first' });
    return c.body(null, 204);
  });
}

function viewOf({ id, createdAtMs }: ApiKey): z.infer<typeof keyView> {
  return { id, createdAt: new Date(createdAtMs).toISOString() };
}
