/**
 * What many sessions of a tenant have in common, once: equal strings out of packets and items are as many strings. A fleet
 * has one user name and credential, or one for each device; of the latter nothing is won, and little is kept.
 */
import { SparseMap } from '../../kernel/kernel.js';
import type { Credential } from '../../tenancy/tenancy.js';

const keptMax = 100;

/** What is compared with the credential as it is now. Not its grants, which would be kept with what is compiled of them. */
export type CameWith = Pick<Credential, 'name' | 'secretHash' | 'createdAtMs'>;

export class Same {
  readonly #texts = new SparseMap<string, string>();
  readonly #credentials = new SparseMap<string, CameWith>();

  text<T extends string>(text: T): T {
    return (this.#texts.get(text) as T | undefined) ?? (keep<string>(this.#texts, text, text) as T);
  }

  credential({ name, secretHash, createdAtMs }: Credential): CameWith {
    const known = this.#credentials.get(name);
    const isSame = known?.secretHash === secretHash && known.createdAtMs === createdAtMs;
    return isSame ? known : keep(this.#credentials, name, { name, secretHash, createdAtMs });
  }
}

function keep<T>(all: SparseMap<string, T>, key: string, value: T): T {
  if (all.size >= keptMax) all.clear();
  all.set(key, value);
  return value;
}
