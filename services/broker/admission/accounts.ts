/**
 * Tenants and credentials, remembered so that a reconnect storm does not become a storm on the
 * database. The control log says what has changed; `forget` then makes sure that nothing older is used:
 *
 *  - a record that was being read while it was forgotten is not kept (its generation is over);
 *  - a CONNECT that used an old record asks again before it is let in (see `arrival.ts`);
 *  - a password that does not match what is remembered may be newer than the memory: it is read again;
 *  - what does not exist is looked for once a second, for nobody tells when it is made; what is looked for takes no room from
 *    what is there;
 *  - while the control log is heard, what is remembered counts for `toldKeptMs`: a device that wakes every few minutes costs no
 *    read. While it is not (a broker that cannot read it), a credential counts for `credentialsKeptMs`;
 *  - a name that has been taken by somebody else: credentials are found by the scope of their tenant, and who has the name
 *    is believed for less long than a deleted tenant keeps it back, counted from the last time that the control log was heard.
 */
import type { Clock, TenantId, TenantScope } from '../../kernel/kernel.js';
import { type Credential, type Tenant, tenantOf } from '../../tenancy/tenancy.js';
import type { Accounts } from './ports.js';

/** Whatever was told: an API that died before it told has answered nobody that it is done. */
const toldKeptMs = 900_000;
const credentialsKeptMs = 60_000;
/** Less than the 2.5 s for which the API keeps the name of a deleted tenant back. One read a tenant in that time at most. */
const tenantsKeptMs = 2000;
const doubtMs = 100;
/** Who has tried a name too early gets in so much later. */
const missingKeptMs = 1000;
/** 2 MB at each of the two. */
const missingMax = 1 << 13;
/** 64 MB in all: 55 000 credentials without grants, 500 with a hundred long ones. What is over it is read again. */
const recordBytesMax = 32 << 20;
/** A record with its promises and its place in the cache: measured, see `test/memory`. */
const recordBytes = 600;
const grantBytes = 100;

interface Kept<T> {
  readonly value: Promise<T | undefined>;
  readonly readAtMs: number;
  /** What `value` has come to, as soon as that is known. */
  found: T | undefined;
  bytes: number;
}

interface RecordCacheOptions<T> {
  readonly clock: Clock;
  /** While nobody tells of changes. */
  readonly keptMs: number;
  readonly isTold: () => boolean;
  /** Whether it will soon be something else, and is not remembered. */
  isPassing(value: T): boolean;
  bytesOf(value: T): number;
}

class RecordCache<T> {
  /** The one that was read first comes first. */
  readonly #kept = new Map<string, Kept<T>>();
  /** What did not exist, and when it was read; in that order. */
  readonly #missing = new Map<string, number>();
  readonly #options: RecordCacheOptions<T>;
  bytes = 0;

  constructor(options: RecordCacheOptions<T>) {
    this.#options = options;
  }

