/**
 * A client that comes while another broker has its session: the rows of decision 46, each with a broker that dies or does not
 * answer, over tables in memory; and many by chance.
 */
import { describe, expect, it } from 'vitest';
import { Chance } from '../../support/chance.js';
import { seedsOf } from '../../support/seeds.js';
import { type Broker, byChance, Cluster, Taker } from './cluster.js';
import { ack, type Device, pub, settle } from './site.js';

const alive = ({ brokers }: Cluster): Broker[] => brokers.filter(({ life }) => !life.isOver);

/** `c` is connected to the first, and subscribes there to `t` and `u`. */
async function begin(ids = ['y', 'x'], wish = {}) {
  const cluster = new Cluster(...ids);
  const [y, x] = cluster.brokers as [Broker, Broker];
  for (const broker of cluster.brokers) broker.tenant = (await broker.admit(`local-${broker.id}`)).in!.tenant;
  const first = await y.admit('c', wish);
  await subscribe(cluster, first, 't', 2);
  cluster.knows(y);
  first.take();
  return { cluster, y, x, first };
}

async function subscribe(cluster: Cluster, device: Device, filter: string, qos: 0 | 1 | 2): Promise<void> {
  device.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: filter, qos }] });
  await cluster.calm(80);
}

const connackOf = (device: Device) => device.take().find(({ cmd }) => cmd === 'connack');
/** Who has it in memory. */
const owners = (cluster: Cluster, clientId = 'c'): string[] =>
  alive(cluster)
    .filter(({ tenant }) => tenant?.residences.has(clientId as never))
    .map(({ id }) => id);

/** Nothing is acknowledged that did not come, QoS 2 comes once, and no identifier is used for two. */
function check({ far }: Cluster, taker: Taker): void {
  const missing = far.sent.filter(({ receipt, payload }) => receipt.reasonCode === 0 && !taker.got.includes(payload));
  const twice = far.sent.filter(
    ({ qos, payload }) => qos === 2 && taker.got.filter((one) => one === payload).length > 1,
  );
  const names = (some: readonly { payload: string }[]) => some.map(({ payload }) => payload);
  expect({ missing: names(missing), twice: names(twice), faults: taker.faults }).toEqual({
    missing: [],
    twice: [],
    faults: [],
  });
}

