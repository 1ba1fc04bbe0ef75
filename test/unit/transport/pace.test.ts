/**
 * How fast a client is read: real connections of two tenants on one thread, with a clock that only their packets move, and turns
 * of the event loop that the test takes.
 */
import type { Packet } from 'mqtt-packet';
import { afterEach, describe, expect, it } from 'vitest';
import type { Admission } from '../../../services/broker/admission/admission.js';
import { handedOn, newMeters } from '../../../services/broker/message/message.js';
import { Channel, Session } from '../../../services/broker/session/session.js';
import { TenantLimits } from '../../../services/broker/tenant/limits.js';
import { TenantRates } from '../../../services/broker/tenant/rates.js';
import { TenantUnits } from '../../../services/broker/tenant/units.js';
import { SafetyLedger } from '../../../services/broker/tenant/safety-ledger.js';
import { type Admitted, type Connection as ToAdmission, Thread } from '../../../services/broker/tenant/tenant.js';
import { Connection } from '../../../services/broker/transport/connection.js';
import { Flusher } from '../../../services/broker/outbox/flusher.js';
import type { ByteSink } from '../../../services/broker/transport/ports.js';
import { DeadlineWheel } from '../../../services/broker/transport/wheel.js';
import { reasons, Slab, TopicTable } from '../../../services/broker/wire/wire.js';
import { type ClientId, Metrics, silentLog, type TenantId, type TenantScope } from '../../../services/kernel/kernel.js';
import type { Quotas } from '../../../services/tenancy/tenancy.js';
import { decodeAll, encode } from '../../fuzz/packets.js';
import { ManualClock } from '../../support/manual-clock.js';
import { everything, FakeHost, publish } from '../session/world.js';
import { LooseStream } from './loose-connection.js';

const unlimited = {
  ...{ publishPerSecond: null, deliverPerSecond: null, bytesPerSecond: null },
  ...{ packetsPerSecond: null, subscribesPerSecond: null },
};
const pingreq: Packet = { cmd: 'pingreq' };
const subscribe: Packet = { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] };
const bytes = (packets: readonly Packet[]): Buffer => Buffer.concat(packets.map((packet) => encode(packet, 4)));
const many = (count: number, packet: Packet): Buffer => bytes(Array<Packet>(count).fill(packet));
const numbered = (count: number): Buffer =>
  bytes(Array.from({ length: count }, (_, i) => publish('t', String(i + 1), 0, 0)));

const wheels: DeadlineWheel[] = [];
afterEach(() => {
  for (const wheel of wheels.splice(0)) wheel.stop();
});

