/**
 * Cluster keys: what brokers prove to each other that they belong together. A broker dials with its first key and takes both, so
 * a key is changed broker by broker: the new one second everywhere, then first, then alone.
 *
 * Neither the key nor anything it could be guessed from is told: the identity, which goes over the network in the clear, says which key
 * is meant by a hash that was derived beside it. Keys are generated and long, so nobody finds one by trying.
 */
import { createHmac, hkdfSync } from 'node:crypto';

/** What `openssl rand -base64 24` has; guessing it is hopeless even for who has recorded a handshake. */
export const keyCharactersMin = 32;

export interface ClusterKey {
  /** Of the key: for TLS and for the log. */
  readonly identity: string;
  /** For TLS. 32 bytes. */
  readonly secret: Buffer;
}

/** One key, or two while it is being changed. */
export type ClusterKeys = readonly [ClusterKey, ClusterKey?];

export function clusterKey(text: string): ClusterKey {
  const secret = Buffer.from(hkdfSync('sha256', text, 'shoal', 'link key 1', 32));
  const name = createHmac('sha256', text).update('link key name 1').digest('hex').slice(0, 12);
  return { identity: `shoal-1:${name}`, secret };
}

/** For the log: a stranger may call itself as it likes. */
export const shownIdentity = (identity: string): string =>
  /^shoal-1:[0-9a-f]{12}$/.test(identity) ? identity : 'not of Shoal';
