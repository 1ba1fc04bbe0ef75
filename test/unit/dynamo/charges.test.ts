/** Whose the units of a batch are that holds writes of several tenants. */
import { expect, it } from 'vitest';
import { Charges } from '../../../services/dynamo/charges.js';
import type { TableWrite } from '../../../services/dynamo/dynamo.js';
import { scopeOfPartition } from '../../../services/tenancy/tenancy.js';

const put = (tenant: string, kb: number): TableWrite => ({
  table: 'inbox',
  put: { pk: `${tenant}#c`, sk: 'm', m: new Uint8Array(kb * 1024 - 100) },
});
const remove = (tenant: string): TableWrite => ({ table: 'inbox', delete: { pk: `${tenant}#c`, sk: 'm' } });

function account() {
  const bills: Record<string, number> = {};
  const charges = new Charges({
    tenantOf: (table, pk) => (table === 'cluster' ? undefined : scopeOfPartition(pk)),
    charge: (tenant, units) => void (bills[tenant] = (bills[tenant] ?? 0) + units),
  });
  return { charges, bills };
}

it('charges puts with their sizes', () => {
  const { charges, bills } = account();
  charges.batch([put('a', 1), put('a', 1), put('b', 30)], 32);
  expect(bills).toEqual({ a: 2, b: 30 });
});

it('charges deletes by what their tenants have put before', () => {
  const { charges, bills } = account();
  for (let i = 0; i < 500; i++) charges.batch([put('large', 300), put('small', 1)], 301);
  const before = { ...bills };
  charges.batch([...Array<TableWrite>(12).fill(remove('large')), ...Array<TableWrite>(12).fill(remove('small'))], 3612);
  expect(bills['large']! - before['large']!).toBeGreaterThan(3590);
  expect(bills['small']! - before['small']!).toBeLessThan(15);
  expect(bills['large']! + bills['small']! - before['large']! - before['small']!).toBeCloseTo(3612);
});

it('never charges more than was consumed, nor for a partition that is no tenant’s', () => {
  const { charges, bills } = account();
  charges.batch([put('a', 10), put('a', 10)], 10);
  expect(bills).toEqual({ a: 10 });
  charges.batch([{ table: 'cluster', delete: { pk: 'brokers', sk: 'b' } }], 5);
  charges.call(undefined, 'PutItem', { CapacityUnits: 5 });
  expect(bills).toEqual({ a: 10 });
});

it('takes five reads for a write, and a condition that did not hold for one unit', () => {
  const { charges, bills } = account();
  charges.call('a', 'Query', { CapacityUnits: 256 });
  charges.call('a', 'UpdateItem', { CapacityUnits: 59 });
  charges.call('a', 'BatchWriteItem', [{ CapacityUnits: 2 }, { CapacityUnits: 3 }]);
  charges.conditionFailed('a');
  expect(bills['a']).toBeCloseTo(51.2 + 59 + 5 + 1);
});