  /** Whether it is remembered, or remembered that it does not exist: `get` reads nothing then. */
  has(key: string): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#kept.get(key);
    const { keptMs, isTold } = this.#options;
    const ageMs = known ? nowMs - known.readAtMs : Infinity;
    if (ageMs < keptMs || (ageMs < toldKeptMs && isTold())) return true;
    const missingAtMs = this.#missing.get(key);
    return missingAtMs !== undefined && missingAtMs + missingKeptMs > nowMs;
  }

  /** What is remembered and there: `get` would come to the same, and has to be waited for. */
  known(key: string): T | undefined {
    return this.has(key) ? this.#kept.get(key)?.found : undefined;
  }

  /** One read for all who ask at the same time. What failed is not remembered. */
  get(key: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    if (this.has(key)) return this.#kept.get(key)?.value ?? nothing;
    const nowMs = this.#options.clock.monotonicMs();
    this.forget(key);
    const value = read();
    const kept: Kept<T> = { value, readAtMs: nowMs, found: undefined, bytes: 0 };
    this.#kept.set(key, kept);
    this.#weigh(kept, recordBytes);
    value.then(
      (found) => {
        if (this.#kept.get(key) !== kept) return;
        kept.found = found;
        if (found !== undefined && !this.#options.isPassing(found))
          return this.#weigh(kept, this.#options.bytesOf(found));
        this.forget(key);
        if (found === undefined) this.#miss(key, nowMs);
      },
      () => {
        if (this.#kept.get(key) === kept) this.forget(key);
      },
    );
    return value;
  }

  #miss(key: string, readAtMs: number): void {
    this.#missing.set(key, readAtMs);
    if (this.#missing.size > missingMax) this.#missing.delete(this.#missing.keys().next().value!);
  }

  /** Lets the oldest go when there is no room for it. */
  #weigh(kept: Kept<T>, bytes: number): void {
    this.bytes += bytes - kept.bytes;
    kept.bytes = bytes;
    for (const key of this.#kept.keys()) {
      if (this.bytes <= recordBytesMax) return;
      this.forget(key);
    }
  }

  forget(key: string): void {
    this.#missing.delete(key);
    const kept = this.#kept.get(key);
    if (!kept) return;
    this.bytes -= kept.bytes;
    this.#kept.delete(key);
  }

  /** Lets go what would be read again anyway. */
  sweep(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [key, readAtMs] of this.#missing) {
      if (readAtMs + missingKeptMs > nowMs) break;
      this.#missing.delete(key);
    }
    for (const [key, { readAtMs }] of this.#kept) {
      if (readAtMs + toldKeptMs > nowMs) return;
      this.forget(key);
    }
  }

  /** Forgets the record unless it has only just been read; true when it has. */
  forgetOlder(key: string, ageMs: number): boolean {
    const known = this.#kept.get(key);
    if (known === undefined || known.readAtMs + ageMs > this.#options.clock.monotonicMs()) return false;
    this.forget(key);
    return true;
  }

  /** Those whose keys begin so. */
  forgetAll(prefix: string): void {
    for (const key of this.#kept.keys()) if (key.startsWith(prefix)) this.forget(key);
    for (const key of this.#missing.keys()) if (key.startsWith(prefix)) this.#missing.delete(key);
  }
}

const nothing = Promise.resolve(undefined);

export class CachedAccounts implements Accounts {
  readonly #source: Accounts;
  readonly #tenants: RecordCache<Tenant>;
  readonly #credentials: RecordCache<Credential>;

  /** `isTold`: whether everything that was changed up to two seconds ago has been told to `forget`. */
  constructor(source: Accounts, clock: Clock, isTold: () => boolean = () => false) {
    this.#source = source;
    // One that is being deleted may be signed up anew a moment later, and nobody tells that.
    this.#tenants = new RecordCache({
      clock,
      keptMs: tenantsKeptMs,
      isTold,
      isPassing: ({ status }) => status === 'deleting',
      bytesOf: () => recordBytes,
    });
    this.#credentials = new RecordCache({
      clock,
      keptMs: credentialsKeptMs,
      isTold,
      isPassing: () => false,
      bytesOf: credentialBytes,
    });
  }

  tenant(id: TenantId): Promise<Tenant | undefined> {
    return this.#tenants.get(id, () => this.#source.tenant(id));
  }

  credential(scope: TenantScope, name: string): Promise<Credential | undefined> {
    return this.#credentials.get(`${scope}/${name}`, () => this.#source.credential(scope, name));
  }

  /** The same, as far as nothing has to be waited for. */
  knownTenant(id: TenantId): Tenant | undefined {
    return this.#tenants.known(id);
  }

  knownCredential(scope: TenantScope, name: string): Credential | undefined {
    return this.#credentials.known(`${scope}/${name}`);
  }

  /** Whether to ask for it reads nothing. */
  knowsTenant(id: TenantId): boolean {
    return this.#tenants.has(id);
  }

  knowsCredential(scope: TenantScope, name: string): boolean {
    return this.#credentials.has(`${scope}/${name}`);
  }

  /**
   * A password did not match what is remembered: credential or tenant may be newer than that. Forgets both, and says
   * so, at most ten times a second, so that guessing is no storm on the database.
   */
  doubt(scope: TenantScope, name: string): boolean {
    const isOlder = this.#tenants.forgetOlder(tenantOf(scope), doubtMs);
    return this.#credentials.forgetOlder(`${scope}/${name}`, doubtMs) || isOlder;
  }

  /** What is remembered, in bytes. */
  get bytes(): number {
    return this.#tenants.bytes + this.#credentials.bytes;
  }

  /** Lets go what is too old to be used. */
  sweep(): void {
    this.#tenants.sweep();
    this.#credentials.sweep();
  }

  forgetEverything(): void {
    this.#tenants.forgetAll('');
    this.#credentials.forgetAll('');
  }

  forgetTenant(id: TenantId): void {
    this.#tenants.forget(id);
  }

  /** The tenant is suspended or has gone. */
  forgetCredentialsOf(scope: TenantScope): void {
    this.#credentials.forgetAll(`${scope}/`);
  }

  forgetCredential(scope: TenantScope, name: string): void {
    this.#credentials.forget(`${scope}/${name}`);
  }
}

/** A character takes one byte, or two in a text that is not Latin. */
function credentialBytes({ grants = [] }: Credential): number {
  return grants.reduce(
    (sum, { topic }) => sum + grantBytes + Math.max(topic.length, Buffer.byteLength(topic)),
    recordBytes,
  );
}