class Broker {
  readonly clock = new ManualClock();
  #deferred: (() => void)[] = [];
  readonly thread = new Thread(this.clock, (run) => void this.#deferred.push(run));
  /** Who has had a PUBLISH handled, in order. */
  readonly handled: string[] = [];
  readonly metrics = new Metrics();

  tenant(name: string, quotas: Partial<Quotas>, costMs: number) {
    const host = new FakeHost();
    const time = this.thread.account();
    const record = { id: name as TenantId, plan: 'free', status: 'active', createdAtMs: 0 } as const;
    const limits = new TenantLimits({ ...record, quotaOverrides: quotas }, time, this.clock.nowMs());
    const units = new TenantUnits(name as TenantScope, limits, this.clock);
    const rates = new TenantRates(limits, new SafetyLedger(1 << 20), units, time, this.clock);
    host.publish = (message) => {
      this.clock.advance(costMs);
      this.handled.push(`${name} ${message.payload.toString()}`);
      return handedOn;
    };
    const tenant = { id: record.id, limits, rates, time, meters: newMeters() } as unknown as Admitted['tenant'];
    return { host, tenant, connect: (keepAlive = 0) => this.#connect(host, tenant, keepAlive) };
  }

  async #connect(host: FakeHost, tenant: Admitted['tenant'], keepAliveSeconds: number) {
    const session = new Session('c' as ClientId, host, everything);
    let disconnected = 0;
    const admission = {
      connect(_: unknown, connection: ToAdmission): Promise<void> {
        const wish = { version: 4, isBridge: false, receiveMaximum: 65_535, inFlightMax: 256 } as const;
        const more = { packetBytesMax: Infinity, topicAliasMax: 0, problemInformation: false };
        const channel = new Channel(connection, new Slab(), { ...wish, ...more });
        connection.admitted({ tenant, session, channel, keepAliveSeconds });
        session.attach(channel, 0);
        return Promise.resolve();
      },
      disconnected: () => {
        disconnected++;
        return handedOn;
      },
    } as unknown as Admission;
    const wheel = new DeadlineWheel(() => this.clock.monotonicMs());
    wheels.push(wheel);
    const flusher = new Flusher({ leave: () => 'all', onLapsed() {} }, this.clock);
    const world = { admission, topics: new TopicTable(), flusher, wheel, clock: this.clock, log: silentLog };
    const stream = new PausableStream();
    let sink!: ByteSink;
    const place = { occupant: undefined, become() {}, mayBeSilentFor() {} };
    const connection = new Connection({ ...world, metrics: this.metrics, onGone() {} }, place, (given) => {
      sink = given;
      return stream;
    });
    const wish = { cmd: 'connect', clientId: 'c', protocolId: 'MQTT', protocolVersion: 4, clean: true } as const;
    sink.onBytes(encode({ ...wish, keepalive: 0 }, 4));
    await Promise.resolve();
    await Promise.resolve();
    return {
      ...{ connection, stream, sink, session },
      get disconnected() {
        return disconnected;
      },
      send: (chunk: Buffer): void => sink.onBytes(chunk),
      /** What has been sent to it. */
      said: (): string[] => {
        flusher.flush();
        return decodeAll(stream.take(), 4).map(({ cmd }) => cmd);
      },
    };
  }

  turn(): void {
    for (const run of this.#deferred.splice(0)) run();
  }
  /** Turns of the event loop and time, until nothing happens any more. */
  settle(ms = 0): void {
    for (let i = 0; i <= ms; i++) {
      while (this.#deferred.length > 0) this.turn();
      if (i < ms) this.clock.advance(1);
    }
  }
  count(name: string): number {
    return this.handled.filter((one) => one.startsWith(name)).length;
  }
}

class PausableStream extends LooseStream {
  isPaused = false;
  override pause(): void {
    this.isPaused = true;
  }
  override resume(): void {
    this.isPaused = false;
  }
}

describe('time', () => {
  it('a neighbour whose packets are cheap waits for one turn at most, however busy another tenant is', async () => {
    const broker = new Broker();
    const busy = broker.tenant('busy', unlimited, 0.5);
    const quiet = broker.tenant('quiet', unlimited, 0.01);
    const attackers = await Promise.all(Array.from({ length: 50 }, () => busy.connect()));
    const neighbour = await quiet.connect();
    for (const attacker of attackers) attacker.send(numbered(200));
    // 5 s of work have come in one turn: of the first some, until the clock was looked at.
    expect(broker.count('busy')).toBe(32);
    for (let i = 0; i < 50; i++) {
      const startedMs = broker.clock.monotonicMs();
      broker.turn();
      neighbour.send(numbered(1));
      expect(broker.count('quiet')).toBe(i + 1);
      // Each look at the clock may come 64 packets late.
      expect(broker.clock.monotonicMs() - startedMs).toBeLessThan(4 + 2 + 64 * 0.5);
    }
  });

  it('cuts a chunk of small packets, and all of it comes in order', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', unlimited, 0.1);
    const client = await connect();
    client.send(numbered(1000));
    expect(broker.count('a')).toBe(32); // The first look at the clock.
    expect(client.stream.isPaused).toBe(false); // 5 KB are held.
    client.send(numbered(10));
    broker.settle();
    const wanted = [...Array.from({ length: 1000 }, (_, i) => i + 1), ...Array.from({ length: 10 }, (_, i) => i + 1)];
    expect(broker.handled).toEqual(wanted.map((n) => `a ${n}`));
  });

  it('looks at the clock as often as large packets need it', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', unlimited, 1);
    const client = await connect();
    const publish = encode(
      { cmd: 'publish', topic: 't', payload: Buffer.alloc(4000), qos: 0, dup: false, retain: false },
      4,
    );
    client.send(Buffer.concat(Array.from({ length: 15 }, () => publish)));
    expect(broker.count('a')).toBe(2);
    broker.settle();
    expect(broker.count('a')).toBe(15);
  });

  it('alone a tenant gets all there is, whatever its share', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', { ...unlimited, cpuShare: 1 }, 0.1);
    const client = await connect();
    client.send(numbered(5000));
    broker.settle();
    expect(broker.count('a')).toBe(5000);
    expect(broker.clock.monotonicMs()).toBeCloseTo(500, 0);
  });

  it('takes nothing from the network while it waits, and goes on reading afterwards', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', unlimited, 0.1);
    const client = await connect();
    client.send(many(1000, publish('t', 'x'.repeat(100), 0, 0)));
    expect(client.stream.isPaused).toBe(true);
    broker.settle();
    expect([broker.count('a'), client.stream.isPaused]).toEqual([1000, false]);
  });

