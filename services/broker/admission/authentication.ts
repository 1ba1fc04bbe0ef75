/** Who is it: user name and password of a CONNECT, against records that are remembered (see `accounts.ts`). */
import { addressGroup, type Clock, type Metrics, type TenantId } from '../../kernel/kernel.js';
import {
  type Credential,
  isGeneratedSecret,
  isStretched,
  scopeOf,
  type SecretHash,
  splitUserName,
  type Tenant as TenantRecord,
  verifySecret,
} from '../../tenancy/tenancy.js';
import { type ConnectPacket, PeerFault, reasons } from '../wire/wire.js';
import { type Connection, TurnedAway } from '../tenant/tenant.js';
import type { CachedAccounts } from './accounts.js';
import { type Guess, Guesses } from './guesses.js';
import { type Asker, PasswordQueue } from './password-queue.js';
import { passwordsBusy } from './refusals.js';
import { RememberedPasswords } from './remembered-passwords.js';

export interface Identity {
  readonly record: TenantRecord;
  readonly credential: Credential;
}

/** Who connects, before it is known who that is. */
export type Stranger = Pick<Connection, 'remoteAddress' | 'closed'>;

/** For the limits of one address; see `addressGroup`. */
export const groupOf = ({ remoteAddress }: Stranger): string =>
  addressGroup(remoteAddress.slice(0, remoteAddress.lastIndexOf(':')));

export class Authentication {
  readonly #accounts: CachedAccounts;
  readonly #remembered: RememberedPasswords;
  readonly #queue = new PasswordQueue();
  readonly #guesses: Guesses;