describe('a client that comes to another broker', () => {
  it('has its session there, with what waits, and the first connection ends', async () => {
    const { cluster, y, x, first } = await begin();
    const local = cluster.brokers[0]!.tenant!;
    cluster.publish('t', 1);
    cluster.publish('t', 2);
    await cluster.calm(200);
    expect(first.said().filter((said) => said.startsWith('publish'))).toEqual(['publish 1-1', 'publish 2-2']);
    const second = await x.admit('c');
    expect(first.closed).toBe(true);
    expect(second.in!.session.subscriptions.size).toBe(1);
    expect([owners(cluster), cluster.record()]).toMatchObject([['x'], { owner: 'x', connected: true }]);
    expect(cluster.record()).not.toHaveProperty('takenFrom', expect.anything());
    const taker = new Taker();
    for (let i = 0; i < 5; i++) {
      taker.hear(second);
      await cluster.calm(100);
    }
    expect(taker.got.sort()).toEqual(['1-1', '2-2']);
    expect(cluster.inbox()).toEqual([]);
    expect([y.tenant!.backlog.messages, local.residences.has('c' as never)]).toEqual([0, false]);
  });

  it('is told that the session is present, and gets what is published while it comes', async () => {
    const { cluster, x, first } = await begin();
    first.take();
    const { device } = x.connect('c');
    const taker = new Taker();
    for (let i = 0; i < 40; i++) {
      cluster.publish('t', i % 2 === 0 ? 1 : 2);
      await cluster.tick(3);
    }
    await cluster.until(() => device.in !== undefined);
    const [connack] = device.take().filter(({ cmd }) => cmd === 'connack');
    expect(connack).toMatchObject({ sessionPresent: true });
    device.end();
    const again = await x.admit('c');
    for (let i = 0; i < 20; i++) {
      taker.hear(again);
      await cluster.calm(60);
    }
    expect(cluster.far.sent.every(({ receipt }) => receipt.reasonCode === 0)).toBe(true);
    check(cluster, taker);
    expect(new Set(taker.got).size).toBe(40);
  });

  it.each([
    ['its session was clean', { clean: true, expiry: 0 }, {}],
    ['it begins anew', {}, { clean: true }],
  ])('begins a new session if %s', async (_why, had, wants) => {
    const { cluster, x, first } = await begin(['y', 'x'], had);
    const second = await x.admit('c', wants);
    expect([first.closed, connackOf(second)]).toMatchObject([true, { sessionPresent: false }]);
    await cluster.calm();
    expect(owners(cluster)).toEqual(['x']);
    expect(cluster.record()).toMatchObject({ owner: 'x', connected: true });
    expect([...cluster.tables.routes('acme#c').values()]).toEqual([]);
  });

  it('takes subscriptions with it as they were told last', async () => {
    const { cluster, x, first } = await begin();
    await subscribe(cluster, first, 'u', 1);
    first.send({ cmd: 'unsubscribe', messageId: 10, unsubscriptions: ['t'] });
    first.send({ cmd: 'subscribe', messageId: 11, subscriptions: [{ topic: 'v', qos: 2 }] });
    await settle(2); // Not stored yet, and not answered.
    const second = await x.admit('c');
    expect([...second.in!.session.subscriptions.keys()].sort()).toEqual(['u', 'v']);
  });

  it('sends a QoS 2 message again that the first broker has taken, and it is published once', async () => {
    const { cluster, x, y, first } = await begin();
    const other = await y.admit('other');
    await subscribe(cluster, other, 'news', 2);
    other.take();
    first.send(pub('news', 'once', 2, 7));
    await settle(1); // No PUBREC yet.
    const second = await x.admit('c');
    second.take();
    second.send(pub('news', 'once', 2, 7, true));
    await cluster.calm(200);
    expect(second.said()).toEqual(['pubrec 7']);
    second.send(ack('pubrel', 7));
    await cluster.calm(200);
    expect(second.said()).toEqual(['pubcomp 7']);
    expect(other.said().filter((said) => said.startsWith('publish'))).toEqual(['publish once']);
  });

  it('leaves a will that is due at once, and takes one with it that is not', async () => {
    for (const delay of [0, 30]) {
      const { cluster, x, y } = await begin(['y', 'x'], { will: { topic: 'w', payload: 'dead', delay } });
      const watcher = await y.admit('watcher');
      await subscribe(cluster, watcher, 'w', 1);
      watcher.take();
      await x.admit('c');
      cluster.clock.advance(60_000);
      await cluster.calm();
      expect(watcher.said()).toEqual(delay === 0 ? ['publish dead'] : []);
    }
  });
});

