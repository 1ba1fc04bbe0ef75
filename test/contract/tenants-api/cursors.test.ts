/** A cursor is taken by the list and the tenant that it was given to, as it was given; whatever else comes answers 422. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dynamo, Item, TableKey } from '../../../services/dynamo/dynamo.js';
import type { BrokerId, ClientId, TenantId, TenantScope } from '../../../services/kernel/kernel.js';
import { neverExpiresSeconds, sessionBuckets, sessionKey, sessionToItem } from '../../../services/tenancy/tenancy.js';
import { encodeCursor } from '../../../tenants-api/store/paging.js';
import { findTenant } from '../../../tenants-api/store/tenants.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { random } from '../../support/seeds.js';
import { openApi, type TestApi } from './api.js';

const lists = ['keys', 'credentials', 'sessions'] as const;
type ListName = (typeof lists)[number];

interface Owner {
  readonly id: string;
  readonly key: string;
  readonly scope: TenantScope;
  readonly cursors: Readonly<Record<ListName, string>>;
}

let dynalite: Dynalite;
let dynamo: Dynamo;
let api: TestApi;
let acme: Owner;
let other: Owner;

beforeAll(async () => {
  dynalite = await startDynalite();
  dynamo = await dynalite.open();
  api = openApi(dynamo);
  [acme, other] = [await ownerOfThree(), await ownerOfThree()];
});
afterAll(() => dynalite.stop());

/** Three entries in each list, and the cursor behind the second. */
async function ownerOfThree(): Promise<Owner> {
  const { id, key } = await api.signUp();
  const { scope } = (await findTenant(dynamo, id as TenantId))!;
  const path = `/v1/tenants/${id}`;
  for (const name of ['a', 'b', 'c']) {
    await api.call('POST', `${path}/credentials`, { key, json: { name } });
    await dynamo.put('sessions', sessionItem(scope, `client-${name}`));
  }
  for (let i = 0; i < 2; i++) await api.call('POST', `${path}/keys`, { key });
  const cursors = {} as Record<ListName, string>;
  for (const list of lists) {
    const { status, body } = await api.call('GET', `${path}/${list}?limit=2`, { key });
    expect([status, body.items.length]).toEqual([200, 2]);
    cursors[list] = body.cursor as string;
  }
  return { id, key, scope, cursors };
}

const sessionItem = (tenant: TenantScope, clientId: string): Item & TableKey =>
  sessionToItem({
    tenant,
    clientId: clientId as ClientId,
    userName: 'sensor@acme',
    protocolVersion: '5',
    address: '192.0.2.9:5000',
    connected: false,
    connectedAtMs: 1,
    disconnectedAtMs: 2,
    keepAliveSeconds: 30,
    expirySeconds: neverExpiresSeconds,
    owner: 'nobody' as BrokerId,
    epoch: 1,
    born: 1,
    queuedMessages: 0,
    droppedMessages: 0,
  });

const ask = async (list: ListName, cursor: string): Promise<[number, unknown]> => {
  const { status, body } = await api.call(
    'GET',
    `/v1/tenants/${acme.id}/${list}?limit=2&cursor=${encodeURIComponent(cursor)}`,
    { key: acme.key },
  );
  return [status, body.code ?? body.items.length];
};

const refused = [422, 'invalid-cursor'];

describe.each(lists)('the cursor of the list of %s', (list) => {
  it('leads to the rest', async () => {
    expect(await ask(list, acme.cursors[list])).toEqual([200, 1]);
  });

  it('is of no use to another list or another tenant', async () => {
    expect(await ask(list, other.cursors[list])).toEqual(refused);
    for (const another of lists.filter((name) => name !== list))
      expect(await ask(another, acme.cursors[list]), another).toEqual(refused);
  });

  /** Whatever JSON and Unicode have: NUL, lone surrogates, long ones. */
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: fc.constantFrom('\0', '\ud800', '\udfff', 'a', '#', '\u{1f988}'), minLength: 1, maxLength: 8 }),
    fc.nat(1100).map((length) => 'x'.repeat(length)),
    fc.constantFrom('x'.repeat(1024), 'a', 'client-a', '__proto__'),
  );
  const bucket = fc.oneof(fc.integer({ min: -2, max: 20 }), fc.double(), fc.constantFrom(2 ** 53, -0, 0.5, 1e300));
  const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value) ?? '').toString('base64url');

  it('cannot be made up', async () => {
    const madeUp = fc.oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
      fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 1024 }),
      fc.jsonValue().map(encoded),
      fc.tuple(fc.constantFrom(...lists), bucket, text).map(encoded),
      fc.tuple(bucket, text, text).map(encoded),
    );
    // An address has no lone surrogates: they are put into it as what stands for them.
    const sent = madeUp
      .map((cursor) => cursor.replaceAll(/\p{Surrogate}/gu, '\ufffd'))
      .filter((cursor) => cursor !== '');
    await fc.assert(
      fc.asyncProperty(sent, async (cursor) => {
        expect(await ask(list, cursor)).toEqual(refused);
      }),
      random(150),
    );
  });

  it('cannot be changed, not even to another spelling', async () => {
    const given = acme.cursors[list];
    const changed = fc.oneof(
      fc
        .tuple(fc.nat(given.length - 1), fc.constantFrom(...'AZaz09-_=+/. '))
        .map(([at, letter]) => given.slice(0, at) + letter + given.slice(at + 1)),
      fc.nat(given.length - 1).map((length) => given.slice(0, length)),
      fc.constantFrom('=', '==', 'A', ' ', '\n', '\0').map((more) => given + more),
    );
    await fc.assert(
      fc.asyncProperty(
        changed.filter((cursor) => cursor !== given && cursor !== ''),
        async (cursor) => {
          expect(await ask(list, cursor)).toEqual(refused);
        },
      ),
      random(150),
    );
  });

  it('leads nowhere with a seal that is right and a place that no entry can have', async () => {
    await fc.assert(
      fc.asyncProperty(bucket, text, async (at, after) => {
        const [status, code] = await ask(list, encodeCursor({ name: list, scope: acme.scope }, [at, after]));
        if (!canStand(list, at, after)) expect([status, code]).toEqual(refused);
        else expect(status).toBe(200);
      }),
      random(150),
    );
  });
});

function canStand(list: ListName, bucket: number, after: string): boolean {
  if (list === 'keys') return Object.is(bucket, 0) && /^[a-z0-9]{10}$/.test(after);
  if (list === 'credentials') return bucket === 0 && /^[\w.:@-]{1,64}$/.test(after) && !/^\.\.?$/.test(after);
  if (after === '' || after.includes('\0') || /\p{Surrogate}/u.test(after) || Buffer.byteLength(after) > 1024)
    return false;
  return sessionBuckets(acme.scope)[bucket] === sessionKey(acme.scope, after as ClientId).pk;
}
