import { describe, expect, it } from 'vitest';
import type { BrokerId, ClientId, TenantId, TenantScope } from '../../../services/kernel/kernel.js';
import {
  type ApiKey,
  apiKeyFromAttribute,
  apiKeyFromItem,
  apiKeyToAttribute,
  brokerLeaseFromItem,
  brokerLeaseToItem,
  clientPartition,
  clientRoutes,
  filterInRouteKey,
  controlCursorAt,
  controlFromItem,
  controlTimeMs,
  controlToItem,
  credentialFromItem,
  credentialToItem,
  generateCreationId,
  keyBounds,
  leaseEndFromItem,
  leaseEndToItem,
  RecordUnreadable,
  scopeOf,
  scopeOfPartition,
  servingLockFromItem,
  servingLockToItem,
  sessionBuckets,
  sessionFromItem,
  routeKey,
  sessionKey,
  sessionToItem,
  sharedPartition,
  tenantFromItem,
  tenantOf,
  tenantToItem,
} from '../../../services/tenancy/tenancy.js';

const tenant = 'acme' as TenantId;
/** Of a tenant without a creation id: its name. */
const scope = 'acme' as string as TenantScope;
const clientId = 'pump-7' as ClientId;
const owner = '01JD0000000000000000000000' as BrokerId;

type Item = Record<string, unknown>;

interface Fixture {
  name: string;
  item: Item;
  record: unknown;
  from: (item: Item) => unknown;
  to: (r: never) => Item;
  /** What is written today in addition to it. */
  since?: Item;
}

/** What sessions that were stored before their messages were are taken for. */
const withoutInbox = { born: 4, queuedMessages: 0, droppedMessages: 0 };

/** Attributes that an item and its record share. */
const shared = {
  tenant: {
    plan: 'free',
    status: 'active',
    quotaOverrides: { connections: null, retainedBytes: 5 },
    createdAtMs: 1e12,
  },
  credential: { name: 'sensor', secretHash: 'sha256$x', createdAtMs: 1, revision: 3 },
  apiKey: { id: 'abc', secretHash: 'sha256$x', createdAtMs: 1 },
  connected: {
    tenant: 'acme',
    userName: 'sensor@acme',
    protocolVersion: '3.1.1',
    address: '[::1]:5',
    connected: true,
    connectedAtMs: 2,
    keepAliveSeconds: 60,
    expirySeconds: 0,
    owner,
    epoch: 4,
  },
  asleep: {
    tenant: 'acme',
    userName: 'sensor@acme',
    protocolVersion: '5',
    address: '1.2.3.4:5',
    connected: false,
    connectedAtMs: 2,
    disconnectedAtMs: 10_500,
    keepAliveSeconds: 0,
    owner,
  },
  mortal: {
    expirySeconds: 0xffff_ffff,
    epoch: 1_800_000_004,
    born: 1_800_000_001,
    will: {
      topic: 'gone',
      payload: new Uint8Array([1, 2]),
      qos: 1,
      retain: false,
      properties: new Uint8Array([1, 1]),
      delaySeconds: 30,
      expirySeconds: 60,
    },
    willAtMs: 40_500,
    queuedMessages: 12,
    droppedMessages: 3,
  },
  lease: { leaseUntilMs: 6000, startedAtMs: 1 },
  taken: { takenBy: 'broker-2', givenUp: true },
};
const grants = [{ effect: 'allow', action: 'all', topic: 'a/${clientid}' }];
const tenantCodec = { from: tenantFromItem, to: tenantToItem };
const credentialCodec = { from: credentialFromItem, to: credentialToItem };
const sessionCodec = { from: sessionFromItem, to: sessionToItem };
/** Frozen: 64 slots, a digit for the heir of each. */
const sharesText = `b-1,b_2:${'AB'.repeat(32)}`;
const shares = Array.from({ length: 64 }, (_, slot) => (slot % 2 === 0 ? 'b-1' : 'b_2'));
const leaseCodec = { from: brokerLeaseFromItem, to: brokerLeaseToItem };
const credentialAt = { pk: 'acme', sk: 'cred#sensor', v: 1 };
const sessionAt = { pk: 'acme#15', sk: 'pump-7', v: 1 };
const leaseAt = { pk: 'brokers', sk: owner, v: 1 };

/** What releases have stored, attribute for attribute. Rows are added, never changed: each is decoded for ever. */
const willElsewhere = {
  will: { topic: 'gone', qos: 1, retain: false, delaySeconds: 30, expirySeconds: 60 },
  willItem: 'Will#006b49d2040692a0f1aabbccddeeff0011223344',
} as const;

