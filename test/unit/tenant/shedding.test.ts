/** Who gives memory back when the process runs short of it. A process that does is in `test/memory/shedding.test.ts`. */
import { beforeEach, expect, it } from 'vitest';
import { shedEveryMs } from '../../../services/broker/tenant/shedding.js';
import type { TenantId } from '../../../services/kernel/kernel.js';
import { scopeOf } from '../../../services/tenancy/tenancy.js';
import { type FakeConnection, World } from '../admission/world.js';

const other = 'other' as TenantId;
let world: World;
let heavy: FakeConnection[];
let neighbour: FakeConnection;

beforeEach(async () => {
  world = new World();
  world.memory.limitBytes = 10e6; // Of which thirty connections are more than a tenth.
  const { secretHash } = world.credential!;
  world.accounts.tenants.set(other, { ...world.tenant!, id: other });
  world.accounts.put({ scope: scopeOf({ id: other }), name: 'device', secretHash, createdAtMs: 0, revision: 1 });
  neighbour = await world.admit({ clientId: 'n', user: 'device@other' });
  heavy = [];
  for (let i = 0; i < 30; i++) {
    world.clock.advance(1);
    heavy.push(await world.admit({ clientId: `c${i}` }));
  }
});

/** Part of the limit that is live. */
function live(part: number): void {
  world.memory.collections++;
  world.memory.usedBytes = world.memory.liveBytes = part * world.memory.limitBytes;
  world.clock.advance(shedEveryMs);
}

const refused = (wish: object): Promise<string> =>
  world.admit({ clientId: 'new', ...wish }).then(
    (connection) => (connection.end('gone', { publishWill: false }), 'in'),
    (error: Error) => error.message,
  );
const closed = (): number[] => heavy.flatMap(({ closed: isClosed }, i) => (isClosed ? [i] : []));

it('the tenant that holds most gets no more, and the others do', async () => {
  live(0.82);
  expect(await refused({})).toMatch(/short of memory/);
  expect([await refused({ user: 'device@other' }), closed(), neighbour.closed]).toEqual(['in', [], false]);
  live(0.75); // Not over yet.
  expect(await refused({})).toMatch(/short of memory/);
  live(0.6);
  expect(await refused({})).toBe('in');
});

it('its newest connections are closed as long as that is not enough', async () => {
  live(0.9);
  expect([closed(), heavy.at(-1)!.closedBy, neighbour.closed]).toEqual([[27, 28, 29], 'quota-exceeded', false]);
  live(0.9);
  expect([closed().length, world.gauge('shoal_connections_shed_total')]).toEqual([6, 6]);
  live(0.85);
  expect(closed()).toHaveLength(6);
});

it('garbage is not memory that anybody holds, and what has been counted since a collection is', async () => {
  live(0.5);
  world.memory.usedBytes = 0.95 * world.memory.limitBytes;
  world.clock.advance(shedEveryMs);
  expect(await refused({})).toBe('in');
  heavy[0]!.in!.tenant.memory.outboxBytes += 0.4 * world.memory.limitBytes;
  world.clock.advance(shedEveryMs);
  expect([await refused({}), closed().length]).toEqual([expect.stringMatching(/short of memory/), 3]);
});