  it.each([
    ['leaves', (sink: ByteSink) => sink.onClosed(), 300],
    ['ends its side', (sink: ByteSink) => sink.onEnd(), 300],
  ])('a peer that %s meanwhile: what it has sent is handled first', async (_how, leave, count) => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', unlimited, 0.1);
    const client = await connect();
    client.send(Buffer.concat([numbered(count), bytes([{ cmd: 'disconnect' }])]));
    leave(client.sink);
    expect([broker.count('a'), client.connection.closed]).toEqual([32, false]);
    broker.settle(20);
    expect([broker.count('a'), client.connection.closed, client.disconnected]).toEqual([count, true, 1]);
  });

  it('a connection that is closed meanwhile leaves the queue, and what is held is counted as lost', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', unlimited, 0.1);
    const client = await connect();
    client.send(numbered(100));
    client.connection.close(reasons.administrativeAction);
    broker.settle();
    expect([broker.count('a'), broker.thread.waiting]).toEqual([32, 0]);
    const lost = [...broker.metrics.samples()].find(({ name }) => name === 'shoal_publishes_lost_total');
    expect(lost?.value).toBe(68);
  });

  it('keep alive does not run while it is not listened to', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', unlimited, 0.1);
    const client = await connect(10);
    client.send(numbered(100));
    expect(client.connection.checkDeadline(broker.clock.monotonicMs() + 60_000)).toBeGreaterThan(0);
    broker.settle();
    expect(client.connection.checkDeadline(broker.clock.monotonicMs() + 60_000)).toBe(0);
    expect(client.connection.closed).toBe(true);
  });

  it('a connection that is taken over hands over all that it may, though it had to wait', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', unlimited, 0.1);
    const client = await connect();
    client.send(numbered(100));
    client.connection.close(reasons.sessionTakenOver);
    expect(broker.count('a')).toBe(100);
  });
});

describe('a rate of messages', () => {
  it('is not overdrawn by more than one, however many come at once, and its rest is not lost', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', { ...unlimited, publishPerSecond: 1000 }, 0);
    const client = await connect();
    for (const at of [0, 1, 2]) {
      client.send(numbered(1500));
      expect(broker.count('a')).toBe(1001 + 1500 * at);
      broker.settle(1600); // Those that wait, and a second's worth again.
      expect(broker.count('a')).toBe(1500 * (at + 1));
    }
  });
});

describe('rates of packets', () => {
  it('PINGREQ as fast as the socket takes it: half of the rate of the tenant, and none is lost', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', { ...unlimited, packetsPerSecond: 1000 }, 0);
    const client = await connect();
    client.said();
    client.send(many(6000, pingreq));
    client.send(many(6000, pingreq));
    const once = client.said().length;
    client.send(many(6000, pingreq));
    expect(client.said().filter((cmd) => cmd === 'pingresp')).toEqual([]);
    expect(once).toBe(6000); // They came in no time.
    broker.settle(40_000);
    expect(client.said().length).toBe(18_000 - once);
  });

  it('another connection of the tenant has the other half', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', { ...unlimited, packetsPerSecond: 1000 }, 0);
    const [greedy, other] = [await connect(), await connect()];
    other.said();
    greedy.send(many(500, pingreq));
    for (let i = 0; i < 10; i++) {
      broker.settle(100);
      greedy.send(many(50, pingreq));
      other.send(bytes([pingreq]));
      expect(other.said()).toEqual(['pingresp']);
    }
  });

  it('topic filters: the next SUBSCRIBE waits, PINGREQ does not', async () => {
    const broker = new Broker();
    const { connect } = broker.tenant('a', { ...unlimited, subscribesPerSecond: 10 }, 0);
    const client = await connect();
    client.said();
    client.send(Buffer.concat([many(15, subscribe), bytes([pingreq])]));
    const said = client.said();
    expect([said.filter((cmd) => cmd === 'suback').length, said.at(-1)]).toEqual([11, 'pingresp']);
    expect(client.connection.checkDeadline(broker.clock.monotonicMs() + 60_000)).toBe(0); // No keep alive was asked for.
    broker.settle(1000);
    expect(client.said()).toEqual(Array(4).fill('suback'));
  });

  it('a rate that is raised, or taken away, is noticed within a second', async () => {
    const broker = new Broker();
    const { connect, tenant } = broker.tenant('a', { ...unlimited, subscribesPerSecond: 1 }, 0);
    const client = await connect();
    client.said();
    client.send(many(200, subscribe));
    tenant.limits.subscribes.setRate(Infinity, broker.clock.nowMs());
    broker.settle(1000);
    expect(client.said().filter((cmd) => cmd === 'suback').length).toBe(200);
  });

  it('one that is over two rates goes on when both allow it', async () => {
    const broker = new Broker();
    const quotas = { ...unlimited, publishPerSecond: 2, packetsPerSecond: 20 };
    const client = await broker.tenant('a', quotas, 0).connect();
    client.said();
    client.send(Buffer.concat([numbered(4), many(20, pingreq)]));
    expect(broker.count('a')).toBe(3);
    broker.settle(5000);
    expect(broker.handled).toEqual(['a 1', 'a 2', 'a 3', 'a 4']);
    expect(client.said().filter((cmd) => cmd === 'pingresp').length).toBe(20);
  });
});