const fixtures: Fixture[] = [
  {
    name: 'tenant',
    item: { pk: 'acme', sk: 'meta', v: 1, ...shared.tenant },
    record: { id: tenant, ...shared.tenant },
    ...tenantCodec,
  },
  {
    name: 'tenant with a creation id',
    item: { pk: 'acme', sk: 'meta', v: 1, ...shared.tenant, creationId: '00f1' },
    record: { id: tenant, ...shared.tenant, creationId: '00f1' },
    ...tenantCodec,
  },
  {
    name: 'credential with grants',
    item: { ...credentialAt, ...shared.credential, grants },
    record: { scope, ...shared.credential, grants },
    ...credentialCodec,
  },
  {
    name: 'credential without grants',
    item: { ...credentialAt, ...shared.credential },
    record: { scope, ...shared.credential },
    ...credentialCodec,
  },
  {
    name: 'credential with no grant at all, which is another thing',
    item: { ...credentialAt, ...shared.credential, grants: [] },
    record: { scope, ...shared.credential, grants: [] },
    ...credentialCodec,
  },
  {
    name: 'API key',
    item: { pk: 'acme', sk: 'key#abc', v: 1, ...shared.apiKey },
    record: shared.apiKey,
    from: apiKeyFromItem,
    // Since then an attribute of the tenant's row.
    to: ({ id, ...key }: ApiKey) => ({ pk: 'acme', sk: `key#${id}`, v: 1, id, ...apiKeyToAttribute({ id, ...key }) }),
  },
  {
    name: 'connected session',
    item: { ...sessionAt, ...shared.connected },
    record: { clientId, ...shared.connected, ...withoutInbox },
    ...sessionCodec,
    since: withoutInbox,
  },
  {
    name: 'session that sleeps, with the time when the database may forget it',
    item: { ...sessionAt, ...shared.asleep, expirySeconds: 100, epoch: 4, ttl: 86_511 },
    record: { clientId, ...shared.asleep, expirySeconds: 100, epoch: 4, ...withoutInbox },
    ...sessionCodec,
    since: { ...withoutInbox, ttl: 2_592_111 },
  },
  {
    name: 'session with a will, messages that wait and some that were dropped',
    item: { ...sessionAt, ...shared.asleep, ...shared.mortal },
    record: { clientId, ...shared.asleep, ...shared.mortal },
    ...sessionCodec,
  },
  {
    name: 'session of a client that says what it is',
    item: { ...sessionAt, ...shared.asleep, ...shared.mortal, sdk: 'NodeJSv2/1.21.0' },
    record: { clientId, ...shared.asleep, ...shared.mortal, sdk: 'NodeJSv2/1.21.0' },
    ...sessionCodec,
  },
  {
    name: 'session with a will, written by a broker that has inherited it',
    item: { ...sessionAt, ...shared.asleep, ...shared.mortal, willEpoch: 1_800_000_002 },
    record: { clientId, ...shared.asleep, ...shared.mortal, willEpoch: 1_800_000_002 },
    ...sessionCodec,
  },
  {
    name: 'session with a will whose content has an item of its own',
    item: { ...sessionAt, ...shared.asleep, ...shared.mortal, ...willElsewhere },
    record: { clientId, ...shared.asleep, ...shared.mortal, ...willElsewhere },
    ...sessionCodec,
  },
  {
    name: 'broker lease',
    item: { ...leaseAt, ...shared.lease },
    record: { brokerId: owner, ...shared.lease },
    ...leaseCodec,
  },
  {
    name: 'broker lease with links',
    item: { ...leaseAt, ...shared.lease, address: '10.0.0.1:7883', linksUp: 1, linksExpected: 2 },
    record: { brokerId: owner, ...shared.lease, address: '10.0.0.1:7883', links: { up: 1, expected: 2 } },
    ...leaseCodec,
  },
  {
    name: 'broker lease that was given up and taken',
    item: { ...leaseAt, ...shared.lease, ...shared.taken },
    record: { brokerId: owner, ...shared.lease, ...shared.taken },
    ...leaseCodec,
  },
  {
    name: 'broker lease with heirs',
    item: { ...leaseAt, ...shared.lease, ...shared.taken, isTogether: true, shares: sharesText },
    record: { brokerId: owner, ...shared.lease, ...shared.taken, isTogether: true, shares },
    ...leaseCodec,
  },
  {
    name: 'end of a lease with heirs',
    item: { pk: 'ended', sk: owner, v: 1, endedAtMs: 6000, ttl: 34_560_006, shares: sharesText },
    record: { brokerId: owner, endedAtMs: 6000, shares },
    from: leaseEndFromItem,
    to: leaseEndToItem,
  },
  {
    name: 'end of a lease',
    item: { pk: 'ended', sk: owner, v: 1, endedAtMs: 6000, ttl: 34_560_006 },
    record: { brokerId: owner, endedAtMs: 6000 },
    from: leaseEndFromItem,
    to: leaseEndToItem,
  },
  {
    name: 'serving lock',
    item: { pk: 'serving', sk: 'lock', v: 1, brokerId: owner },
    record: { brokerId: owner },
    from: servingLockFromItem,
    to: servingLockToItem,
  },
  {
    name: 'serving lock of brokers that serve together',
    item: { pk: 'serving', sk: 'lock', v: 1, brokerId: owner, isTogether: true },
    record: { brokerId: owner, isTogether: true },
    from: servingLockFromItem,
    to: servingLockToItem,
  },
];

