/** The tables of docs/cost.md are those of the model, and the model agrees with sums made by hand or by the providers. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { documentFile, withTables } from '../../../bench/cost/document.js';
import { type Workload, workloads } from '../../../bench/cost/fleets.js';
import {
  capacityUnits,
  dearestTenant,
  emqxUsd,
  internetUsd,
  iotCoreUsd,
  secondBroker,
  shoalBill,
  tasksFor,
  trafficOf,
} from '../../../bench/cost/model.js';
import { plans } from '../../../services/tenancy/tenancy.js';
import { prices } from '../../../bench/cost/prices.js';

const hours = 730;
const { silent, telemetry } = workloads;
/** Connected, and nothing else: not even a ping. */
const still: Workload = { ...silent, keepAliveSeconds: Infinity, reconnectsPerDay: 0 };

test('docs/cost.md is up to date (npm run cost)', async () => {
  const text = await readFile(documentFile, 'utf8');
  expect(await withTables(text)).toBe(text);
});

test('a document without a place for a table is refused', async () => {
  const text = await readFile(documentFile, 'utf8');
  await expect(withTables(text.replace('<!-- /cost:prices -->', ''))).rejects.toThrow(/prices/);
});

test('a tenant of the free plan costs 12.50 dollars of database units at most, and 1 MiB a second of transfer', () => {
  const { evenly, database, storage, transfer, loadBalancer } = dearestTenant(plans.free.quotas);
  expect([evenly, database]).toEqual([6.25, 12.5]);
  expect(storage).toBeCloseTo(20.48 * 0.45);
  expect(transfer).toBeCloseTo(((2 ** 20 * 3600 * hours) / 1e9) * 0.09);
  expect(loadBalancer).toBeCloseTo(((2 ** 21 * 3600) / 1e9) * hours * 0.006);
  expect(() => dearestTenant({ ...plans.free.quotas, databaseUnitsPerMonth: null })).toThrow('without these quotas');
});

test('a million idle connections take 333 capacity units with TLS at the load balancer, and 10 without', () => {
  const traffic = trafficOf(still, 1e6);
  expect(capacityUnits(1e6, traffic, 'nlb') * prices.capacityUnitHour.usd * hours).toBeCloseTo(1460, 0);
  expect(capacityUnits(1e6, traffic, 'broker') * prices.capacityUnitHour.usd * hours).toBeCloseTo(43.8, 1);
});

test('of the dimensions of a capacity unit the largest counts', () => {
  const busy: Workload = { ...still, reconnectsPerDay: 24 * 60 };
  // 6000 devices that come back every minute: 100 a second.
  const traffic = trafficOf(busy, 6000);
  expect(capacityUnits(6000, { ...traffic, bytesIn: 0, bytesOut: 0 }, 'nlb')).toBeCloseTo(2, 6);
  const gbAnHour = { ...trafficOf(still, 3000), bytesIn: 3e9 * hours, bytesOut: 4e9 * hours };
  expect(capacityUnits(3000, gbAnHour, 'nlb')).toBeCloseTo(7, 6);
});

test('data to the internet is paid by tiers', () => {
  expect(internetUsd(10e12)).toBeCloseTo(900, 6);
  expect(internetUsd(60e12)).toBeCloseTo(900 + 40_000 * 0.085 + 10_000 * 0.07, 6);
  expect(internetUsd(151e12)).toBeCloseTo(900 + 3400 + 7000 + 50, 6);
});

test('a standby costs a task, an endpoint in two zones, and reads and writes for its lease', () => {
  const { fargate, endpoint, database, watched, total } = secondBroker('nlb');
  expect(fargate).toBeCloseTo(730 * (0.03238 + 4 * 0.00356), 2);
  expect(endpoint).toBeCloseTo(2 * 7.3, 2);
  // A renewal a second; two reads each half second and one every two seconds.
  const seconds = 730 * 3600;
  expect(database).toBeCloseTo((seconds * 0.625 + seconds * 4.5 * 0.125) / 1e6, 1);
  expect(watched).toBeCloseTo(2 * 0.4 + 3 * 0.1, 2);
  expect(total).toBeCloseTo(fargate + endpoint + database + watched, 6);
  expect(secondBroker('broker').endpoint).toBe(0);
});

test('a connection that stays costs 0.042 dollars a year at AWS IoT Core', () => {
  expect(iotCoreUsd(still, 1, 'subscriber')).toBeCloseTo(0.003504, 9);
  expect(iotCoreUsd(still, 12, 'subscriber')).toBeCloseTo(0.042, 3);
});

test('AWS IoT Core counts messages by tiers, three for a subscriber and one with a rule', () => {
  const oneADay: Workload = { ...still, telemetryPerDay: 1 };
  const days = hours / 24;
  const devices = 1e9 / days; // A thousand million messages a month.
  const minutes = devices * hours * 60 * 0.08e-6;
  expect(iotCoreUsd(oneADay, devices, 'rule') - minutes).toBeCloseTo(1000 + 300, 3);
  expect(iotCoreUsd(oneADay, devices, 'subscriber') - minutes).toBeCloseTo(1000 + 2000 * 0.8, 3);
});

test("EMQX's own example: 84 000 session minutes cost 0.168 dollars", () => {
  expect(emqxUsd(still, 84_000 / (hours * 60))).toBeCloseTo(0.168, 9);
});

test('one broker takes 50 000 connections, more are a cluster with room in each task', () => {
  expect(tasksFor(50_000, trafficOf(telemetry, 50_000), 'nlb')).toBe(1);
  expect(tasksFor(50_000, trafficOf(telemetry, 50_000), 'broker')).toBe(1);
  expect(tasksFor(50_001, trafficOf(telemetry, 50_001), 'nlb')).toBe(2);
  expect(tasksFor(1e6, trafficOf(telemetry, 1e6), 'nlb')).toBe(29);
});

test('messages, not only connections, ask for tasks', () => {
  const chatty: Workload = { ...telemetry, telemetryPerDay: 86_400 };
  const { tasks } = shoalBill(chatty, 1e6, 'nlb');
  // 1 000 000 messages a second at 68 us each in a cluster, at 60 % of a vCPU, and what is stored besides.
  expect(tasks).toBeGreaterThan(113);
  expect(tasks).toBeLessThan(125);
});

test('a bill is the sum of its parts, and nothing gets cheaper with more devices', () => {
  for (const mqttTls of ['nlb', 'broker'] as const) {
    const bills = [0, 1000, 50_000, 60_000, 1e6, 1e7].map((size) => shoalBill(telemetry, size, mqttTls));
    for (const { fargate, loadBalancer, transfer, database, fixed, total } of bills)
      expect(fargate + loadBalancer + transfer + database + fixed).toBeCloseTo(total, 6);
    const totals = bills.map(({ total }) => total);
    expect(totals).toEqual(totals.toSorted((a, b) => a - b));
  }
});
