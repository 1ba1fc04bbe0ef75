/**
 * Development certificates: a certificate authority of this machine, valid for ten years, and two server certificates
 * signed by it. All are made at the first start and kept; a server certificate is renewed when it is about to expire
 * or does not name the host any more, so clients that trust the authority never notice. Never used on AWS.
 *
 * One server certificate has an ECDSA key, the other an RSA key, for clients of TLS 1.2 that know RSA alone. To make that key
 * takes 0.16 s on average, of 20 that were made on two busy cores 0.34 s at most.
 */
import { KeyObject, createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import 'reflect-metadata'; // @peculiar/x509 needs it loaded first
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  AuthorityKeyIdentifierExtension,
  X509CertificateGenerator,
  cryptoProvider,
} from '@peculiar/x509';
import { writePrivateFile } from './data-folder.js';
import { diskWords } from './disk.js';
import { StartFailure, systemCode } from './failure.js';
import { isWildcard } from './settings.js';

const dayMs = 86_400_000;
const caDays = 3650;
/** The longest that common clients accept for a server. */
const serverDays = 825;
/** Renewed a month ahead, so that an instance which runs for weeks does not serve an expired one. */
const renewBeforeMs = 30 * dayMs;

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const rsaAlgorithm = {
  name: 'RSASSA-PKCS1-v1_5',
  modulusLength: 2048,
  publicExponent: Uint8Array.of(1, 0, 1),
  hash: 'SHA-256',
};

/** Kinds of server certificates: how their keys are made, and what these are for. */
const kinds = {
  ecdsa: { algorithm, usages: KeyUsageFlags.digitalSignature },
  // Of old clients some have no forward secrecy: they encipher the session's secret with the server's key.
  rsa: { algorithm: rsaAlgorithm, usages: KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment },
} as const;
type Kind = keyof typeof kinds;

interface PairFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** The pair of its own is the one with an ECDSA key. */
export interface CertificateFiles extends PairFiles {
  readonly caFile: string;
  readonly rsa: PairFiles;
}

/** Makes what is missing or outdated in `<folder>/certificates`. */
export async function ensureCertificates(
  folder: string,
  hosts: readonly string[],
  nowMs: number,
): Promise<CertificateFiles> {
  const inside = join(folder, 'certificates');
  const caFile = join(inside, 'ca.crt');
  const caKeyFile = join(inside, 'ca.key');
  const pairOf = (name: string): PairFiles => ({
    certFile: join(inside, `${name}.crt`),
    keyFile: join(inside, `${name}.key`),
  });
  const [ecdsa, rsa] = [pairOf('server'), pairOf('server-rsa')];
  cryptoProvider.set(webcrypto);
  try {
    mkdirSync(inside, { recursive: true, mode: 0o700 });
    let ca = readPair(caFile, caKeyFile);
    if (ca === undefined || expiresSoon(ca.certificate, nowMs)) {
      ca = await writePair(caFile, caKeyFile, await makeAuthority(nowMs));
    }
    const names = serverNames(hosts);
    await ensureServer('ecdsa', ecdsa, ca, names, nowMs);
    await ensureServer('rsa', rsa, ca, names, nowMs);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    throw new StartFailure(`the certificates in ${inside}: ${diskWords(systemCode(error))}`);
  }
  return { caFile, ...ecdsa, rsa };
}

async function ensureServer(
  kind: Kind,
  { certFile, keyFile }: PairFiles,
  ca: Pair,
  names: readonly string[],
  nowMs: number,
): Promise<void> {
  const server = readPair(certFile, keyFile);
  const usable =
    server !== undefined &&
    !expiresSoon(server.certificate, nowMs) &&
    server.certificate.verify(ca.certificate.publicKey) &&
    names.every((name) => covers(server.certificate, name));
  if (!usable) await writePair(certFile, keyFile, await makeServer(kind, ca, names, nowMs));
}

/** Everything a client may call this machine; a wildcard among the hosts stands for all its addresses. */
export function serverNames(hosts: readonly string[]): string[] {
  const names = new Set(['localhost', '127.0.0.1', '::1']);
  if (/^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$/.test(hostname())) names.add(hostname());
  for (const host of hosts) {
    if (!isWildcard(host)) names.add(host);
    else for (const address of ownAddresses()) names.add(address);
  }
  return [...names];
}

const ownAddresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((addresses = []) =>
    addresses.filter(({ scopeid }) => !scopeid).map(({ address }) => address),
  );

interface Pair {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

function readPair(certFile: string, keyFile: string): Pair | undefined {
  try {
    const certificate = new X509Certificate(readFileSync(certFile));
    const key = createPrivateKey(readFileSync(keyFile));
    return certificate.checkPrivateKey(key) ? { certificate, key } : undefined;
  } catch (error) {
    // Absent or damaged files are made anew; files that may not be read are the person's to put right.
    if (systemCode(error) === 'EACCES' || systemCode(error) === 'EISDIR') throw error;
    return undefined;
  }
}

/** The key first: a certificate without its key would be made anew, a key without a certificate is harmless. */
async function writePair(certFile: string, keyFile: string, made: MadePair): Promise<Pair> {
  const key = KeyObject.from(made.privateKey);
  writePrivateFile(keyFile, key.export({ type: 'pkcs8', format: 'pem' }).toString());
  writeFileSync(certFile, `${made.pem}\n`, { mode: 0o644 });
  return { certificate: new X509Certificate(made.pem), key };
}

const expiresSoon = (certificate: X509Certificate, nowMs: number): boolean =>
  Date.parse(certificate.validTo) - nowMs < renewBeforeMs || Date.parse(certificate.validFrom) > nowMs;

const covers = (certificate: X509Certificate, name: string): boolean =>
  (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined;

interface MadePair {
  readonly pem: string;
  readonly privateKey: webcrypto.CryptoKey;
}

/** 16 random bytes, positive as RFC 5280 asks. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0] ?? 0) & 0x7f || 1;
  return bytes.toString('hex');
}

const newKeys = (kind: Kind): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(kinds[kind].algorithm, true, ['sign', 'verify']);

async function makeAuthority(nowMs: number): Promise<MadePair> {
  const keys = await newKeys('ecdsa');
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=Shoal development CA ${randomBytes(3).toString('hex')}, O=Shoal`,
    notBefore: new Date(nowMs - 60_000),
    notAfter: new Date(nowMs + caDays * dayMs),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { pem: certificate.toString('pem'), privateKey: keys.privateKey };
}

async function makeServer(kind: Kind, ca: Pair, names: readonly string[], nowMs: number): Promise<MadePair> {
  const keys = await newKeys(kind);
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    ca.key.export({ type: 'pkcs8', format: 'der' }),
    algorithm,
    false,
    ['sign'],
  );
  const issuerKey = await webcrypto.subtle.importKey(
    'spki',
    ca.certificate.publicKey.export({ type: 'spki', format: 'der' }),
    algorithm,
    true,
    ['verify'],
  );
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: 'CN=Shoal on this machine, O=Shoal',
    // The authority's own name: RFC 5280 wants the issuer to be equal to it.
    issuer: issuerName(ca.certificate),
    notBefore: new Date(nowMs - 60_000),
    notAfter: new Date(nowMs + serverDays * dayMs),
    publicKey: keys.publicKey,
    signingKey: signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(kinds[kind].usages, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name })),
      ),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuerKey),
    ],
  });
  return { pem: certificate.toString('pem'), privateKey: keys.privateKey };
}

/** Node prints one attribute a line, in the order of the certificate. */
const issuerName = (certificate: X509Certificate): string => certificate.subject.split('\n').join(', ');
