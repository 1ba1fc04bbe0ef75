/** Sign-up, and the tenant itself. */
import { createRoute, z } from '@hono/zod-openapi';
import type { TenantId } from '../../services/kernel/kernel.js';
import {
  formatApiKey,
  generateApiKeyParts,
  generateCreationId,
  hashSecret,
  newTenantIdError,
  plans,
  type PlanName,
} from '../../services/tenancy/tenancy.js';
import type { Api, ApiDeps } from '../deps.js';
import { bearerToken, isOperatorKey } from '../domain/authentication.js';
import { deleteTenant } from '../domain/deletion.js';
import { sourceOf } from '../domain/source.js';
import {
  bearer,
  bodyProblems,
  guard,
  guardProblems,
  json,
  jsonBody,
  onlyJson,
  problemResponses,
  tenantPath,
  timestamp,
} from '../http.js';
import { Problem } from '../problems.js';
import { countSignUp } from '../store/sign-ups.js';
import { createTenant } from '../store/tenants.js';

/** A test fleet that signs up from one place gets by; a script that hoards names does not. */
const signUpsPerMinuteDefault = 60;

const endpoints = z
  .object({
    mqtts: z.string().optional(),
    wss: z.string().optional(),
    mqtt: z.string().optional(),
    ws: z.string().optional(),
    api: z.string(),
  })
  .openapi('Endpoints');

const plan = z.enum(Object.keys(plans) as [PlanName]);

const signUpBody = z
  .strictObject({
    name: z
      .string()
      .superRefine((name, context) => {
        const error = newTenantIdError(name);
        if (error !== undefined) context.addIssue({ code: 'custom', message: error });
      })
      .openapi({ pattern: '^[a-z0-9][a-z0-9-]{1,30}[a-z0-9]$', example: 'acme' }),
  })
  .openapi('SignUp');

const signedUp = z
  .object({ id: z.string(), plan, apiKey: z.string().openapi({ description: 'Shown only once' }), endpoints })
  .openapi('SignedUp');

const tenantView = z
  .object({ id: z.string(), plan, status: z.enum(['active', 'suspended']), createdAt: timestamp, endpoints })
  .openapi('Tenant');

export function tenantRoutes(app: Api, deps: ApiDeps): void {
  const { dynamo, clock } = deps;
  const signUp = createRoute({
    method: 'post',
    path: '/v1/tenants',
    operationId: 'signUp',
    summary: 'Sign up',
    tags: ['Tenants'],
    middleware: [onlyJson],
    request: { body: jsonBody(signUpBody, true) },
    responses: {
      201: json(signedUp, 'The tenant and its first API key'),
      ...problemResponses('tenant-name-taken', 'too-many-sign-ups', ...bodyProblems),
    },
  });
  app.openapi(signUp, async (c) => {
    const id = c.req.valid('json').name as TenantId;
    const token = bearerToken(c.req.header('authorization'));
    if (token === undefined || !isOperatorKey(token, deps.operatorKey)) {
      const perMinute = deps.signUp?.perMinute ?? signUpsPerMinuteDefault;
      const retryAfterSeconds = await countSignUp(dynamo, sourceOf(deps.sourceAddress(c)), perMinute, clock.nowMs());
      if (retryAfterSeconds !== undefined) throw new Problem('too-many-sign-ups', { retryAfterSeconds });
    }
    const createdAtMs = clock.nowMs();
    const key = generateApiKeyParts(id);
    const secretHash = await hashSecret(key.secret, 'generated');
    const isCreated = await createTenant(
      dynamo,
      { id, plan: 'free', status: 'active', quotaOverrides: {}, createdAtMs, creationId: generateCreationId() },
      { id: key.keyId, secretHash, createdAtMs },
    );
    if (!isCreated) throw new Problem('tenant-name-taken');
    c.header('location', `/v1/tenants/${id}`);
    return c.json({ id, plan: 'free' as const, apiKey: formatApiKey(key), endpoints: deps.endpoints }, 201);
  });

  const read = createRoute({
    method: 'get',
    path: '/v1/tenants/{id}',
    operationId: 'readTenant',
    summary: 'Get a tenant',
    tags: ['Tenants'],
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: tenantPath },
    responses: { 200: json(tenantView, 'The tenant'), ...problemResponses(...guardProblems) },
  });
  app.openapi(read, (c) => {
    const { tenant } = c.get('caller');
    const status = tenant.status === 'suspended' ? ('suspended' as const) : ('active' as const);
    const createdAt = new Date(tenant.createdAtMs).toISOString();
    return c.json({ id: tenant.id, plan: tenant.plan, status, createdAt, endpoints: deps.endpoints }, 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: '/v1/tenants/{id}',
    operationId: 'deleteTenant',
    summary: 'Delete a tenant and all its data',
    description: 'Clients are disconnected within two seconds. The name is free again once the answer is 204.',
    tags: ['Tenants'],
    security: bearer,
    middleware: [guard(deps, { allow: 'both', includeDeleting: true })],
    request: { params: tenantPath },
    responses: {
      202: { description: 'The tenant no longer exists, but some of its data remains; repeat the request' },
      204: { description: 'Everything is deleted' },
      ...problemResponses(...guardProblems),
    },
  });
  app.openapi(remove, async (c) => {
    const isGone = await deleteTenant(dynamo, clock, c.get('caller').tenant, deps.deletionSettleMs);
    if (isGone) return c.body(null, 204);
    c.header('retry-after', '1');
    return c.body(null, 202);
  });
}
