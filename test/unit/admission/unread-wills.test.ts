/** Which of many wills are read when; what comes of it is in `long-wills.test.ts`. */
import { describe, expect, it } from 'vitest';
import { Unreadable } from '../../../services/broker/residence/unreadable.js';
import { UnreadWills } from '../../../services/broker/residence/unread-wills.js';
import type { SessionStore } from '../../../services/broker/residence/residence.js';
import type { Tenant } from '../../../services/broker/tenant/tenant.js';
import { type ClientId, Metrics, silentLog } from '../../../services/kernel/kernel.js';
import type { WillContent } from '../../../services/tenancy/tenancy.js';
import { ManualClock } from '../../support/manual-clock.js';
import { settle } from './site.js';

const content = { payload: new Uint8Array(1), properties: new Uint8Array(0) };

function world() {
  const clock = new ManualClock();
  const asked: { name: string; answer: (content: WillContent) => void; fail: (error: Error) => void }[] = [];
  const told: string[] = [];
  const records = {
    will: (scope: string, clientId: string) =>
      new Promise<WillContent>((answer, fail) => asked.push({ name: `${scope} ${clientId}`, answer, fail })),
  } as unknown as SessionStore;
  const unreadable = new Unreadable(silentLog, new Metrics());
  const wills = new UnreadWills({ records, unreadable, clock });
  const tenant = (scope: string) =>
    ({ scope, isGone: false, time: { charge: (step: () => void) => step() } }) as unknown as Tenant;
  const read = (of: Tenant, from: number, count: number): void => {
    for (let i = from; i < from + count; i++)
      wills.read(of, `${i}` as ClientId, 'Will#x', (found) => told.push(`${of.scope} ${i} ${found ? 'read' : 'not'}`));
  };
  return { clock, asked, told, tenant, read };
}

describe('wills that are due at once', () => {
  it('are read in turns by tenant, so many at a time, and no more than half for one of them', async () => {
    const { asked, tenant, read } = world();
    const [fleet, one] = [tenant('fleet'), tenant('one')];
    read(fleet, 0, 1000);
    expect(asked.length).toBe(16);
    read(one, 0, 20);
    expect(asked.length).toBe(32);
    asked[16]!.answer(content);
    asked[0]!.answer(content);
    await settle();
    expect(
      asked
        .slice(32)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['fleet 16', 'one 16']);
  });

  it('that DynamoDB does not answer for give their places to others, and are read again', async () => {
    const { clock, asked, told, tenant, read } = world();
    const fleet = tenant('fleet');
    read(fleet, 0, 17);
    for (const { fail } of asked.splice(0)) fail(new Error('out of reach'));
    await settle();
    expect(asked.map(({ name }) => name)).toEqual(['fleet 16']);
    asked.pop()!.answer(content);
    clock.advance(999);
    await settle();
    expect([asked.length, told]).toEqual([0, ['fleet 16 read']]);
    clock.advance(1);
    expect(asked.length).toBe(16);
    for (const { answer } of asked) answer(content);
    await settle();
    expect(told).toHaveLength(17);
  });

  it('of a tenant that has gone meanwhile are not published', async () => {
    const { asked, told, tenant, read } = world();
    const fleet = tenant('fleet');
    read(fleet, 0, 17);
    Object.assign(fleet, { isGone: true });
    asked[0]!.answer(content);
    await settle();
    expect([asked.length, told]).toEqual([16, ['fleet 0 not', 'fleet 16 not']]);
  });
});
