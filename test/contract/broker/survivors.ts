/** Whole brokers that serve together, in one process over one database: each may die at any moment, and time passes as a test says. */
import { Adoptions } from '../../../services/broker/adoptions.js';
import { Admission } from '../../../services/broker/admission/admission.js';
import { DynamoSessionStore, DynamoSharedStore } from '../../../services/broker/store/store.js';
import { type Residence, type Tenant, Thread, UnitLedger } from '../../../services/broker/tenant/tenant.js';
import { Slab } from '../../../services/broker/wire/wire.js';
import { LeaseEnds } from '../../../services/broker/store/lease-ends.js';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import { Metrics, silentLog } from '../../../services/kernel/kernel.js';
import { type LeaseBroker, LeaseWorld } from '../../support/lease-world.js';
import { MemoryAccounts } from '../../support/memory/accounts.js';
import { MemoryRetained } from '../../support/memory/retained.js';
import { MemoryUsage } from '../../support/memory/usage.js';
import { acme, acmeScope, connectPacket, Device, secretHash, type Site, type Wish } from '../../unit/admission/site.js';
import { groupCommitOver } from './commits.js';

const never = new Promise<never>(() => undefined);

type OnCall = (action: string, table: string) => void;

/** The calls of one broker: counted, so that time waits for them, and never answered when it is dead. */
function callsOf(real: Dynamo, { line }: LeaseBroker, onCall: OnCall): Dynamo {
  const counted = async <T>(call: () => Promise<T>): Promise<T> => {
    if (line.isCut) return await never;
    line.inFlight++;
    try {
      const answer = await call();
      return line.isCut ? await never : answer;
    } finally {
      line.inFlight--;
    }
  };
  return new Proxy(real, {
    get: (target, name) => {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      const call = (...args: unknown[]): unknown => {
        onCall(String(name), String(args[0]));
        return (value as (...all: unknown[]) => unknown).apply(target, args);
      };
      if (name === 'queryAll')
        return async function* (...args: unknown[]) {
          const pages = (call(...args) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
          for (;;) {
            const next = await counted(() => pages.next());
            if (next.done) return;
            yield next.value;
          }
        };
      return (...args: unknown[]) => counted(async () => await (call(...args) as Promise<unknown>));
    },
  });
}

export class Survivor {
  readonly broker: LeaseBroker;
  readonly admission: Admission;
  /** Not stored: it sees what its broker publishes. */
  watcher!: Device;
  /** What that has got. */
  readonly seen: string[] = [];
  readonly #site: Site;

  constructor(broker: LeaseBroker, real: Dynamo, accounts: MemoryAccounts, onCall: OnCall) {
    this.broker = broker;
    const { clock, id, succession, gate } = broker;
    this.#site = { clock, life: { isOver: false } } as unknown as Site;
    const dynamo = callsOf(real, broker, onCall);
    const ends = new LeaseEnds(dynamo);
    const adoptions: Adoptions = new Adoptions({
      adopt: (owner) => this.admission.adopt(owner),
      adopted: () => Promise.resolve(),
      ...{ clock, log: silentLog },
    });
    this.admission = new Admission({
      memory: { limitBytes: 1, usedBytes: 0, liveBytes: 0, collections: 0 },
      accounts,
      records: new DynamoSessionStore({ records: dynamo, contents: dynamo }, id, clock, succession),
      shared: new DynamoSharedStore(dynamo),
      sharedOf: id,
      brokerId: id,
      commitLog: groupCommitOver(dynamo, { clock, persistDelayMs: 0, isHeld: () => gate.isHeld() }),
      unsafeBytesMax: 1 << 20,
      holdBackMs: 5000,
      inFlightMax: 16_383,
      units: new UnitLedger({ store: new MemoryUsage(), clock, log: silentLog, metrics: new Metrics() }),
      thread: new Thread(clock),
      topicLevelsMax: 128,
      lease: gate,
      leaseEndedAtMs: (owner) => ends.of(owner),
      makeRetained: () => new MemoryRetained({ clock }),
      slab: new Slab(),
      metrics: new Metrics(),
      keepAliveSecondsMax: 0,
      publishesRevokedWills: false,
      ...{ clock, log: silentLog },
    });
    succession.onDue(({ owner, leaseUntilMs }) => adoptions.add(owner, leaseUntilMs));
    adoptions.begin();
  }

  get isDead(): boolean {
    return this.broker.isDead;
  }

  /** Resolves with the device, or with undefined when it is refused. */
  async connect(clientId: string, wish: Wish): Promise<Device | undefined> {
    const device = new Device(this.#site, this.admission, 5, clientId);
    await this.admission.connect(connectPacket(clientId, wish), device).catch(() => undefined);
    return device.in ? device : undefined;
  }

  get tenant(): Tenant {
    return this.watcher.in!.tenant;
  }

  /** Of stored sessions. */
  get residences(): Map<string, Residence> {
    return new Map([...this.tenant.residences].filter(([, { session }]) => session.isDurable));
  }
}

export class Survivors {
  readonly all: Survivor[] = [];
  readonly world: LeaseWorld;
  readonly #dynamo: Dynamo;
  readonly #accounts = new MemoryAccounts();
  #count = 0;

  constructor(dynamo: Dynamo) {
    this.#dynamo = dynamo;
    this.world = new LeaseWorld(dynamo);
    this.#accounts.tenants.set(acme, {
      id: acme,
      plan: 'free',
      status: 'active',
      quotaOverrides: { sessionExpirySecondsMax: null },
      createdAtMs: 0,
    });
    this.#accounts.put({ scope: acmeScope, name: 'device', secretHash, createdAtMs: 0, revision: 1 });
  }

  get nowMs(): number {
    return this.living[0]!.broker.clock.nowMs();
  }

  get living(): Survivor[] {
    return this.all.filter(({ isDead }) => !isDead);
  }

  /** `onCall`: told of each call of its stores. */
  async start(onCall: OnCall = () => {}): Promise<Survivor> {
    const broker = this.world.broker(`broker-${++this.#count}`, false, true);
    const survivor = new Survivor(broker, this.#dynamo, this.#accounts, onCall);
    this.all.push(survivor);
    let isServing = false;
    void broker.membership.start().then(() => (isServing = true));
    await this.world.elapseUntil(() => isServing);
    const { id } = broker;
    survivor.watcher = (await this.done(survivor.connect(`watcher of ${id}`, { clean: true, expiry: 0 })))!;
    survivor.watcher.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'will', qos: 0 }] });
    await this.world.elapse(100);
    return survivor;
  }

  /** Time goes on until it is. */
  async done<T>(promise: Promise<T>): Promise<T> {
    let isDone = false;
    void promise.then(
      () => (isDone = true),
      () => (isDone = true),
    );
    await this.world.elapseUntil(() => isDone);
    return await promise;
  }

  /** SIGKILL. */
  async kill(survivor: Survivor): Promise<void> {
    this.hear();
    await this.world.kill(survivor.broker);
  }

  /** What watchers have got. */
  hear(): void {
    for (const { watcher, seen, isDead } of this.all)
      if (!isDead)
        for (const packet of watcher.take()) if (packet.cmd === 'publish') seen.push(packet.payload.toString());
  }
}