describe('stored records', () => {
  it.each(fixtures)('$name is read and written as ever', ({ item, record, from, to, since }) => {
    expect(from(item)).toEqual(record);
    expect(to(record as never)).toEqual({ ...item, ...since });
    expect(from({ ...item, addedLater: 1 })).toEqual(record);
  });

  it.each(fixtures)('$name is refused when damaged', ({ item, record, from }) => {
    expect(() => from({ ...item, v: 2 })).toThrow(RecordUnreadable);
    for (const attribute of Object.keys(item)) {
      const damaged = { ...item, [attribute]: { not: 'this' } };
      const isRead = (): unknown => from(damaged);
      // What is not read may be anything; what is read has to be right.
      try {
        expect(isRead()).toEqual(attribute === 'quotaOverrides' ? { ...(record as Item), quotaOverrides: {} } : record);
        expect(['pk', 'sk', 'v', 'ttl', 'quotaOverrides']).toContain(attribute);
      } catch (error) {
        if (!(error instanceof RecordUnreadable)) throw error;
        expect(error.message).toContain(attribute === 'v' ? 'version' : attribute);
        expect(error.message).not.toContain('not:');
      }
    }
  });

  it('leases that releases before have stored end by themselves, and are read', () => {
    const item = { pk: 'brokers', sk: owner, v: 1, leaseUntilMs: 6000, startedAtMs: 1, ttl: 86_406 };
    expect(brokerLeaseFromItem(item)).toEqual({ brokerId: owner, leaseUntilMs: 6000, startedAtMs: 1 });
  });

  it('a grant that cannot be read makes the credential unreadable, for it might be a deny', () => {
    const item = { ...fixtures[2]!.item, grants: [{ effect: 'maybe', action: 'all', topic: 'a' }] };
    expect(() => credentialFromItem(item)).toThrow(RecordUnreadable);
  });

  it('a will without its content, and without a name of an item that has it, cannot be read', () => {
    const item = { ...sessionAt, ...shared.asleep, ...shared.mortal, will: willElsewhere.will };
    expect(() => sessionFromItem(item)).toThrow(RecordUnreadable);
  });

  it('sessions that never expire, or are connected, are never forgotten by the database', () => {
    const session = sessionFromItem(fixtures[7]!.item);
    expect(sessionToItem({ ...session, expirySeconds: 0xffff_ffff })['ttl']).toBeUndefined();
    expect(sessionToItem({ ...session, connected: true })['ttl']).toBeUndefined();
  });
});

it('an API key in the row of its tenant is read as it was written, and left out when damaged', () => {
  expect(apiKeyFromAttribute('abc', { secretHash: 'sha256$x', createdAtMs: 1 })).toEqual(shared.apiKey);
  for (const damaged of [undefined, 'x', { createdAtMs: 1 }, { secretHash: 'sha256$x', createdAtMs: '1' }])
    expect(apiKeyFromAttribute('abc', damaged)).toBeUndefined();
});

describe('scopes', () => {
  it('of two tenants never meet, whatever their names and creation ids; one without an id has its name', () => {
    const incarnations = [
      { id: tenant },
      { id: tenant, creationId: '00f1' },
      { id: tenant, creationId: '00f2' },
      { id: 'acme-00f1' as TenantId },
      { id: 'acme-' as TenantId, creationId: '00f1' },
    ];
    const scopes = incarnations.map(scopeOf);
    expect(scopes[0]).toBe('acme');
    expect(new Set(scopes).size).toBe(scopes.length);
    expect(scopes.map(tenantOf)).toEqual(incarnations.map(({ id }) => id));
    // Nor do partitions: a client chooses its id.
    const partitions = scopes.flatMap((one) => [
      clientPartition(one, 'x' as ClientId),
      clientPartition(one, '~00f1#x' as ClientId),
      sharedPartition(one, '$share/g/x'),
    ]);
    expect(new Set(partitions).size).toBe(partitions.length);
    expect(scopeOfPartition(sessionKey(scopes[1]!, 'a~b#c' as ClientId).pk)).toBe(scopes[1]);
  });

  it('are new at each sign-up', () => {
    const ids = Array.from({ length: 1000 }, generateCreationId);
    expect(new Set(ids).size).toBe(1000);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{16}$/);
  });
});

