/** Tenants of several shapes, with real sessions, routing and inboxes, that their memory counts (`tenant/memory.ts`). */
import { Message, type QoS, topicName } from '../../services/broker/message/message.js';
import { Channel, type Outbox, Session, type Subscription } from '../../services/broker/session/session.js';
import { Activity } from '../../services/broker/tenant/activity.js';
import { Tenant } from '../../services/broker/tenant/local-tenant.js';
import { depthOf, type OwnRecord, Residence, Thread } from '../../services/broker/tenant/tenant.js';
import { Slab } from '../../services/broker/wire/wire.js';
import { type ClientId, silentLog, systemClock, type TenantId } from '../../services/kernel/kernel.js';
import { MemoryCommitLog } from '../support/memory/commit-log.js';
import { MemoryRetained } from '../support/memory/retained.js';
import { MemorySharedStore } from '../support/memory/shared-store.js';
import { SessionTables } from '../support/memory/session-tables.js';
import { until } from '../support/until.js';
import { everything } from '../unit/session/world.js';

const slab = new Slab();

/** A tenant whose writes wait: nothing is stored as long as nobody asks for it. */
function makeTenant() {
  const tables = new SessionTables();
  const log = new MemoryCommitLog({ tables, nowMs: () => systemClock.nowMs() });
  const record = { id: 'acme' as TenantId, plan: 'free' as const, status: 'active' as const };
  const lease = { state: 'held' as const, whenAwake: (listener: () => void) => listener() };
  const shared = { store: new MemorySharedStore(tables), commitLog: log, clock: systemClock, log: silentLog };
  const tenant = new Tenant(
    { ...record, quotaOverrides: {}, createdAtMs: 0 },
    {
      makeRetained: () => new MemoryRetained({ clock: systemClock }),
      queues: shared,
      pace: { unsafeBytesMax: 64 << 20, holdBackMs: 0, topicLevelsMax: 128 },
      lease,
      thread: new Thread(systemClock),
      activity: new Activity(),
      systemLooks: { lastMs: 0 },
      clock: systemClock,
      log: silentLog,
    },
  );
  return { tenant, log };
}

const subscription = (filter: string, qos: QoS = 1): Subscription => ({
  ...{ filter, topicFilter: filter, qos, id: 0, group: undefined },
  ...{ noLocal: false, retainAsPublished: false, retainHandling: 0 },
});

/** Each with a credential of its own. */
function residenceOf(tenant: Tenant, session: Session): Residence {
  const { clientId } = session;
  const credential = { scope: tenant.scope, name: clientId, secretHash: '' as never, createdAtMs: 0, revision: 0 };
  const times = { connectedAtMs: Date.now(), disconnectedAtMs: Date.now(), epoch: 1.8e11, born: 1.8e11 };
  const record: OwnRecord = {
    ...{ tenant: tenant.scope, clientId, userName: `${clientId}@acme`, protocolVersion: '5', connected: false },
    ...{ address: Buffer.from(`10.0.0.1:${clientId}`).toString(), keepAliveSeconds: 60, expirySeconds: 3600 },
    ...{ queuedMessages: 0, droppedMessages: 0, ...times },
  };
  return new Residence(tenant, session, credential, record, depthOf(record, Date.now()));
}

/** `count` sessions, stored, of clients that are away unless `isThere`. */
function sessions(count: number, filters: (i: number) => readonly string[], isThere = false) {
  const { tenant, log } = makeTenant();
  for (let i = 0; i < count; i++) {
    const clientId = `device-${i}` as ClientId;
    const session = new Session(clientId, tenant, everything, tenant.keeping);
    session.renew(1);
    if (isThere) {
      const outbox: Outbox = { waitingBytes: 0, push() {}, giveUp() {} };
      const wish = { version: 5, isBridge: false, receiveMaximum: 65_535, inFlightMax: 16_383 } as const;
      const rest = { packetBytesMax: Infinity, topicAliasMax: 0, problemInformation: false };
      session.attach(new Channel(outbox, slab, { ...wish, ...rest }), systemClock.nowMs());
    }
    for (const text of filters(i)) {
      const filter = Buffer.from(text).toString(); // A string of its own, as it comes out of a packet.
      const one = subscription(filter);
      session.subscriptions.set(filter, one);
      tenant.subscribe(session, one, true);
    }
    tenant.residences.set(clientId, residenceOf(tenant, session));
  }
  return { tenant, log };
}

function published(made: ReturnType<typeof sessions>, count: number, topic: (i: number) => string, bytes: number) {
  for (let i = 0; i < count; i++) {
    const fields = { topic: topicName(topic(i)), payload: Buffer.alloc(bytes), qos: 1 as const, retain: false };
    made.tenant.publish(Message.of(fields), systemClock.nowMs());
  }
  return made;
}

const levels = (count: number, i: number): string => Array.from({ length: count }, (_, n) => `${i}-${n}`).join('/');
/** When all of them have what was published: more than 500 get it in turns to come. */
async function counted(made: ReturnType<typeof sessions>) {
  await until(() => made.tenant.ledger.lineBytes === 0);
  return { counted: made.tenant.memory.bytes, kept: made };
}

/** By name. */
export const tenants: Readonly<Record<string, () => ReturnType<typeof counted>>> = {
  'a tenant of 5000 sessions': () => counted(sessions(5000, () => [])),
  'a tenant of 5000 sessions with four filters of their own': () =>
    counted(sessions(5000, (i) => [1, 2, 3, 4].map((n) => `devices/${i}/${n}/#`))),
  'a tenant of 2000 sessions with ten filters that all have': () =>
    counted(sessions(2000, () => Array.from({ length: 10 }, (_, n) => `fleet/${n}/commands`))),
  'a tenant of 10 sessions with 500 filters of 100 levels': () =>
    counted(sessions(10, (i) => Array.from({ length: 500 }, (_, n) => levels(100, i * 500 + n)))),
  'a tenant of 1000 subscribers of all, and 10 000 topics': () =>
    counted(
      published(
        sessions(1000, () => ['#', 'a/+'], false),
        10,
        (i) => `a/${i}`,
        0,
      ),
    ),
  'a tenant of 400 sessions that are away, and 200 messages to all': () =>
    counted(
      published(
        sessions(400, () => ['all']),
        200,
        () => 'all',
        100,
      ),
    ),
  'a tenant of 400 clients that do not acknowledge, and 200 messages to all': () =>
    counted(
      published(
        sessions(400, () => ['all'], true),
        200,
        () => 'all',
        100,
      ),
    ),
  'a tenant of 100 clients that do not acknowledge, and 300 messages for each': () =>
    counted(
      published(
        sessions(100, (i) => [`to/${i}`], true),
        30_000,
        (i) => `to/${i % 100}`,
        500,
      ),
    ),
};
