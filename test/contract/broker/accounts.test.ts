/** What every source of tenants and credentials does: in memory, as tests of other rooms use it, and in DynamoDB. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Accounts } from '../../../services/broker/admission/admission.js';
import { DynamoAccounts } from '../../../services/broker/store/store.js';
import type { TenantId, TenantScope } from '../../../services/kernel/kernel.js';
import {
  type ApiKey,
  type Credential,
  type Grant,
  scopeOf,
  type SecretHash,
  type Tenant,
  tenantOf as nameOf,
} from '../../../services/tenancy/tenancy.js';
import { createCredential, removeCredential, setGrants, setSecret } from '../../../tenants-api/store/credentials.js';
import {
  type Actor,
  createTenant,
  findTenant,
  markDeleting,
  removeTenant,
  setQuotas,
  type StoredTenant,
} from '../../../tenants-api/store/tenants.js';
import { MemoryAccounts } from '../../support/memory/accounts.js';
import { dynamoServers, startFaulty } from './servers.js';

/** The same accounts, from the side of whoever changes them. */
interface Owner {
  addTenant(tenant: Tenant): Promise<unknown>;
  setConnections(id: TenantId, connections: number): Promise<unknown>;
  deleting(id: TenantId): Promise<unknown>;
  removeTenant(id: TenantId): Promise<unknown>;
  addCredential(credential: Credential): Promise<unknown>;
  setSecret(scope: TenantScope, name: string, secretHash: SecretHash): Promise<unknown>;
  setGrants(scope: TenantScope, name: string, grants: readonly Grant[] | undefined): Promise<unknown>;
  removeCredential(scope: TenantScope, name: string): Promise<unknown>;
}

interface Subject {
  readonly name: string;
  start(): Promise<{
    readonly accounts: Accounts;
    readonly owner: Owner;
    away(isAway: boolean): Promise<void>;
    stop(): Promise<void>;
  }>;
}

const inMemory: Subject = {
  name: 'memory',
  start: async () => {
    const accounts = new MemoryAccounts();
    const changeTenant = async (id: TenantId, change: Partial<Tenant>): Promise<unknown> =>
      accounts.tenants.set(id, { ...(await accounts.tenant(id))!, ...change });
    const changeCredential = async (scope: TenantScope, name: string, change: (old: Credential) => Credential) => {
      const old = (await accounts.credential(scope, name))!;
      accounts.put({ ...change(old), revision: old.revision + 1 });
    };
    const owner: Owner = {
      addTenant: (tenant) => Promise.resolve(accounts.tenants.set(tenant.id, tenant)),
      setConnections: (id, connections) => changeTenant(id, { quotaOverrides: { connections } }),
      deleting: (id) => changeTenant(id, { status: 'deleting' }),
      removeTenant: (id) => Promise.resolve(accounts.tenants.delete(id)),
      addCredential: (credential) => Promise.resolve(accounts.put(credential)),
      setSecret: (scope, name, secretHash) => changeCredential(scope, name, (old) => ({ ...old, secretHash })),
      setGrants: (scope, name, grants) =>
        changeCredential(scope, name, ({ grants: _, ...old }) => ({ ...old, ...(grants && { grants }) })),
      removeCredential: (scope, name) => Promise.resolve(accounts.credentials.get(scope)?.delete(name)),
    };
    const away = (isAway: boolean) => {
      accounts.fault = () => (isAway ? new Error('out of reach') : undefined);
      return Promise.resolve();
    };
    return await Promise.resolve({ accounts, owner, away, stop: () => Promise.resolve() });
  },
};

/** As the tenant API writes them. */
const overDynamo: Subject[] = dynamoServers.map((server) => ({
  name: server.name,
  start: async () => {
    const { proxy, dynamo, stop } = await startFaulty(server);
    const key: ApiKey = { id: 'k', secretHash: hash('key'), createdAtMs: 1 };
    const stored = async (id: TenantId): Promise<StoredTenant> => (await findTenant(dynamo, id))!;
    const actor = async ({ scope }: Credential): Promise<Actor> => ({ tenant: await stored(nameOf(scope)) });
    return {
      accounts: new DynamoAccounts(dynamo),
      owner: {
        addTenant: (tenant) => createTenant(dynamo, tenant, key),
        setConnections: async (id, connections) => setQuotas(dynamo, { tenant: await stored(id) }, { connections }),
        deleting: async (id) => markDeleting(dynamo, await stored(id)),
        removeTenant: async (id) => removeTenant(dynamo, await stored(id)),
        addCredential: async (credential) => createCredential(dynamo, await actor(credential), credential, null),
        setSecret: (...change) => setSecret(dynamo, ...change),
        setGrants: (...change) => setGrants(dynamo, ...change),
        removeCredential: (...which) => removeCredential(dynamo, ...which),
      },
      away: (isAway) => (isAway ? proxy.beginOutage('reset') : proxy.endOutage()),
      stop,
    };
  },
}));

