/** Credentials: what MQTT clients of a tenant connect with. */
import { createRoute, z } from '@hono/zod-openapi';
import {
  chosenPasswordCharactersMax,
  chosenPasswordCharactersMin,
  type ControlEntry,
  type Credential,
  credentialNameError,
  effectiveQuotas,
  generateSecret,
  grantError,
  grantsMax,
  hashSecret,
  type Incarnation,
  type SecretHash,
  tenantOf,
} from '../../services/tenancy/tenancy.js';
import type { Api, ApiDeps } from '../deps.js';
import {
  bearer,
  bodyProblems,
  guard,
  guardProblems,
  json,
  jsonBody,
  onlyJson,
  pageOf,
  pageQuery,
  problemResponses,
  refusal,
  tenantPath,
  timestamp,
} from '../http.js';
import { Problem } from '../problems.js';
import { giveBackPlace } from '../store/credential-places.js';
import { appendControl } from '../store/control.js';
import {
  createCredential,
  findCredential,
  listCredentials,
  removeCredential,
  setGrants,
  setSecret,
} from '../store/credentials.js';

const grant = z
  .strictObject({
    effect: z.enum(['allow', 'deny']),
    action: z.enum(['publish', 'subscribe', 'all']),
    topic: z.string().openapi({ example: 'telemetry/${clientid}/#' }),
  })
  .superRefine((value, context) => {
    const error = grantError(value);
    if (error !== undefined) context.addIssue({ code: 'custom', path: ['topic'], message: error });
  })
  .openapi('Grant');
const grants = z.array(grant).max(grantsMax, `a credential can have at most ${grantsMax} grants`).nullable().openapi({
  description: 'null allows everything inside the tenant. A deny beats an allow; whatever no grant allows is denied.',
});

const name = z
  .string()
  .superRefine((value, context) => {
    const error = credentialNameError(value);
    if (error !== undefined) context.addIssue({ code: 'custom', message: error });
  })
  .openapi({ example: 'sensor-1' });
const password = z
  .string()
  .min(chosenPasswordCharactersMin, `a password must have at least ${chosenPasswordCharactersMin} characters`)
  .max(chosenPasswordCharactersMax, `a password can have at most ${chosenPasswordCharactersMax} characters`);

const createBody = z
  .strictObject({ name, password: password.optional(), grants: grants.optional() })
  .openapi('NewCredential');
const patchBody = z.strictObject({ grants }).openapi('CredentialChange');
const rotateBody = z.strictObject({ password: password.optional() }).openapi('Rotation');

const credentialView = z
  .object({
    name: z.string(),
    username: z.string().openapi({ example: 'sensor-1@acme' }),
    grants,
    createdAt: timestamp,
  })
  .openapi('Credential');
const withPassword = credentialView
  .extend({ password: z.string().openapi({ description: 'Shown only once' }) })
  .openapi('CredentialWithPassword');
const credentialPath = tenantPath.extend({ name: z.string().openapi({ param: { name: 'name', in: 'path' } }) });

const tags = ['Credentials'];
const path = '/v1/tenants/{id}/credentials';
const onePath = `${path}/{name}` as const;

export function credentialRoutes(app: Api, deps: ApiDeps): void {
  createAndRead(app, deps);
  change(app, deps);
}

function createAndRead(app: Api, deps: ApiDeps): void {
  const { dynamo, clock } = deps;
  const create = createRoute({
    method: 'post',
    path,
    operationId: 'createCredential',
    summary: 'Create a credential',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'tenant' }), onlyJson],
    request: { params: tenantPath, body: jsonBody(createBody, true) },
    responses: {
      201: json(withPassword, 'The credential and its password'),
      ...problemResponses(
        'credential-name-taken',
        'too-many-credentials',
        'tenant-only',
        ...guardProblems,
        ...bodyProblems,
      ),
    },
  });
  app.openapi(create, async (c) => {
    const body = c.req.valid('json');
    const secret = await newSecret(body.password);
    const caller = await c.get('callerNow')();
    const { id, scope } = caller.tenant;
    const credential: Credential = {
      scope,
      name: body.name,
      secretHash: secret.hash,
      ...(body.grants && { grants: body.grants }),
      createdAtMs: clock.nowMs(),
      revision: 1,
    };
    const { credentials } = effectiveQuotas(caller.tenant.plan, caller.tenant.quotaOverrides);
    const outcome = await createCredential(dynamo, caller, credential, credentials);
    if (outcome === 'not allowed') throw await refusal(c);
    if (outcome === 'full') throw new Problem('too-many-credentials', { detail: `The quota is ${credentials}` });
    if (outcome === 'taken') throw new Problem('credential-name-taken');
    c.header('location', `/v1/tenants/${id}/credentials/${encodeURIComponent(body.name)}`);
    return c.json({ ...viewOf(credential), password: secret.password }, 201);
  });

  const readAll = createRoute({
    method: 'get',
    path,
    operationId: 'listCredentials',
    summary: 'List credentials',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: tenantPath, query: pageQuery },
    responses: {
      200: json(pageOf('CredentialPage', credentialView), 'Credentials, sorted by name'),
      ...problemResponses('invalid-request', 'invalid-cursor', ...guardProblems),
    },
  });
  app.openapi(readAll, async (c) =>
    c.json(await listCredentials(dynamo, c.get('caller').tenant.scope, c.req.valid('query'), viewOf), 200),
  );

  const readOne = createRoute({
    method: 'get',
    path: onePath,
    operationId: 'readCredential',
    summary: 'Get a credential',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: credentialPath },
    responses: {
      200: json(credentialView, 'The credential'),
      ...problemResponses('credential-not-found', ...guardProblems),
    },
  });
  app.openapi(readOne, async (c) =>
    c.json(
      viewOf(orNotFound(await findCredential(dynamo, c.get('caller').tenant.scope, nameOf(c.req.valid('param'))))),
      200,
    ),
  );
}

