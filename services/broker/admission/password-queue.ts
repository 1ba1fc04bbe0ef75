/**
 * Passwords that have to be stretched to be checked, a few at a time: each takes one of the four threads that look up names
 * and read files, too. Tenants take turns, and within a tenant the addresses that its clients come from, so that whoever asks
 * for many waits for them alone. The same password of the same credential is stretched once for all who wait for it, and
 * not at all when all of them have left.
 */
import { type SecretHash, verifySecret } from '../../tenancy/tenancy.js';

/** Half of the threads. */
const atOnceMax = 2;
/** Three and a half seconds of work. */
const waitingMax = 256;
const waitingOfTenantMax = 64;
const waitingOfAddressMax = 32;

export interface Asker {
  readonly tenant: string;
  readonly addressGroup: string;
  readonly connection: { readonly closed: boolean };
}

/** Whether the password is right, unless all who asked have left, or there was no room to wait. */
export type Answer = boolean | 'left' | 'full';

interface Job {
  readonly mark: string;
  readonly password: string;
  readonly hash: SecretHash;
  readonly tenant: string;
  readonly addressGroup: string;
  readonly askers: Asker['connection'][];
  readonly answer: Promise<Answer>;
  readonly settle: (answer: Promise<boolean> | 'left') => void;
}

export class PasswordQueue {
  readonly #jobs = new Map<string, Job>();
  /** Those that wait, by tenant and address; whose turn is next stands first. */
  readonly #waiting = new Map<string, Map<string, Job[]>>();
  readonly #check: typeof verifySecret;
  #waitingCount = 0;
  #running = 0;

  constructor(check = verifySecret) {
    this.#check = check;
  }

  get waiting(): number {
    return this.#waitingCount;
  }

  /** Whether the same question waits for its answer already. */
  has(mark: string): boolean {
    return this.#jobs.has(mark);
  }

  ask(mark: string, password: Buffer, hash: SecretHash, asker: Asker): Promise<Answer> {
    const known = this.#jobs.get(mark);
    if (known) {
      known.askers.push(asker.connection);
      return known.answer;
    }
    if (!this.hasRoomFor(asker)) return Promise.resolve('full');
    const { tenant, addressGroup, connection } = asker;
    let settle: Job['settle'] = () => {};
    const answer = new Promise<Answer>((resolve) => (settle = resolve));
    const job = { mark, password: password.toString('utf8'), hash, tenant, addressGroup, answer, settle };
    this.#add({ ...job, askers: [connection] });
    this.#next();
    return answer;
  }

  /** Whether one more may wait; those that have left make room. */
  hasRoomFor(asker: Asker): boolean {
    if (!this.#hasRoom(asker)) this.#dropUnwanted();
    return this.#hasRoom(asker);
  }

  #hasRoom({ tenant, addressGroup }: Asker): boolean {
    const ofTenant = this.#waiting.get(tenant);
    if (this.#waitingCount >= waitingMax) return false;
    if (!ofTenant) return true;
    let count = 0;
    for (const jobs of ofTenant.values()) count += jobs.length;
    return count < waitingOfTenantMax && (ofTenant.get(addressGroup)?.length ?? 0) < waitingOfAddressMax;
  }

  #add(job: Job): void {
    this.#jobs.set(job.mark, job);
    let ofTenant = this.#waiting.get(job.tenant);
    if (!ofTenant) this.#waiting.set(job.tenant, (ofTenant = new Map<string, Job[]>()));
    const jobs = ofTenant.get(job.addressGroup);
    if (jobs) jobs.push(job);
    else ofTenant.set(job.addressGroup, [job]);
    this.#waitingCount++;
  }

  /** The one whose turn it is; its tenant and its address stand last then. */
  #take(): Job | undefined {
    const [tenant, ofTenant] = first(this.#waiting) ?? [];
    if (tenant === undefined || !ofTenant) return undefined;
    const [addressGroup, jobs] = first(ofTenant)!;
    const job = jobs.shift()!;
    this.#waitingCount--;
    ofTenant.delete(addressGroup);
    if (jobs.length > 0) ofTenant.set(addressGroup, jobs);
    this.#waiting.delete(tenant);
    if (ofTenant.size > 0) this.#waiting.set(tenant, ofTenant);
    return job;
  }

  #dropUnwanted(): void {
    const jobs: Job[] = [];
    for (let job = this.#take(); job; job = this.#take()) jobs.push(job);
    for (const job of jobs)
      if (isWanted(job)) this.#add(job);
      else this.#drop(job);
  }

  #drop(job: Job): void {
    this.#jobs.delete(job.mark);
    job.settle('left');
  }

  #next(): void {
    while (this.#running < atOnceMax) {
      const job = this.#take();
      if (!job) return;
      if (!isWanted(job)) {
        this.#drop(job);
        continue;
      }
      this.#running++;
      const checked = this.#check(job.password, job.hash).finally(() => {
        this.#running--;
        this.#jobs.delete(job.mark);
        this.#next();
      });
      job.settle(checked);
    }
  }
}

const isWanted = ({ askers }: Job): boolean => askers.some(({ closed }) => !closed);

function first<K, V>(map: ReadonlyMap<K, V>): [K, V] | undefined {
  return map.entries().next().value;
}
