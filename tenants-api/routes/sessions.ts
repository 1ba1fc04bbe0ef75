/** Sessions: who is connected, and a way to disconnect one. Brokers write the records, the API reads them. */
import { createRoute, z } from '@hono/zod-openapi';
import type { ClientId } from '../../services/kernel/kernel.js';
import { isClientId, type SessionRecord } from '../../services/tenancy/tenancy.js';
import type { Api, ApiDeps } from '../deps.js';
import { viewSession } from '../domain/sessions.js';
import {
  bearer,
  guard,
  guardProblems,
  json,
  pageOf,
  pageQuery,
  problemResponses,
  tenantPath,
  timestamp,
} from '../http.js';
import { Problem } from '../problems.js';
import { appendControl } from '../store/control.js';
import type { Actor } from '../store/tenants.js';
import { findLease, findLeases, findSession, listSessions } from '../store/sessions.js';

const sessionView = z
  .object({
    clientId: z.string(),
    username: z.string().openapi({ example: 'sensor-1@acme' }),
    sdk: z.string().nullable().openapi({
      description:
        'The `?SDK=…&Version=…` suffix of the user name, which the AWS IoT SDKs append; null without one. Not verified.',
      example: 'NodeJSv2/1.21.0',
    }),
    protocolVersion: z.enum(['3.1', '3.1.1', '5']),
    address: z.string().openapi({ example: '203.0.113.7:49152' }),
    connected: z.boolean(),
    since: timestamp.openapi({ description: 'When the client connected, or when it disconnected' }),
    keepAliveSeconds: z.int(),
    sessionExpirySeconds: z.int().nullable().openapi({ description: 'null: the session never expires' }),
    queuedMessages: z.int().openapi({
      description:
        'QoS 1 and 2 messages waiting for the client. The figure is a few seconds old, or up to a minute while the client is connected',
    }),
    droppedMessages: z.int().openapi({
      description: 'Messages dropped since the session began because its queue (`queuedMessagesPerSession`) was full',
    }),
  })
  .openapi('Session');

const sessionPath = tenantPath.extend({ clientId: z.string().openapi({ param: { name: 'clientId', in: 'path' } }) });

const clientIdQuery = z.strictObject({ clientId: z.string().min(1) });

const endingDescription =
  'Takes effect within two seconds and removes the subscriptions and queued messages of the session. The client may connect again and gets a new session; delete its credential to keep it out.';

const tags = ['Sessions'];
const path = '/v1/tenants/{id}/sessions';

export function sessionRoutes(app: Api, deps: ApiDeps): void {
  const { dynamo, clock } = deps;
  const readAll = createRoute({
    method: 'get',
    path,
    operationId: 'listSessions',
    summary: 'List sessions',
    description:
      'Sessions of connected and of disconnected clients. A session is listed until the second in which it expires.',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: tenantPath, query: pageQuery },
    responses: {
      200: json(pageOf('SessionPage', sessionView), 'Sessions, in a stable order'),
      ...problemResponses('invalid-request', 'invalid-cursor', ...guardProblems),
    },
  });
  app.openapi(readAll, async (c) => {
    const leaseOf = await findLeases(dynamo);
    const isByLease = ({ connected, disconnectedAtMs }: SessionRecord): boolean =>
      connected || disconnectedAtMs === undefined;
    const nowMs = clock.nowMs();
    const tenant = c.get('caller').tenant.scope;
    const page = await listSessions(
      dynamo,
      tenant,
      c.req.valid('query'),
      async (session) => viewSession(session, isByLease(session) ? await leaseOf(session.owner) : undefined, nowMs),
      (clientId, { message }) => deps.log.error({ tenant, clientId, reason: message }, 'a session cannot be read'),
    );
    return c.json(page, 200);
  });

  const end = async ({ tenant }: Actor, id: string): Promise<void> => {
    const clientId = id as ClientId;
    const session = isClientId(id) ? await findSession(dynamo, tenant.scope, clientId) : undefined;
    if (session === undefined) throw new Problem('session-not-found');
    // What cannot be read can be removed nevertheless.
    const known = session === 'unreadable' ? undefined : session;
    if (known && viewSession(known, await findLease(dynamo, known.owner), clock.nowMs()) === undefined)
      throw new Problem('session-not-found');
    await appendControl(dynamo, clock, tenant, { type: 'session-kick', clientId, ...(known && { born: known.born }) });
  };

  const byId = createRoute({
    method: 'delete',
    path,
    operationId: 'endSession',
    summary: 'Disconnect a client and end its session',
    description: `${endingDescription} This form works for any client id.`,
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: tenantPath, query: clientIdQuery },
    responses: {
      202: { description: 'Accepted; the brokers end the session within two seconds' },
      ...problemResponses('session-not-found', 'invalid-request', ...guardProblems),
    },
  });
  app.openapi(byId, async (c) => {
    await end(c.get('caller'), c.req.valid('query').clientId);
    return c.body(null, 202);
  });

  const byPath = createRoute({
    method: 'delete',
    path: `${path}/{clientId}`,
    operationId: 'endSessionByPath',
    summary: 'Disconnect a client and end its session, by path',
    description: `${endingDescription} Do not use it for client ids that contain \`?\`, or \`.\` or \`..\` between slashes, because gateways change such paths.`,
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: sessionPath },
    responses: {
      202: { description: 'Accepted; the brokers end the session within two seconds' },
      ...problemResponses('session-not-found', ...guardProblems),
    },
  });
  app.openapi(byPath, async (c) => {
    await end(c.get('caller'), c.req.valid('param').clientId);
    return c.body(null, 202);
  });
  // API Gateway decodes the path, so that a slash of a client id arrives as it is; and so it may with any server.
  app.delete(`${byPath.getRoutingPath()}{.+}`, guard(deps, { allow: 'both' }), async (c) => {
    await end(c.get('caller'), c.req.param('clientId') ?? '');
    return c.body(null, 202);
  });
}
