/** Whom the smoke test trusts: what Node.js trusts, and the authority of `--ca`. */
import { rootCertificates } from 'node:tls';
import type { Options } from './options.js';

export function authorities(ca: Options['ca']): string[] | undefined {
  return ca === undefined ? undefined : [...rootCertificates, ca.pem];
}