const [acme, other] = ['acme' as TenantId, 'other' as TenantId];
const [scope, otherScope] = [scopeOf({ id: other, creationId: '00f1' }), scopeOf({ id: other, creationId: '00f2' })];
const hash = (text: string): SecretHash => `sha256$${text}` as SecretHash;
const tenantOf = (id: TenantId): Tenant => ({
  id,
  plan: 'free',
  status: 'active',
  quotaOverrides: {},
  createdAtMs: 1,
  creationId: '00f1',
});
const pump: Credential = { scope, name: 'pump/ä 1', secretHash: hash('1'), createdAtMs: 1, revision: 1 };

function accountsContract({ name, start }: Subject): void {
  describe(`accounts in ${name}`, () => {
    let subject: Awaited<ReturnType<Subject['start']>>;
    beforeAll(async () => {
      subject = await start();
    }, 90_000);
    afterAll(async () => await subject?.stop());

    it('are undefined as long as nobody has made them', async () => {
      const { accounts } = subject;
      expect(await accounts.tenant('nobody' as TenantId)).toBeUndefined();
      expect(await accounts.credential('nobody' as TenantScope, 'pump')).toBeUndefined();
    });

    it('show a tenant as it was changed last, and no other', async () => {
      const { accounts, owner } = subject;
      for (const id of [acme, other]) await owner.addTenant(tenantOf(id));
      expect(await accounts.tenant(acme)).toEqual(tenantOf(acme));
      await owner.setConnections(acme, 7);
      expect(await accounts.tenant(acme)).toEqual({ ...tenantOf(acme), quotaOverrides: { connections: 7 } });
      await owner.deleting(acme);
      expect((await accounts.tenant(acme))?.status).toBe('deleting');
      await owner.removeTenant(acme);
      expect(await accounts.tenant(acme)).toBeUndefined();
      expect(await accounts.tenant(other)).toEqual(tenantOf(other));
    });

    it('show a credential as it was changed last, and none of another tenant or name, nor of one that had the name before', async () => {
      const { accounts, owner } = subject;
      await owner.addTenant(tenantOf(other));
      const read = () => accounts.credential(scope, pump.name);
      await owner.addCredential(pump);
      expect(await read()).toEqual(pump);
      expect(await accounts.credential(otherScope, pump.name)).toBeUndefined();
      expect(await accounts.credential(scope, 'pump')).toBeUndefined();
      await owner.setSecret(scope, pump.name, hash('2'));
      expect(await read()).toEqual({ ...pump, secretHash: hash('2'), revision: 2 });
      const grants: Grant[] = [{ effect: 'deny', action: 'publish', topic: 'a/${clientid}/#' }];
      await owner.setGrants(scope, pump.name, grants);
      expect(await read()).toMatchObject({ grants, revision: 3 });
      await owner.setGrants(scope, pump.name, []);
      expect(await read()).toMatchObject({ grants: [] }); // Nothing, which is not the same as no grants:
      await owner.setGrants(scope, pump.name, undefined);
      expect(await read()).not.toHaveProperty('grants'); // everything.
      await owner.removeCredential(scope, pump.name);
      expect(await read()).toBeUndefined();
    });

    it('fail while they are out of reach, and are not taken for missing', async () => {
      const { accounts, owner, away } = subject;
      await owner.addTenant(tenantOf(other));
      await owner.addCredential(pump);
      await away(true);
      await expect(accounts.tenant(other)).rejects.toThrow();
      await expect(accounts.credential(scope, pump.name)).rejects.toThrow();
      await away(false);
      expect(await accounts.credential(scope, pump.name)).toEqual(pump);
    });
  });
}

for (const subject of [inMemory, ...overDynamo]) accountsContract(subject);
