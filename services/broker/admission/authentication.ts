/** Who is it: user name and password of a CONNECT, against records that are remembered (see `accounts.ts`). */
import type { Clock } from '../../kernel/kernel.js';
import { type Credential, scopeOf, splitUserName, type Tenant as TenantRecord } from '../../tenancy/tenancy.js';
import { type ConnectPacket, PeerFault, reasons } from '../wire/wire.js';
import { type CachedAccounts, VerifiedPasswords } from './accounts.js';

export interface Identity {
  readonly record: TenantRecord;
  readonly credential: Credential;
}

export class Authentication {
  readonly #accounts: CachedAccounts;
  readonly #passwords: VerifiedPasswords;

  constructor(accounts: CachedAccounts, clock: Clock) {
    this.#accounts = accounts;
    this.#passwords = new VerifiedPasswords(clock);
  }

  /** Lets go what is too old to be used. */
  sweep(): void {
    this.#accounts.sweep();
    this.#passwords.sweep();
  }

  /** Tells nobody whether it was the name or the password. */
  async authenticate(packet: ConnectPacket): Promise<Identity> {
    // [MQTT-4.12.0-1] No method is offered yet.
    if (packet.properties.authenticationMethod !== undefined)
      throw new PeerFault(reasons.badAuthenticationMethod, reasons.badAuthenticationMethod.words);
    if (packet.userName === undefined) throw missing('user name');
    const who = splitUserName(packet.userName);
    if (who === undefined) throw wrong();
    if (packet.password === undefined) throw missing('password');
    const record = await this.#accounts.tenant(who.tenant);
    // Of a tenant that does not exist a credential is looked up, too: it takes as long.
    const scope = scopeOf(record ?? { id: who.tenant });
    const credential = await this.#accounts.credential(scope, who.name);
    if (!(await this.#passwords.verify(packet.password, credential))) {
      // Rotated or made anew a moment ago, perhaps, and the control log has not told yet.
      if (this.#accounts.doubt(scope, who.name)) return this.authenticate(packet);
      throw wrong();
    }
    if (record === undefined || credential === undefined || record.status === 'deleting') throw wrong();
    if (record.status === 'suspended') throw new PeerFault(reasons.notAuthorized, 'the tenant is suspended');
    return { record, credential };
  }

  /** Asked again at the last moment: has the credential, or the tenant, changed since? */
  async isStillValid({ id }: TenantRecord, used: Credential): Promise<boolean> {
    const [record, credential] = await Promise.all([
      this.#accounts.tenant(id),
      this.#accounts.credential(used.scope, used.name),
    ]);
    return (
      record?.status === 'active' &&
      scopeOf(record) === used.scope &&
      credential?.secretHash === used.secretHash &&
      credential.revision === used.revision
    );
  }
}

/** It needs nothing that is stored to know this. */
const missing = (what: string): PeerFault =>
  new PeerFault(reasons.badUserNameOrPassword, `no ${what}: sign in as name@tenant with its password`);
const wrong = (): PeerFault => new PeerFault(reasons.badUserNameOrPassword, reasons.badUserNameOrPassword.words);
