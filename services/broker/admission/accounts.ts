/**
 * Tenants, credentials and verified passwords, remembered so that a reconnect storm does not become a storm on the
 * database. The control log says what has changed; `forget` then makes sure that nothing older is used:
 *
 *  - a record that was being read while it was forgotten is not kept (its generation is over);
 *  - a CONNECT that used an old record asks again before it is let in (see `arrival.ts`);
 *  - a password that does not match what is remembered may be newer than the memory: it is read again;
 *  - what the control log never told (a broker that could not read it) ends after `keptMs`.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Clock, TenantId } from '../../kernel/kernel.js';
import { type Credential, type Tenant, verifySecret } from '../../tenancy/tenancy.js';
import type { Accounts } from './ports.js';

const keptMs = 60_000;
const doubtMs = 100;
/** A credential takes about 1 KB: 20 MB in all. */
const recordsMax = 20_000;

interface Kept<T> {
  readonly value: Promise<T | undefined>;
  readonly readAtMs: number;
}

class RecordCache<T> {
  readonly #kept = new Map<string, Kept<T>>();
  readonly #clock: Clock;
  readonly #isPassing: (value: T) => boolean;

  /** `isPassing`: whether it will soon be something else, and is not remembered. */
  constructor(clock: Clock, isPassing: (value: T) => boolean) {
    this.#clock = clock;
    this.#isPassing = isPassing;
  }

  /** One read for all who ask at the same time. What does not exist and what failed is not remembered. */
  get(key: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    const known = this.#kept.get(key);
    const nowMs = this.#clock.monotonicMs();
    if (known && known.readAtMs + keptMs > nowMs) return known.value;
    const value = read();
    if (this.#kept.size >= recordsMax) this.#kept.delete(this.#kept.keys().next().value!);
    const kept = { value, readAtMs: nowMs };
    this.#kept.set(key, kept);
    const drop = (): void => {
      if (this.#kept.get(key) === kept) this.#kept.delete(key);
    };
    value.then((found) => {
      if (found === undefined || this.#isPassing(found)) drop();
    }, drop);
    return value;
  }

  forget(key: string): void {
    this.#kept.delete(key);
  }

  /** Forgets the record unless it has only just been read; true when it has. */
  forgetOlder(key: string, ageMs: number): boolean {
    const known = this.#kept.get(key);
    return known !== undefined && known.readAtMs + ageMs <= this.#clock.monotonicMs() && this.#kept.delete(key);
  }

  forgetAll(prefix: string): void {
    for (const key of this.#kept.keys()) if (key.startsWith(prefix)) this.#kept.delete(key);
  }
}

export class CachedAccounts implements Accounts {
  readonly #source: Accounts;
  readonly #tenants: RecordCache<Tenant>;
  readonly #credentials: RecordCache<Credential>;

  constructor(source: Accounts, clock: Clock) {
    this.#source = source;
    // One that is being deleted may be signed up anew a moment later, and nobody tells that.
    this.#tenants = new RecordCache(clock, ({ status }) => status === 'deleting');
    this.#credentials = new RecordCache(clock, () => false);
  }

  tenant(id: TenantId): Promise<Tenant | undefined> {
    return this.#tenants.get(id, () => this.#source.tenant(id));
  }

  credential(tenant: TenantId, name: string): Promise<Credential | undefined> {
    return this.#credentials.get(`${tenant}/${name}`, () => this.#source.credential(tenant, name));
  }

  /**
   * A password did not match what is remembered: it may be newer than that. Forgets the credential, and says so, at
   * most ten times a second, so that guessing is no storm on the database.
   */
  doubtCredential(tenant: TenantId, name: string): boolean {
    return this.#credentials.forgetOlder(`${tenant}/${name}`, doubtMs);
  }

  forgetTenant(id: TenantId): void {
    this.#tenants.forget(id);
  }

  /** The tenant has gone: its name may be taken by another one, whose credentials are its own. */
  forgetCredentialsOf(tenant: TenantId): void {
    this.#credentials.forgetAll(`${tenant}/`);
  }

  forgetCredential(tenant: TenantId, name: string): void {
    this.#credentials.forget(`${tenant}/${name}`);
  }
}

/**
 * Passwords that were found right, by a keyed hash that dies with the process: checking a chosen password costs
 * 27 ms of CPU, and a fleet that reconnects would pay it for every device.
 */
export class VerifiedPasswords {
  readonly #key = randomBytes(32);
  readonly #verified = new Set<string>();

  async verify(password: Buffer, credential: Credential | undefined): Promise<boolean> {
    const text = password.toString('utf8');
    if (credential === undefined) return verifySecret(text, undefined);
    const mark = createHmac('sha256', this.#key).update(`${credential.secretHash}\0`).update(password).digest('base64');
    if (this.#verified.has(mark)) return true;
    if (!(await verifySecret(text, credential.secretHash))) return false;
    if (this.#verified.size >= recordsMax) this.#verified.clear();
    this.#verified.add(mark);
    return true;
  }
}