  constructor(accounts: CachedAccounts, clock: Clock, metrics: Metrics) {
    this.#accounts = accounts;
    this.#remembered = new RememberedPasswords(clock);
    this.#guesses = new Guesses(clock);
    metrics.gauge('shoal_passwords_waiting', 'Chosen passwords that wait to be checked', () => this.#queue.waiting);
  }

  /** Lets go what is too old to be used. */
  sweep(): void {
    this.#accounts.sweep();
    this.#remembered.sweep();
  }

  /** At once where both records are remembered and the password is a generated one, and right: most of those who come back. */
  recognize({ properties, userName, password }: ConnectPacket): Identity | undefined {
    if (properties.authenticationMethod !== undefined || userName === undefined || password === undefined)
      return undefined;
    const who = splitUserName(userName);
    const record = who && this.#accounts.knownTenant(who.tenant);
    if (record?.status !== 'active') return undefined;
    const credential = this.#accounts.knownCredential(scopeOf(record), who!.name);
    if (credential === undefined || isStretched(credential.secretHash)) return undefined;
    return isGeneratedSecret(password.toString('utf8'), credential.secretHash) ? { record, credential } : undefined;
  }

  /** Tells nobody whether it was the name or the password. */
  async authenticate(packet: ConnectPacket, connection: Stranger): Promise<Identity> {
    // [MQTT-4.12.0-1] No method is offered yet.
    if (packet.properties.authenticationMethod !== undefined)
      throw new PeerFault(reasons.badAuthenticationMethod, reasons.badAuthenticationMethod.words);
    if (packet.userName === undefined) throw missing('user name');
    const who = splitUserName(packet.userName);
    if (who === undefined) throw wrong();
    const { password } = packet;
    if (password === undefined) throw missing('password');
    const asker = { tenant: who.tenant, addressGroup: groupOf(connection), connection };
    for (let isFirst = true; ; isFirst = false) {
      const { record, credential, scope } = await this.#lookUp(who, asker);
      const guess = { addressGroup: asker.addressGroup, name: `${scope}/${who.name}` };
      if (!(await this.#isRight(password, credential?.secretHash, asker, guess, isFirst))) {
        // Rotated or made anew a moment ago, perhaps, and the control log has not told yet.
        if (this.#accounts.doubt(scope, who.name)) continue;
        throw wrong();
      }
      if (record === undefined || credential === undefined || record.status === 'deleting') throw wrong();
      if (record.status === 'suspended') throw new PeerFault(reasons.notAuthorized, 'the tenant is suspended');
      return { record, credential };
    }
  }

  /** Whether there is a tenant of that name is no secret: sign-up tells. Whether it has a credential of that name is one. */
  async #lookUp(who: { readonly tenant: TenantId; readonly name: string }, asker: Asker) {
    const accounts = this.#accounts;
    const isNewTenant = this.#mayRead(accounts.knowsTenant(who.tenant), asker);
    const record = await accounts.tenant(who.tenant);
    const scope = scopeOf(record ?? { id: who.tenant });
    if (record === undefined) {
      if (isNewTenant) this.#guesses.missed(asker);
      return { record, credential: undefined, scope };
    }
    const isNewName = this.#mayRead(accounts.knowsCredential(scope, who.name), asker);
    const credential = await accounts.credential(scope, who.name);
    if (credential === undefined && isNewName) this.#guesses.missed(asker);
    return { record, credential, scope };
  }

  /** Whether it has to be read. Throws when too much was that did not exist. */
  #mayRead(isKnown: boolean, asker: Asker): boolean {
    if (!isKnown && !this.#guesses.mayLookUp(asker))
      throw new PeerFault(reasons.tooManyWrongPasswords, reasons.tooManyWrongPasswords.words);
    return !isKnown;
  }

  /** `counts`: a wrong one is a guess. What is cheap to find out is found out first, so that it holds nobody up. */
  async #isRight(
    password: Buffer,
    hash: SecretHash | undefined,
    asker: Asker,
    guess: Guess,
    counts: boolean,
  ): Promise<boolean> {
    if (hash === undefined || !isStretched(hash)) {
      const isRight = await verifySecret(password.toString('utf8'), hash);
      if (!isRight && counts) this.#count(guess);
      return isRight;
    }
    const mark = this.#remembered.markOf(password, hash);
    const known = this.#remembered.recall(mark);
    if (known === true) return true;
    // Who waits for the answer to the same question costs nothing.
    const isAsked = this.#queue.has(mark);
    // Whose password is not even looked at has not guessed.
    if (known === undefined && !isAsked && !this.#queue.hasRoomFor(asker)) throw passwordsBusy();
    const isCounted = counts && (known === false || !isAsked);
    if (isCounted) this.#count(guess);
    if (known === false) return false;
    const isRight = await this.#queue.ask(mark, password, hash, asker);
    if (isRight === 'full') throw passwordsBusy();
    if (isRight === 'left') throw new TurnedAway('gone');
    this.#remembered.remember(mark, isRight);
    if (isRight && isCounted) this.#guesses.wasNone(guess);
    return isRight;
  }

  #count(guess: Guess): void {
    if (this.#guesses.count(guess)) return;
    throw new PeerFault(reasons.tooManyWrongPasswords, reasons.tooManyWrongPasswords.words);
  }

  /** Asked again at the last moment: has the credential, or the tenant, changed since? */
  isStillValid({ id }: TenantRecord, used: Credential): boolean | Promise<boolean> {
    const record = this.#accounts.knownTenant(id);
    const credential = record && this.#accounts.knownCredential(used.scope, used.name);
    return credential ? isSame(record, credential, used) : this.#isStillValid(id, used);
  }

  async #isStillValid(id: TenantId, used: Credential): Promise<boolean> {
    const { scope, name } = used;
    return isSame(...(await Promise.all([this.#accounts.tenant(id), this.#accounts.credential(scope, name)])), used);
  }
}

const isSame = (record: TenantRecord | undefined, credential: Credential | undefined, used: Credential): boolean =>
  record?.status === 'active' &&
  scopeOf(record) === used.scope &&
  credential?.secretHash === used.secretHash &&
  credential.revision === used.revision;

/** It needs nothing that is stored to know this. */
const missing = (what: string): PeerFault =>
  new PeerFault(reasons.badUserNameOrPassword, `no ${what}: sign in as name@tenant with its password`);
const wrong = (): PeerFault => new PeerFault(reasons.badUserNameOrPassword, reasons.badUserNameOrPassword.words);
