/** The brokers of this installation: read by the operator. */
import { createRoute, z } from '@hono/zod-openapi';
import { type BrokerLease, isAlive } from '../../services/tenancy/tenancy.js';
import type { Api, ApiDeps } from '../deps.js';
import { bearer, json, onlyOperator, onlyOperatorProblems, problemResponses, timestamp } from '../http.js';
import { listBrokers } from '../store/brokers.js';

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

export function brokerRoutes(app: Api, deps: ApiDeps): void {
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