/** Each change is written first; the brokers hear of it after and disconnect whom it concerns. */
function change(app: Api, deps: ApiDeps): void {
  const { dynamo } = deps;
  const tell = (
    tenant: Incarnation,
    changed: string,
    how: Extract<ControlEntry, { type: 'credential-changed' }>['change'],
  ): Promise<void> =>
    appendControl(dynamo, deps.clock, tenant, { type: 'credential-changed', name: changed, change: how });
  const common = { tags, security: bearer } as const;

  const patch = createRoute({
    ...common,
    method: 'patch',
    path: onePath,
    operationId: 'changeGrants',
    summary: 'Change the grants of a credential',
    middleware: [guard(deps, { allow: 'tenant' }), onlyJson],
    request: { params: credentialPath, body: jsonBody(patchBody, true) },
    responses: {
      200: json(credentialView, 'The credential'),
      ...problemResponses('credential-not-found', 'tenant-only', ...guardProblems, ...bodyProblems),
    },
  });
  app.openapi(patch, async (c) => {
    const changed = nameOf(c.req.valid('param'));
    const wanted = c.req.valid('json').grants ?? undefined;
    const { tenant } = await c.get('callerNow')();
    const credential = orNotFound(await setGrants(dynamo, tenant.scope, changed, wanted));
    await tell(tenant, changed, 'grants');
    return c.json(viewOf(credential), 200);
  });

  const rotate = createRoute({
    ...common,
    method: 'post',
    path: `${onePath}/rotate`,
    operationId: 'rotatePassword',
    summary: 'Set a new password for a credential',
    description:
      'The old password stops working at once. Clients connected with it are disconnected within two seconds.',
    middleware: [guard(deps, { allow: 'tenant' }), onlyJson],
    request: { params: credentialPath, body: jsonBody(rotateBody, false) },
    responses: {
      200: json(withPassword, 'The credential and its new password'),
      ...problemResponses('credential-not-found', 'tenant-only', ...guardProblems, ...bodyProblems),
    },
  });
  app.openapi(rotate, async (c) => {
    const changed = nameOf(c.req.valid('param'));
    // Without a body there is nothing to validate.
    const body = c.req.valid('json') as z.infer<typeof rotateBody> | undefined;
    const secret = await newSecret(body?.password);
    const { tenant } = await c.get('callerNow')();
    const credential = orNotFound(await setSecret(dynamo, tenant.scope, changed, secret.hash));
    await tell(tenant, changed, 'rotated');
    return c.json({ ...viewOf(credential), password: secret.password }, 200);
  });

  const remove = createRoute({
    ...common,
    method: 'delete',
    path: onePath,
    operationId: 'deleteCredential',
    summary: 'Delete a credential',
    description: 'Clients connected with it are disconnected within two seconds.',
    middleware: [guard(deps, { allow: 'tenant' })],
    request: { params: credentialPath },
    responses: {
      204: { description: 'Deleted' },
      ...problemResponses('credential-not-found', 'tenant-only', ...guardProblems),
    },
  });
  app.openapi(remove, async (c) => {
    const { tenant } = c.get('caller');
    const removed = nameOf(c.req.valid('param'));
    const wasThere = await removeCredential(dynamo, tenant.scope, removed);
    if (wasThere) await giveBackPlace(dynamo, c.get('caller'));
    // Also when it was gone: the request before this one may have failed between the write and the entry.
    await tell(tenant, removed, 'deleted');
    if (!wasThere) throw new Problem('credential-not-found');
    return c.body(null, 204);
  });
}

async function newSecret(given: string | undefined): Promise<{ password: string; hash: SecretHash }> {
  const secret = given ?? generateSecret();
  return { password: secret, hash: await hashSecret(secret, given === undefined ? 'generated' : 'chosen') };
}

/** What cannot be a name is not looked up. */
function nameOf(params: { name: string }): string {
  if (credentialNameError(params.name) !== undefined) throw new Problem('credential-not-found');
  return params.name;
}

function orNotFound(credential: Credential | undefined): Credential {
  if (credential === undefined) throw new Problem('credential-not-found');
  return credential;
}

function viewOf(credential: Credential): z.infer<typeof credentialView> {
  return {
    name: credential.name,
    username: `${credential.name}@${tenantOf(credential.scope)}`,
    grants: credential.grants?.slice() ?? null,
    createdAt: new Date(credential.createdAtMs).toISOString(),
  };
}
