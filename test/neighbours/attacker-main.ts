/** The attacker, a process of its own: prepares, says so, and attacks when it is told to, until it is killed. */
import { getPriority, setPriority } from 'node:os';
import { call } from '../local/shoal.js';
import type { Credential } from '../support/broker.js';
import { attacks, type AttackName } from './attacks/attacks.js';

export interface AttackerJob {
  readonly name: AttackName;
  readonly scale: number;
  readonly port: number;
  readonly credential: Credential;
  readonly apiUrl: string;
  readonly tenant: string;
  readonly apiKey: string;
}

/** Where cores are few, it takes none from those whom it attacks: what they feel is the broker. */
setPriority(Math.min(19, getPriority() + 5));

process.once('message', ({ name, apiUrl, tenant, apiKey, ...scene }: AttackerJob) => {
  const api = (path: string, body: unknown, method = 'POST') =>
    call(`${apiUrl}/v1/tenants/${tenant}${path}`, { method, key: apiKey, body });
  void attacks[name].attack({ ...scene, api }).then((begin) => {
    process.once('message', begin);
    process.send!('prepared');
  });
});