describe('keys', () => {
  it('spread the sessions of a tenant over 16 buckets, the same in every release', () => {
    const buckets = sessionBuckets(scope);
    expect(buckets).toHaveLength(16);
    const counts = new Map<string, number>();
    for (let i = 0; i < 1600; i++) {
      const { pk } = sessionKey(scope, `device-${i}` as ClientId);
      counts.set(pk, (counts.get(pk) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([...buckets]);
    for (const count of counts.values()) expect(count).toBeGreaterThan(50);
    expect(sessionKey(scope, '' as ClientId)).toEqual({ pk: 'acme#05', sk: '' });
    expect(sessionKey(scope, 'ünï' as ClientId).pk).toBe('acme#00');
  });

  it('of subscriptions are with the record of their session, those of a client together', () => {
    const [one, two] = ['device-1', 'device-2'] as ClientId[];
    for (const filter of ['a/#', '$share/g/ü', 'x'.repeat(1001), 'x'.repeat(1002), 'y'.repeat(1024)]) {
      const { pk, sk } = routeKey(scope, one!, filter);
      expect(pk).toBe(sessionKey(scope, one!).pk);
      expect([clientRoutes(scope, one!).prefix, clientRoutes(scope, two!).prefix].map((p) => sk.startsWith(p))).toEqual(
        [true, false],
      );
      expect(filterInRouteKey(sk)).toBe(Buffer.byteLength(filter) <= 1001 ? filter : undefined);
    }
    const long = ['x', 'y'].map((end) => routeKey(scope, one!, 'x'.repeat(1020) + end).sk);
    expect(long[0]).not.toBe(long[1]);
  });

  it('of the longest names fit', () => {
    const longest = scopeOf({ id: 't'.repeat(32) as TenantId, creationId: generateCreationId() });
    for (const { bytesMax, reason } of keyBounds) {
      expect(bytesMax).toBeLessThanOrEqual(1024);
      expect(reason).not.toBe('');
      const name = 'ä'.repeat(bytesMax / 2);
      const { pk, sk } = routeKey(longest, name as ClientId, name);
      expect([Buffer.byteLength(pk) <= 2048, Buffer.byteLength(sk) <= 1024]).toEqual([true, true]);
      expect(Buffer.byteLength(clientPartition(longest, 'c'.repeat(bytesMax) as ClientId))).toBeLessThanOrEqual(2048);
    }
  });
});

describe('the control log', () => {
  const ulid = '01JD5T8Z8G0000000000000000';
  it.each([
    { type: 'credential-changed', tenant, name: 'sensor', change: 'rotated' },
    { type: 'tenant-changed', tenant, change: 'quotas' },
    { type: 'session-kick', tenant, clientId },
    { type: 'session-kick', tenant, clientId, born: 1_732_000_001 },
    { type: 'session-kick', tenant, creationId: '00f1', clientId, born: 1_732_000_001 },
    { type: 'tenant-changed', tenant, creationId: '00f1', change: 'deleted' },
    { type: 'broker-drain', brokerId: 'broker-1' as BrokerId },
  ] as const)('carries $type', (entry) => {
    const item = controlToItem(entry, ulid, 1_000_500);
    expect(item).toEqual({ pk: 'control', sk: ulid, v: 1, ...entry, ttl: 1001 + 7 * 86_400 });
    expect(controlFromItem(item)).toEqual(entry);
  });

  it.each([
    ['a type', { v: 1, type: 'tenant-moved', tenant }],
    ['a change', { v: 1, type: 'tenant-changed', tenant, change: 'renamed' }],
    ['a version', { v: 2, type: 'session-kick', tenant, clientId }],
    ['a version', { v: 2, type: 'broker-drain', brokerId: 'broker-1' }],
  ])('skips %s of a later release', (_, item) => expect(controlFromItem(item)).toBeUndefined());

  it('says when an entry was written', () => {
    expect(controlTimeMs(controlCursorAt(1_732_000_000_123))).toBe(1_732_000_000_123);
  });

  it('has cursors by time that sort before the entries of that time', () => {
    expect(controlCursorAt(0)).toBe('0'.repeat(26));
    expect(controlCursorAt(1_469_918_176_385)).toBe('01ARYZ6S410000000000000000');
    expect(controlCursorAt(1000) < controlCursorAt(1001)).toBe(true);
  });
});
