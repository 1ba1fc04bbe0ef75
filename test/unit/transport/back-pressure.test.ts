/**
 * Back pressure: every pause of reading by every packet, and every way to leave, that can be behind a PUBLISH that waits.
 * The real connection and admission, with tables in memory and a clock that the test moves; the stream is the test's.
 */
import type { Packet } from 'mqtt-packet';
import { afterEach, describe, expect, it } from 'vitest';
import { Connection, type ConnectionWorld } from '../../../services/broker/transport/connection.js';
import { Flusher } from '../../../services/broker/outbox/flusher.js';
import type { ByteSink, ByteStream } from '../../../services/broker/transport/ports.js';
import { DeadlineWheel } from '../../../services/broker/transport/wheel.js';
import { TopicTable } from '../../../services/broker/wire/wire.js';
import { Metrics, silentLog } from '../../../services/kernel/kernel.js';
import { decodeAll, encode } from '../../fuzz/packets.js';
import { ack, acme, pub, settle, Site } from '../admission/site.js';

/** The network: what has come while nobody reads stays in it. */
class Wire implements ByteStream {
  readonly remoteAddress = '192.0.2.1:5000';
  readonly unsentBytes = 0;
  sink!: ByteSink;
  isPaused = false;
  isEnded = false;
  #come: Buffer[] = [];
  #sent: Buffer[] = [];
  write(bytes: Buffer): void {
    if (!this.isEnded) this.#sent.push(bytes);
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
    queueMicrotask(() => {
      while (this.#come.length > 0 && !this.isPaused) this.sink.onBytes(this.#come.shift()!);
    });
  }
  end(): void {
    this.isEnded = true;
  }
  destroy(): void {
    this.isEnded = true;
    this.sink.onClosed();
  }
  bring(bytes: Buffer): void {
    if (this.isPaused || this.#come.length > 0) this.#come.push(bytes);
    else this.sink.onBytes(bytes);
  }
  take(): Packet[] {
    return decodeAll(Buffer.concat(this.#sent.splice(0)), 4);
  }
}

const all = (...packets: Packet[]): Buffer => Buffer.concat(packets.map((packet) => encode(packet, 4)));
const word = (packet: Packet): string =>
  packet.cmd === 'publish' ? `publish ${packet.payload.toString()}` : [packet.cmd, packet.messageId].join(' ').trim();

const wheels: DeadlineWheel[] = [];
afterEach(() => {
  for (const wheel of wheels.splice(0)) wheel.stop();
});

const unlimited = { publishPerSecond: null, deliverPerSecond: null, bytesPerSecond: null, messageBytesMax: null };

/** A broker with the client `c`, its stored session, and all that may be under way in it. */
class World {
  readonly site = new Site(unlimited);
  readonly metrics = new Metrics();
  wire!: Wire;
  connection!: Connection;
  readonly #world: ConnectionWorld;
  gone = 0;
  /** Packet identifiers of what is under way to the client: QoS 1, QoS 2 before PUBREC, QoS 2 before PUBCOMP. */
  ids = { puback: 0, pubrec: 0, pubcomp: 0 };
  #watcher!: Awaited<ReturnType<Site['admit']>>;

  constructor() {
    const { clock, admission } = this.site;
    const wheel = new DeadlineWheel(() => clock.monotonicMs());
    wheels.push(wheel);
    const flusher = new Flusher({ leave: () => 'all', onLapsed: () => undefined }, clock);
    const onGone = (): void => void this.gone++;
    this.#world = {
      admission,
      topics: new TopicTable(),
      flusher,
      wheel,
      clock,
      log: silentLog,
      metrics: this.metrics,
      onGone,
    };
  }

  open(): void {
    this.wire = new Wire();
    this.connection = new Connection(
      this.#world,
      { occupant: undefined, become: () => undefined, mayBeSilentFor: () => undefined },
      (sink) => {
        this.wire.sink = sink;
        return this.wire;
      },
    );
  }

  get connectPacket(): Packet {
    return {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: false,
      clientId: 'c',
      keepalive: 60,
      username: 'device@acme',
      password: Buffer.from('correct horse'),
      will: { topic: 'will', payload: Buffer.from('gone'), qos: 0, retain: false },
    };
  }

  /** Until nothing happens that the clock and the store do not bring. */
  async heard(): Promise<string[]> {
    await settle(4);
    return this.wire.take().map(word);
  }

  async stored(): Promise<void> {
    for (let i = 0; i < 4; i++) {
      this.site.log.delayOver();
      this.site.log.commit();
      await settle(2);
    }
  }

  /** `c` is connected, and an exchange of each kind is open. */
  async prepare(): Promise<void> {
    this.#watcher = await this.site.admit('watcher');
    await this.site.subscribe(this.#watcher, 'will', 0);
    this.open();
    this.wire.bring(all(this.connectPacket));
    await settle(6);
    this.wire.bring(all({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't', qos: 2 }] }));
    await this.stored();
    this.wire.take();
    const publisher = await this.site.admit('publisher');
    publisher.send(pub('t', '1', 1, 1), pub('t', '2', 2, 2), pub('t', '3', 2, 3));
    await this.stored();
    const under = this.wire.take().filter((packet) => packet.cmd === 'publish');
    const [puback, pubrec, pubcomp] = under.map(({ messageId }) => messageId!);
    this.ids = { puback: puback!, pubrec: pubrec!, pubcomp: pubcomp! };
    this.wire.bring(all(ack('pubrec', this.ids.pubcomp), pub('x', 'unreleased', 2, 9)));
    await this.stored();
    expect((await this.heard()).sort()).toEqual(['pubrec 9', `pubrel ${pubcomp}`]);
    await this.site.calm();
  }

  get tenant() {
    return this.session.tenant;
  }
  get session() {
    return this.#watcher.in!;
  }
  get residence() {
    return this.tenant.residences.get('c' as never)!;
  }
  /** Messages of `c` that it has not completed. */
  get unfinished(): number {
    return this.residence.session.queuedMessages;
  }
  limit(quotas: object): void {
    const record = this.site.accounts.tenants.get(acme)!;
    this.tenant.limits.set({ ...record, quotaOverrides: { ...unlimited, ...quotas } }, this.site.clock.nowMs());
  }
  wills(): number {
    return this.#watcher.take().filter((packet) => packet.cmd === 'publish').length;
  }
  lost(): string[] {
    return [...this.metrics.samples()]
      .filter(({ name, value }) => name === 'shoal_publishes_lost_total' && value > 0)
      .map(({ labels, value }) => `${labels['reason']} ${value}`);
  }
}

/** Brings a connection to where PUBLISH 40 waits, with `behind` after it in the same chunk; `goOn` ends the pause. */
interface Pause {
  begin(world: World, behind: Buffer): Promise<void>;
  goOn(world: World): Promise<void>;
  /** Nothing at all gets through, CONNACK is to come. */
  readonly stopsAll?: boolean;
  /** What is stored ends it. */
  readonly endsWhenStored?: boolean;
}

const held = pub('x', 'held', 1, 40);
const advance = async (world: World, ms: number): Promise<void> => {
  world.site.clock.advance(ms);
  await settle(2);
};

const pauses: Record<string, Pause> = {
  admission: {
    stopsAll: true,
    async begin(world, behind) {
      world.wire.sink.onClosed();
      await world.stored();
      world.wills();
      world.open();
      world.wire.bring(Buffer.concat([all(world.connectPacket, held), behind]));
    },
    goOn: () => settle(6),
  },
  'messages a second': {
    async begin(world, behind) {
      world.limit({ publishPerSecond: 2 });
      await advance(world, 1000);
      world.wire.bring(Buffer.concat([all(...Array<Packet>(3).fill(pub('x', '', 0, 0)), held), behind]));
      await settle();
    },
    goOn: (world) => advance(world, 1000),
  },
  'bytes a second': {
    async begin(world, behind) {
      world.limit({ bytesPerSecond: 20_000 });
      await advance(world, 1000);
      world.wire.bring(Buffer.concat([all(pub('x', 'x'.repeat(30_000), 0, 0), held), behind]));
      await settle();
    },
    goOn: (world) => advance(world, 1000),
  },
  'not safe yet': {
    endsWhenStored: true,
    async begin(world, behind) {
      const offline = await world.site.admit('offline');
      await world.site.subscribe(offline, 'u', 1);
      offline.end();
      await world.stored();
      const large = [20, 21, 22, 23].map((id) => pub('u', 'x'.repeat(300_000), 1, id));
      world.wire.bring(Buffer.concat([all(...large, held), behind]));
      await settle();
    },
    goOn: (world) => world.stored(),
  },
  'acknowledgements owed': {
    endsWhenStored: true,
    async begin(world, behind) {
      const offline = await world.site.admit('offline');
      await world.site.subscribe(offline, 'u', 1);
      offline.end();
      await world.stored();
      const owed = Array.from({ length: 1025 }, (_, i) => pub('u', '', 1, 1000 + i));
      world.wire.bring(Buffer.concat([all(...owed, held), behind]));
      await settle();
    },
    goOn: (world) => world.stored(),
  },
  'sent away over its rate': {
    async begin(world, behind) {
      await pauses['messages a second']!.begin(world, behind);
      world.connection.sendAway();
    },
    goOn: (world) => advance(world, 1000),
  },
};

const nothing = Buffer.alloc(0);
/** What it says when it has been handled. */
interface Row {
  readonly bytes: (world: World) => Buffer;
  readonly isHandled: (world: World, heard: readonly string[], openBefore: number) => boolean;
  readonly overtakes: boolean;
  readonly isStoredFirst?: boolean;
}
const says = (text: string) => (_world: World, heard: readonly string[]) => heard.includes(text);
const completes = (world: World, _heard: readonly string[], openBefore: number) => world.unfinished < openBefore;
const rows: Record<string, Row> = {
  PUBACK: { bytes: ({ ids }) => all(ack('puback', ids.puback)), isHandled: completes, overtakes: true },
  PUBREC: {
    bytes: ({ ids }) => all(ack('pubrec', ids.pubrec)),
    isHandled: (world, heard) => heard.includes(`pubrel ${world.ids.pubrec}`),
    overtakes: true,
    isStoredFirst: true,
  },
  PUBCOMP: { bytes: ({ ids }) => all(ack('pubcomp', ids.pubcomp)), isHandled: completes, overtakes: true },
  PINGREQ: { bytes: () => all({ cmd: 'pingreq' }), isHandled: says('pingresp'), overtakes: true },
  PUBREL: { bytes: () => all(ack('pubrel', 9)), isHandled: says('pubcomp 9'), overtakes: false },
  SUBSCRIBE: {
    bytes: () => all({ cmd: 'subscribe', messageId: 50, subscriptions: [{ topic: 'y', qos: 0 }] }),
    isHandled: says('suback 50'),
    overtakes: false,
  },
  UNSUBSCRIBE: {
    bytes: () => all({ cmd: 'unsubscribe', messageId: 51, unsubscriptions: ['t'] }),
    isHandled: says('unsuback 51'),
    overtakes: false,
  },
};

const names = Object.keys(pauses);
const cells = names.flatMap((pause) => Object.keys(rows).map((row) => [row, pause] as const));

describe('behind a PUBLISH that waits', () => {
  it.each(cells)('%s, while it waits for: %s', async (rowName, pauseName) => {
    const [pause, row] = [pauses[pauseName]!, rows[rowName]!];
    const world = new World();
    await world.prepare();
    const openBefore = world.unfinished;
    await pause.begin(world, row.bytes(world));
    const early: string[] = pause.stopsAll ? [] : await world.heard();
    if (!pause.stopsAll && !pause.endsWhenStored && row.overtakes) {
      await world.stored();
      early.push(...(await world.heard()));
    }
    expect(early).not.toContain('puback 40');
    // What has to be stored first, and ends the pause by that, cannot be seen before it.
    if (!row.isStoredFirst || !pause.endsWhenStored)
      expect(row.isHandled(world, early, openBefore)).toBe(row.overtakes && !pause.stopsAll);
    await pause.goOn(world);
    await world.stored();
    const later = await world.heard();
    expect(later).toContain('puback 40');
    if (pause.stopsAll) expect(later[0]).toBe('connack');
    const everything = [...early, ...later];
    expect(row.isHandled(world, everything, openBefore)).toBe(true);
    expect(world.lost()).toEqual([]);
  });
});

const disconnect = all({ cmd: 'disconnect' });
const leavings: Record<string, { bytes: Buffer; leave?: (wire: Wire) => void; wills: number; canHear: boolean }> = {
  DISCONNECT: { bytes: disconnect, wills: 0, canHear: true },
  'FIN or close frame': { bytes: nothing, leave: ({ sink }) => sink.onEnd(), wills: 1, canHear: true },
  'DISCONNECT and FIN': { bytes: disconnect, leave: ({ sink }) => sink.onEnd(), wills: 0, canHear: true },
  RST: { bytes: nothing, leave: ({ sink }) => sink.onClosed(), wills: 1, canHear: false },
  'DISCONNECT and RST': { bytes: disconnect, leave: ({ sink }) => sink.onClosed(), wills: 0, canHear: false },
};

describe('leaving behind a PUBLISH that waits', () => {
  const endings = names.flatMap((pause) => Object.keys(leavings).map((leaving) => [leaving, pause] as const));

  it.each(endings)('by %s, while it waits for: %s', async (leavingName, pauseName) => {
    const [pause, { bytes, leave, wills, canHear }] = [pauses[pauseName]!, leavings[leavingName]!];
    const world = new World();
    await world.prepare();
    await pause.begin(world, bytes);
    const { wire } = world;
    const early = pause.stopsAll ? [] : await world.heard();
    leave?.(wire);
    expect(world.connection.closed).toBe(false);
    expect(early).not.toContain('puback 40');
    await pause.goOn(world);
    await world.stored();
    await advance(world, 10);
    expect(world.connection.closed).toBe(true);
    expect((await world.heard()).includes('puback 40')).toBe(true);
    expect(world.wills()).toBe(wills);
    expect(world.lost()).toEqual([]);
    if (canHear) wire.destroy();
    expect(world.gone).toBe(pauseName === 'admission' ? 2 : 1);
  });
});

describe('while a PUBLISH waits', () => {
  it.each(names)('the client is not late, whatever its keep alive: %s', async (pauseName) => {
    const world = new World();
    await world.prepare();
    await pauses[pauseName]!.begin(world, nothing);
    const againMs = world.connection.checkDeadline(world.site.clock.monotonicMs() + 3_600_000);
    expect(world.connection.closed).toBe(false);
    // Keep alive begins with CONNACK.
    if (pauseName !== 'admission') expect(againMs).toBeGreaterThan(0);
  });

  it('nor is one that has ended its side', async () => {
    const world = new World();
    await world.prepare();
    await pauses['not safe yet']!.begin(world, nothing);
    world.wire.sink.onEnd();
    await advance(world, 50_000);
    expect(world.connection.checkDeadline(world.site.clock.monotonicMs() + 3_600_000)).toBeGreaterThan(0);
    expect(world.connection.closed).toBe(false);
  });

  it.each([
    ['DISCONNECT', disconnect, 0],
    ['nothing', nothing, 1],
  ])('a minute is all that a client which has left gets; behind it %s', async (_what, behind, wills) => {
    const world = new World();
    await world.prepare();
    await pauses['not safe yet']!.begin(world, Buffer.concat([all(pub('x', '', 0, 0)), behind]));
    world.wire.sink.onClosed();
    await advance(world, 59_999);
    expect(world.connection.closed).toBe(false);
    await advance(world, 1);
    expect(world.connection.closed).toBe(true);
    expect([world.lost(), world.wills(), world.gone]).toEqual([['too-late 2'], wills, 1]);
  });

  it('a broker that stops waits for two seconds, and counts what is left', async () => {
    const world = new World();
    await world.prepare();
    await pauses['not safe yet']!.begin(world, nothing);
    world.connection.sendAway();
    await advance(world, 1999);
    expect(world.connection.closed).toBe(false);
    await advance(world, 1);
    expect([world.connection.closed, world.lost(), world.wills()]).toEqual([true, ['too-late 1'], 0]);
  });

  it('little is taken from the network, and all of it in order afterwards', async () => {
    const world = new World();
    await world.prepare();
    await pauses['messages a second']!.begin(world, nothing);
    world.limit({});
    const count = 1000;
    for (let i = 0; i < count; i++) world.wire.bring(all(pub('x', '.'.repeat(200), 1, 100 + i)));
    expect(world.wire.isPaused).toBe(true);
    await advance(world, 1000);
    const pubacks = (await world.heard()).filter((text) => text.startsWith('puback'));
    expect(pubacks).toEqual(['puback 40', ...Array.from({ length: count }, (_, i) => `puback ${100 + i}`)]);
  });

  it('thousands that are not released by a client before MQTT 5.0 do not stop it', async () => {
    const world = new World();
    await world.prepare();
    const ids = Array.from({ length: 3000 }, (_, i) => 100 + i);
    world.wire.bring(all(...ids.map((id) => pub('x', '', 2, id))));
    world.wire.bring(all(...ids.map((id) => ack('pubrel', id)), { cmd: 'pingreq' }));
    // At most 1024 are owed, so it takes some turns.
    const heard: string[] = [];
    for (let i = 0; i < 6; i++) {
      await world.stored();
      heard.push(...(await world.heard()));
    }
    for (const kind of ['pubrec', 'pubcomp'])
      expect(heard.filter((text) => text.startsWith(kind))).toEqual(ids.map((id) => `${kind} ${id}`));
  });
});

describe('another connection of the client', () => {
  const takeOver = async (world: World): Promise<void> => {
    const { wire, connection } = world;
    world.open();
    world.wire.bring(all(world.connectPacket));
    await settle(8);
    expect(connection.closed).toBe(true);
    expect((await world.heard())[0]).toBe('connack');
    world.wire = wire;
  };

  it.each([
    ['DISCONNECT', disconnect, 0],
    ['nothing', nothing, 1],
  ])('comes after what waited for CONNACK, and behind it %s', async (_what, behind, wills) => {
    const world = new World();
    await world.prepare();
    await pauses['admission']!.begin(world, behind);
    world.wire.sink.onEnd();
    await takeOver(world);
    expect(await world.heard()).toContain('puback 40');
    expect([world.lost(), world.wills()]).toEqual([[], wills]);
  });

  it.each([
    ['DISCONNECT', disconnect, 0],
    ['nothing', nothing, 1],
  ])('displaces what the rate does not allow yet, which is counted, and behind it %s', async (_what, behind, wills) => {
    const world = new World();
    await world.prepare();
    await pauses['messages a second']!.begin(world, behind);
    world.wire.sink.onEnd();
    await takeOver(world);
    expect([world.lost(), world.wills()]).toEqual([['session-taken-over 1'], wills]);
  });
});
