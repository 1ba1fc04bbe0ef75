/** Whether a release starts over what is in the tables. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { checkLayout, type Dynamo, DynamoMisconfigured } from '../../../services/dynamo/dynamo.js';
import type { BrokerId } from '../../../services/kernel/kernel.js';
import { brokerLeaseToItem, brokersPartition } from '../../../services/tenancy/tenancy.js';
import { dynamoServers } from './servers.js';

const lease = brokerLeaseToItem({ brokerId: 'broker-1' as BrokerId, leaseUntilMs: 1, startedAtMs: 0 });

for (const { name, start } of dynamoServers) {
  let server: Awaited<ReturnType<typeof start>>;
  beforeAll(async () => {
    server = await start();
  }, 90_000);
  afterAll(async () => await server.stop());
  const check = async (dynamo: Dynamo): Promise<unknown> =>
    await checkLayout(dynamo, brokersPartition).then(
      () => 'fits',
      (error: unknown) => error,
    );

  it(`new tables get the layout of the release, once, and brokers that come later find it (${name})`, async () => {
    const dynamo = await server.open();
    expect(await Promise.all([check(dynamo), check(dynamo), check(dynamo)])).toEqual(['fits', 'fits', 'fits']);
    await dynamo.put('cluster', lease);
    expect(await check(dynamo)).toBe('fits');
  });

  it(`what a release before has written is refused in one line that says what to do (${name})`, async () => {
    const dynamo = await server.open();
    await dynamo.put('cluster', lease);
    const refused = await check(dynamo);
    expect(refused).toBeInstanceOf(DynamoMisconfigured);
    expect((refused as Error).message).toMatch(/^the tables hold data of layout 1, .* layout 3: start with new tables/);
    expect(await check(dynamo)).toBeInstanceOf(DynamoMisconfigured); // Nothing has been marked.
  });

  it(`so is what a later release has written (${name})`, async () => {
    const dynamo = await server.open();
    await dynamo.put('cluster', { pk: 'layout', sk: 'version', version: 4 });
    expect(String(await check(dynamo))).toContain('layout 4');
  });
}
