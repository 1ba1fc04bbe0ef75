/** The brokers of this installation: read by the operator, and sent away by the operator. */
import { createRoute, z } from '@hono/zod-openapi';
import { type BrokerLease, isAlive } from '../../services/tenancy/tenancy.js';
import type { Api, ApiDeps } from '../deps.js';
import { bearer, json, onlyOperator, onlyOperatorProblems, problemResponses, timestamp } from '../http.js';
import { Problem } from '../problems.js';
import { listBrokers } from '../store/brokers.js';
import { appendDrain, askedToDrain } from '../store/control.js';

const states = {
  serving: 'clients connect to it',
  'standing-by': 'it lives, and serves when the one that does has gone',
  late: 'it has not renewed its lease in time: it is dead, frozen or cut off from DynamoDB, and is followed by another one',
  stopped: 'it has stopped, and its sessions are being taken over',
  dead: 'another broker has found it dead, and is taking over its sessions',
} as const;
type State = keyof typeof states;

const brokerView = z
  .object({
    id: z.string().openapi({ description: 'A new id at each start', example: 'broker-mV3kq0sYt2Zx' }),
    state: z.enum(Object.keys(states) as [State, ...State[]]).openapi({
      description: Object.entries(states)
        .map(([state, means]) => `\`${state}\`: ${means}`)
        .join('; '),
    }),
    version: z.string().optional().openapi({ description: 'Version of Shoal', example: '0.1.0' }),
    startedAt: timestamp,
    leaseUntil: timestamp,
    connections: z
      .int()
      .optional()
      .openapi({ description: 'Connected clients; up to ten seconds older than the last renewal of the lease' }),
    sessions: z.int().optional().openapi({ description: 'Sessions, connected or not; as old as `connections`' }),
    address: z
      .string()
      .optional()
      .openapi({ description: 'Where other brokers dial it; missing if it has no links', example: '10.0.1.7:7883' }),
    links: z.object({ up: z.int(), expected: z.int() }).optional().openapi({
      description: 'Links to other brokers: the reliable ones, and the expected number, one for each living broker',
    }),
    takenOverBy: z.string().optional().openapi({ description: 'Of a dead broker: the broker that takes over' }),
  })
  .openapi('Broker');

const brokerPath = z.object({
  id: z
    .string()
    .openapi({ param: { name: 'id', in: 'path' }, example: 'broker-mV3kq0sYt2Zx', description: 'Broker id' }),
});

export function brokerRoutes(app: Api, deps: ApiDeps): void {
  listRoute(app, deps);
  drainRoute(app, deps);
}

function listRoute(app: Api, deps: ApiDeps): void {
  const list = createRoute({
    method: 'get',
    path: '/v1/brokers',
    operationId: 'listBrokers',
    summary: 'List the brokers (operator key only)',
    description: 'Living brokers, and dead or stopped ones whose sessions are not yet taken over.',
    tags: ['Brokers'],
    security: bearer,
    middleware: [onlyOperator(deps)],
    responses: {
      200: json(z.object({ items: z.array(brokerView) }).openapi('Brokers'), 'All of them, the longest running first'),
      ...problemResponses(...onlyOperatorProblems),
    },
  });
  app.openapi(list, async (c) => {
    const { leases, serving } = await listBrokers(deps.dynamo);
    const nowMs = deps.clock.nowMs();
    const stateOf = (lease: BrokerLease): State => {
      if (isAlive(lease, nowMs)) return lease.isTogether || lease.brokerId === serving ? 'serving' : 'standing-by';
      return lease.takenBy === undefined ? (lease.givenUp ? 'stopped' : 'late') : 'dead';
    };
    const items = leases
      .toSorted((a, b) => a.startedAtMs - b.startedAtMs)
      .map((lease) => ({
        id: lease.brokerId,
        state: stateOf(lease),
        ...(lease.version !== undefined && { version: lease.version }),
        startedAt: new Date(lease.startedAtMs).toISOString(),
        leaseUntil: new Date(lease.leaseUntilMs).toISOString(),
        ...lease.load,
        ...(lease.address !== undefined && { address: lease.address }),
        ...(lease.links && { links: lease.links }),
        ...(lease.takenBy !== undefined && { takenOverBy: lease.takenBy }),
      }));
    return c.json({ items }, 200);
  });
}

/**
 * Asking twice does no harm: the broker stops once, and its id is not found when it has ended. Another broker has to live that
 * was not asked to drain as well; so a script that asks one after the other without waiting leaves the last one alone. Two
 * requests at the very same time may both find the other's broker there.
 */
function drainRoute(app: Api, deps: ApiDeps): void {
  const drain = createRoute({
    method: 'post',
    path: '/v1/brokers/{id}/drain',
    operationId: 'drainBroker',
    summary: 'Send the clients of a broker away and end it (operator key only)',
    description:
      'The broker stops as it does on SIGTERM: it sends its clients away one after the other and ends. Whoever runs it ' +
      '(ECS, `npm start`) starts a new one, which has another id.',
    tags: ['Brokers'],
    security: bearer,
    middleware: [onlyOperator(deps)],
    request: { params: brokerPath },
    responses: {
      202: { description: 'Accepted; the broker begins within two seconds. It is listed until it has ended' },
      ...problemResponses('broker-not-found', 'last-broker', ...onlyOperatorProblems),
    },
  });
  app.openapi(drain, async (c) => {
    const { dynamo, clock } = deps;
    const { id } = c.req.valid('param');
    const living = (await listBrokers(dynamo)).leases.filter((lease) => isAlive(lease, clock.nowMs()));
    const meant = living.find(({ brokerId }) => brokerId === id);
    if (meant === undefined) throw new Problem('broker-not-found');
    const asked = await askedToDrain(dynamo, clock);
    const remains = living.some(({ brokerId }) => brokerId !== id && !asked.has(brokerId));
    if (!asked.has(meant.brokerId) && !remains)
      throw new Problem('last-broker', { detail: 'Start another broker first, or stop this one where it runs' });
    await appendDrain(dynamo, clock, meant.brokerId);
    return c.body(null, 202);
  });
}
