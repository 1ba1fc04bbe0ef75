/** Sessions of a dead broker, as their clients and the control log meet them at those who survive: the rows of decision 47. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import type { ClientId } from '../../../services/kernel/kernel.js';
import { sessionKey } from '../../../services/tenancy/tenancy.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { acme, acmeScope, pub } from '../../unit/admission/site.js';
import { type DynamoServer, dynamoServers } from './servers.js';
import { type Survivor, Survivors } from './survivors.js';

/** For ten years: time here is that of years ago, and a database that removes what has expired has the real one. */
const stored = { clean: false, expiry: 315_360_000 };
const names = Array.from({ length: 32 }, (_, i) => `c${i}`);

function adoptedContract({ name, start }: DynamoServer): void {
  describe(`sessions of a dead broker over ${name}`, () => {
    let server: EmbeddedDynamo;
    let dynamo: Dynamo;
    let site: Survivors;
    beforeAll(async () => {
      server = await start();
    }, 90_000);
    afterAll(async () => await server?.stop());

    /** So many brokers, of which the first has all sessions, each with a subscription and a message. */
    async function cluster(count: number, apartMs = 0): Promise<[Survivor, ...Survivor[]]> {
      dynamo = await server.open();
      site = new Survivors(dynamo);
      const brokers: Survivor[] = [];
      for (let i = 0; i < count; i++) {
        brokers.push(await site.start());
        await site.world.elapse(apartMs);
      }
      const first = brokers[0]!;
      for (const client of names) {
        const device = (await site.done(first.connect(client, stored)))!;
        device.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'all', qos: 1 }] });
        await site.world.elapse(100);
        device.end();
      }
      first.watcher.send(pub('all', 'kept', 1, 7));
      await site.world.elapse(500);
      return brokers as [Survivor, ...Survivor[]];
    }

    const record = (client: string) =>
      dynamo.get('sessions', sessionKey(acmeScope, client as ClientId), { consistent: true });
    const sessionsOf = (survivor: Survivor): string[] => [...survivor.residences.keys()].sort();

    it('are divided, without a write of a record, and nothing of a living broker is taken', async () => {
      const [a, b, c] = await cluster(3);
      expect([sessionsOf(b!), sessionsOf(c!)]).toEqual([[], []]); // They have had the tenant open all the time.
      const before = await Promise.all(names.map(record));
      await site.kill(a);
      await site.world.elapse(12_000);
      expect([...sessionsOf(b!), ...sessionsOf(c!)].sort()).toEqual([...names].sort());
      expect(Math.min(b!.residences.size, c!.residences.size)).toBeGreaterThan(4);
      expect(await Promise.all(names.map(record))).toEqual(before);
      for (const one of [b!, c!])
        for (const client of sessionsOf(one)) {
          const device = (await site.done(one.connect(client, stored)))!;
          await site.world.elapse(200);
          expect(device.said()).toEqual(['connack', expect.stringMatching('publish kept')]);
        }
    });

    it('a tenant that is opened by a second broker costs one write, and its sessions stay where they are', async () => {
      const [a] = await cluster(1);
      const calls: string[] = [];
      const b = await site.start((action, table) => calls.push(`${action} ${table}`));
      const ofTenant = calls.filter((call) => /sessions|routes/.test(call));
      expect([sessionsOf(b), a.residences.size]).toEqual([[], names.length]);
      // The watcher's claim, and nothing else of the tenant's sessions.
      expect(ofTenant).toEqual(['carryOut sessions']);
    });

    it('go on when their clients come before they are adopted, at the heir, and nowhere else', async () => {
      const [a, b, c] = await cluster(3, 700);
      await site.kill(a);
      await site.world.elapseUntil(() => b!.broker.dues.length + c!.broker.dues.length > 0);
      const [late, early] = b!.broker.dues.length > 0 ? [c!, b!] : [b!, c!];
      const coming = names.map((client) => late.connect(client, stored));
      await site.world.elapse(200);
      expect(late.broker.dues).toEqual([]); // It has not looked since the mark.
      const devices = await site.done(Promise.all(coming)); // Those of the other heir's are refused after a while.
      await site.world.elapse(500);
      const admitted = devices.filter((device) => device !== undefined);
      for (const device of admitted) expect(device.said()).toEqual(['connack', expect.stringMatching('publish kept')]);
      expect(admitted.length).toBeGreaterThan(4);
      await site.world.elapse(12_000);
      expect(sessionsOf(late)).toEqual(admitted.map(({ clientId }) => clientId).sort());
      expect([...sessionsOf(late), ...sessionsOf(early)].sort()).toEqual([...names].sort());
    });

    it('have what a heir has stored for them, whoever inherits from it', async () => {
      const [a, b, c] = await cluster(3);
      await site.kill(a);
      await site.world.elapse(12_000);
      for (const { watcher } of [b!, c!]) watcher.send(pub('all', 'second', 1, 7));
      await site.world.elapse(500);
      // The one with the youngest record: the other one's epoch would not be above its own by itself.
      const dying = b!.residences.has(names.at(-1)!) ? b! : c!;
      const next = dying === b ? c! : b!;
      await site.kill(dying);
      await site.world.elapse(12_000);
      next.watcher.send(pub('all', 'third', 1, 7));
      await site.world.elapse(500);
      for (const client of names) {
        const device = (await site.done(next.connect(client, stored)))!;
        await site.world.elapse(200);
        expect(device.said()).toEqual(['connack', 'publish kept', 'publish second', 'publish third']);
      }
    });

    it('of a broker of which nobody knows anything go to one who writes its name into them', async () => {
      const [a, b] = await cluster(2);
      const unknown = names.slice(0, 8);
      for (const client of unknown)
        await dynamo.update('sessions', sessionKey(acmeScope, client as ClientId), {
          update: 'SET #owner = :gone',
          condition: 'attribute_exists(pk)',
          names: { '#owner': 'owner' },
          values: { ':gone': 'long-gone' },
        });
      await site.kill(a);
      await site.world.elapse(12_000);
      expect(sessionsOf(b!)).toEqual([...names].sort());
      for (const client of names)
        expect((await record(client))!['owner']).toBe(unknown.includes(client) ? b!.broker.id : a.broker.id);
    });

    it('are kicked by their effective owner alone, once it has them', async () => {
      const [a, b, c] = await cluster(3);
      const kick = { type: 'session-kick', tenant: acme, clientId: 'c0' as ClientId } as const;
      await site.done(b!.admission.apply(kick, site.nowMs + 60_000)); // Its owner lives, and does it.
      expect(await record('c0')).toBeDefined();
      await site.kill(a);
      await site.world.elapse(12_000);
      for (const one of [b!, c!]) await site.done(one.admission.apply(kick, site.nowMs + 60_000));
      await site.world.elapse(1000);
      expect([await record('c0'), b!.residences.size + c!.residences.size]).toEqual([undefined, names.length - 1]);
    });

    it('stay adopted when heirs die before they have adopted all, or begun', async () => {
      const [a, b, c, d] = await cluster(4);
      await site.kill(a);
      await site.world.elapseUntil(() => [b!, c!, d!].some(({ broker }) => broker.dues.length > 0));
      await site.kill([b!, c!, d!].find(({ broker }) => broker.dues.length > 0)!); // Right after its mark.
      await site.world.elapse(5000);
      await site.kill(site.living[0]!);
      await site.world.elapse(12_000);
      expect(site.living).toHaveLength(1);
      expect(sessionsOf(site.living[0]!)).toEqual([...names].sort());
    });
  });
}

for (const server of dynamoServers) adoptedContract(server);