describe('when somebody dies or does not answer', () => {
  const steps = [
    'x asks give',
    'y hears give',
    'y answers give',
    'x asks finish',
    'y hears finish',
    'y answers finish',
  ];
  const stories = steps.flatMap((step) => ['x', 'y'].map((who) => ({ step, who })));

  it.each(stories)(
    '$who dies at "$step": the session is somebody\'s, with all that was acknowledged',
    async ({ step, who }) => {
      const { cluster, x, y, first } = await begin(['y', 'x', 'z']);
      first.take();
      const victim = who === 'x' ? x : y;
      let isDone = false;
      cluster.atStep = (passed) => {
        if (passed !== step || isDone) return;
        isDone = true;
        cluster.kill(victim);
      };
      const { device } = x.connect('c');
      for (let i = 0; i < 30; i++) {
        cluster.publish('t', i % 2 === 0 ? 1 : 2);
        await cluster.tick(3);
      }
      expect(isDone).toBe(true);
      await cluster.calm(12_000);
      if (device.in && !victim.life.isOver) throw new Error('the victim lives');
      // Who adopts what the dead one has left: the third, for which it is the first that it has of the tenant.
      const home = device.in && who === 'y' ? x : cluster.brokers[2]!;
      const back = await comesBack(cluster, home, 'c');
      const taker = new Taker();
      for (let i = 0; i < 20; i++) {
        taker.hear(back);
        await cluster.calm(100);
      }
      check(cluster, taker);
      expect(owners(cluster)).toEqual([home.id]);
    },
  );

  it.each(['x asks give', 'y answers give', 'x asks finish', 'y answers finish'])(
    'the link is cut for a second at "%s"',
    async (step) => {
      const { cluster, x, first } = await begin();
      first.take();
      cluster.atStep = (passed) => {
        if (passed !== step) return;
        cluster.delayMs = (what) => (what === 'link' ? undefined : 1);
        cluster.clock.after(1200, () => (cluster.delayMs = () => 1));
        cluster.atStep = () => undefined;
      };
      const back = await x.admit('c');
      expect(connackOf(back)).toMatchObject({ sessionPresent: true });
      expect(owners(cluster)).toEqual(['x']);
    },
  );

  it('refuses while the other broker does not answer, and nothing has changed', async () => {
    const { cluster, x, first } = await begin();
    cluster.delayMs = (what) => (what === 'link' ? undefined : 1);
    await expect(x.admit('c')).rejects.toMatchObject({ reason: { name: 'server-unavailable' } });
    expect([first.closed, cluster.record()]).toMatchObject([false, { owner: 'y', connected: true }]);
  });

  it('takes a session back that nobody has taken, and the late write of who wanted it fails', async () => {
    const { cluster, y, x } = await begin();
    const { epoch } = cluster.record()!;
    const wish = { tenant: y.tenant!.scope, clientId: 'c' as never, says: { owner: y.id, epoch }, beginsAnew: false };
    const answer = y.admission.handingOver.give(wish);
    await cluster.calm(100);
    expect(await answer).toEqual({ kind: 'given', epoch });
    await cluster.calm(6000);
    expect(cluster.record()).toMatchObject({ owner: 'y', epoch: epoch + 1, connected: false });
    expect(connackOf(await y.admit('c'))).toMatchObject({ sessionPresent: true });
    expect(connackOf(await x.admit('c'))).toMatchObject({ sessionPresent: true });
  });

  it('a question that comes late closes no newer connection', async () => {
    const { cluster, y } = await begin();
    const { epoch } = cluster.record()!;
    const newer = await y.admit('c');
    const wish = { tenant: y.tenant!.scope, clientId: 'c' as never, says: { owner: y.id, epoch }, beginsAnew: false };
    const answer = y.admission.handingOver.give(wish);
    await cluster.calm(100);
    expect([await answer, newer.closed]).toEqual([{ kind: 'changed' }, false]);
  });

  it('a client that leaves while it comes has its session there, away', async () => {
    const { cluster, x } = await begin();
    const { device } = x.connect('c');
    await cluster.until(() => cluster.steps.includes('y answers give'));
    device.end();
    await cluster.calm(2000);
    expect(device.in).toBeUndefined();
    expect(owners(cluster)).toEqual(['x']);
    expect(connackOf(await x.admit('c'))).toMatchObject({ sessionPresent: true });
  });
});

/** As a client does: again, until it is let in. */
async function comesBack(cluster: Cluster, broker: Broker, clientId: string): Promise<Device> {
  for (let tries = 0; ; tries++)
    try {
      return await broker.admit(clientId);
    } catch (error) {
      if (tries > 10) throw error;
      await cluster.calm(1000);
    }
}

it.each(seedsOf('stories'))(
  'of CONNECTs at three brokers at once one lives, and ends no other (seed %i)',
  { timeout: 120_000 },
  async (seed) => {
    const chance = new Chance(seed);
    const rounds = Number(process.env['SHOAL_TEST_RUNS'] ?? 100);
    for (let round = 0; round < rounds; round++) {
      const { cluster } = await begin(['y', 'x', 'z'], { will: { topic: 'w', payload: 'dead', delay: 300 } });
      cluster.delayMs = byChance(chance, 0.05);
      const comers = [];
      for (const broker of cluster.brokers) {
        comers.push(broker.connect('c', { will: { topic: 'w', payload: 'dead', delay: 300 } }));
        if (chance.happens(0.5)) await cluster.tick(chance.between(1, 30));
      }
      for (let i = 0; i < 3; i++) cluster.publish('t', 2);
      await cluster.calm(9000);
      const live = comers.filter(({ device }) => device.in && !device.closed);
      expect([round, live.length <= 1, owners(cluster).length]).toEqual([round, true, 1]);
      const home = owners(cluster)[0]!;
      if (live.length === 1) expect(cluster.record()).toMatchObject({ owner: home, connected: true });
      cluster.delayMs = () => 1;
      const last = await comesBack(cluster, cluster.brokers[chance.between(0, 2)]!, 'c');
      expect(connackOf(last)).toMatchObject({ sessionPresent: true });
    }
  },
);
