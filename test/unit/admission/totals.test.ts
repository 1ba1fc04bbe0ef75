/** The sums of all tenants, which nobody makes by looking at all of them, are what that would give. */
import { expect, test } from 'vitest';
import type { Tenant } from '../../../services/broker/tenant/tenant.js';
import { Chance } from '../../support/chance.js';
import { seed } from '../../support/seeds.js';
import { type Device, settle, Site } from './site.js';

interface Sums {
  readonly [name: string]: number;
}

function walked(tenants: Iterable<Tenant>): Sums {
  const sums = { connections: 0, sessions: 0, subscriptions: 0, tenant_memory_bytes: 0, messages_received_total: 0 };
  const rest = { messages_sent_total: 0, messages_dropped_offline_total: 0, sessions_expired_total: 0 };
  for (const { connections, residences, subscriptions, memory, meters } of tenants) {
    sums.connections += connections;
    sums.sessions += residences.size;
    sums.subscriptions += subscriptions;
    sums.tenant_memory_bytes += memory.bytes;
    sums.messages_received_total += meters.messagesReceived;
    rest.messages_sent_total += meters.messagesSent;
    rest.messages_dropped_offline_total += meters.droppedOffline;
    rest.sessions_expired_total += meters.expiredSessions;
  }
  return { ...sums, ...rest };
}

function told(site: Site): { sums: Sums; memoryMax: number } {
  const all = Object.fromEntries(
    [...site.metrics.samples()].map(({ name, value }) => [name.replace('shoal_', ''), value]),
  );
  const sums = Object.fromEntries(Object.keys(walked([])).map((name) => [name, all[name]!]));
  return { sums, memoryMax: all['tenant_memory_max_bytes']! };
}

test('sums are right after whatever happens', async () => {
  const chance = new Chance(seed);
  const site = new Site();
  const tenants = new Set<Tenant>();
  const here: Device[] = [];
  const happened = new Set<string>();
  const pick = (): Device | undefined => here[chance.between(0, here.length - 1)];
  const steps: (() => Promise<void> | void)[] = [
    async () => {
      const wish = { clean: chance.happens(0.5), expiry: chance.between(0, 1) * 30 };
      const will = { topic: 'w', payload: 'x'.repeat(chance.between(0, 2000)), delay: chance.between(0, 20) };
      const clientId = `client-${chance.between(0, 9)}`;
      const device = await site.admit(clientId, chance.happens(0.3) ? { ...wish, will } : wish);
      if (device.in) tenants.add(device.in.tenant);
      here.push(device);
    },
    () => {
      const qos = chance.between(0, 2) as 0 | 1 | 2;
      pick()?.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `t/${chance.between(0, 3)}`, qos }] });
    },
    () => pick()?.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [`t/${chance.between(0, 3)}`] }),
    () => {
      const payload = 'p'.repeat(chance.between(0, 500));
      const at = { topic: `t/${chance.between(0, 3)}`, payload, dup: false, retain: false };
      pick()?.send({ cmd: 'publish', ...at, qos: 1, messageId: chance.between(1, 9) });
    },
    () => pick()?.end({ publishWill: chance.happens(0.5) }),
    () => {
      site.log.delayOver();
      site.commitOnce();
    },
    () => site.clock.advance(chance.between(1, 20) * 1000),
  ];
  for (let i = 0; i < 1500; i++) {
    await steps[chance.between(0, steps.length - 1)]!();
    for (const device of here.filter(({ closed }) => closed)) here.splice(here.indexOf(device), 1);
    if (chance.happens(0.3)) continue;
    await settle();
    const { sums, memoryMax } = told(site);
    expect(sums).toEqual(walked(tenants));
    for (const [name, sum] of Object.entries(sums)) if (sum > 0) happened.add(name);
    const most = Math.max(0, ...[...tenants].map(({ memory }) => memory.bytes));
    expect(memoryMax).toBeGreaterThanOrEqual(Math.floor(most));
    expect(memoryMax).toBeLessThanOrEqual(Math.max(1, most) * 1.1 + 1);
  }
  // All of it has happened.
  expect([...happened].sort()).toEqual(Object.keys(walked(tenants)).sort());
  const [last] = [...tenants].slice(-1);
  for (const device of here) device.end();
  for (let minutes = 0; minutes < 20; minutes++) {
    await site.calm();
    site.clock.advance(60_000);
  }
  const counted = walked([last!]);
  const gauges = { connections: 0, sessions: 0, subscriptions: 0, tenant_memory_bytes: 0 };
  // The tenant has gone, what it has counted stays, and nothing of it that still happens is counted again.
  for (const late of [false, true]) {
    if (late) last!.time.charge(() => last!.meters.messagesReceived++);
    expect(told(site)).toEqual({ sums: { ...counted, ...gauges }, memoryMax: 0 });
  }
});
