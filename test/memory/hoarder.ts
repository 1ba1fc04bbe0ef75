/**
 * A tenant without a quota of memory that takes all it can get, in a process with a small heap, and a neighbour. Prints what
 * became of both; run by `shedding.test.ts`.
 */
import { Heap } from '../../services/broker/ops/ops.js';
import { shedEveryMs } from '../../services/broker/tenant/tenant.js';
import type { TenantId } from '../../services/kernel/kernel.js';
import { scopeOf } from '../../services/tenancy/tenancy.js';
import { message } from '../unit/session/world.js';
import { type FakeConnection, World } from '../unit/admission/world.js';

const other = 'other' as TenantId;
const heap = new Heap();
const world = new World({
  ...{
    memoryBytes: null,
    queuedMessagesPerSession: null,
    connections: null,
    deliverPerSecond: null,
    bytesPerSecond: null,
    connectsPerSecond: null,
  },
});
const { secretHash } = world.credential!;
world.accounts.tenants.set(other, { ...world.tenant!, id: other });
world.accounts.put({ scope: scopeOf({ id: other }), name: 'device', secretHash, createdAtMs: 0, revision: 1 });

function subscribe({ in: admitted }: FakeConnection, filter: string): void {
  const one = { ...{ filter, topicFilter: filter, qos: 1 as const, id: 0, group: undefined } };
  const subscription = { ...one, noLocal: false, retainAsPublished: false, retainHandling: 0 as const };
  admitted!.session.subscriptions.set(filter, subscription);
  admitted!.tenant.subscribe(admitted!.session, subscription, true);
}

const neighbour = await world.admit({ clientId: 'n', user: 'device@other' });
subscribe(neighbour, 'a');
let served = 0;
let refused = 0;
const clients: FakeConnection[] = [];
for (let i = 0; i < 300; i++) {
  const client = await world.admit({ clientId: `c${i}`, more: { receiveMaximum: 1 } }).catch(() => undefined);
  if (client) {
    clients.push(client);
    subscribe(client, `to/${client.in!.session.clientId}`);
  } else refused++;
  // For the new one, or for one that is here already.
  const { tenant, session } = (client ?? clients[i % clients.length]!).in!;
  for (let n = 0; n < 600; n++)
    tenant.publish(message(`to/${session.clientId}`, `${n} `.padEnd(1000, 'x'), 1), world.clock.nowMs());
  neighbour.in!.tenant.publish(message('a', String(i), 0), world.clock.nowMs());
  if (neighbour.said().includes(`a ${i}`)) served++;
  await new Promise((resolve) => setImmediate(resolve)); // The collector tells in a turn of its own.
  const { limitBytes, usedBytes, liveBytes, collections } = heap;
  Object.assign(world.memory, { limitBytes, usedBytes, liveBytes, collections });
  world.clock.advance(shedEveryMs);
}
const shed = clients.filter(({ closedBy }) => closedBy === 'quota-exceeded').length;
process.stdout.write(
  JSON.stringify({ served, refused: refused > 0, shed: shed > 0, neighbourClosed: neighbour.closed }),
);
process.exit(0);
