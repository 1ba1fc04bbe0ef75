/** What an attack is told, and how the attacks of `attacks/` are written. */
import type { Credential, Grant } from '../support/broker.js';
import type { Place } from './foe.js';

/** Of a hostile tenant on the free plan. `credential` may do everything inside it. */
export interface Scene extends Place {
  /** 1: as large as the quotas allow. Tests do with less. */
  readonly scale: number;
  /** A call of the API with the tenant's key, below `/v1/tenants/{id}`; a refusal is an answer, too. */
  api(path: string, body: unknown, method?: string): Promise<{ status: number; body: Record<string, unknown> }>;
}

/**
 * Prepares what a patient attacker has after hours, while the rates of the tenant are lifted, and gives back what begins the
 * attack itself, under the free plan. Whatever is refused or closed meanwhile, the attack goes on.
 */
export type Attack = (scene: Scene) => Promise<() => void>;

export async function credentialWith(
  scene: Scene,
  name: string,
  more: { grants?: readonly Grant[]; password?: string },
): Promise<Credential | undefined> {
  const { status, body } = await scene.api('/credentials', { name, ...more });
  if (status >= 300) return undefined;
  return { username: String(body['username']), password: more.password ?? String(body['password']) };
}
