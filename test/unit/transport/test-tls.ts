/** Certificates of a development authority, for listeners of tests. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureCertificates } from '../../../services/local/certificates.js';

export interface Tls {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Read, and gone from the disk when this resolves. */
export async function testTls(): Promise<{ readonly ca: Buffer; readonly ecdsa: Tls; readonly rsa: Tls }> {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-tls-'));
  try {
    const { caFile, rsa, ...ecdsa } = await ensureCertificates(folder, [], Date.now());
    const read = ({ certFile, keyFile }: { certFile: string; keyFile: string }): Tls => ({
      cert: readFileSync(certFile),
      key: readFileSync(keyFile),
    });
    return { ca: readFileSync(caFile), ecdsa: read(ecdsa), rsa: read(rsa) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
