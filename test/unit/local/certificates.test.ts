import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, createServer, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ensureCertificates, serverNames, type CertificateFiles } from '../../../services/local/certificates.js';

const dayMs = 86_400_000;
const nowMs = Date.now();
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-certificates-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const read = (file: string): X509Certificate => new X509Certificate(readFileSync(file));
const days = (certificate: X509Certificate): number =>
  Math.round((Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)) / dayMs);

test('an authority for ten years signs a server certificate for 825 days with the names of the machine', async () => {
  const { caFile, certFile, keyFile } = await ensureCertificates(folder, ['192.0.2.7'], nowMs);
  const ca = read(caFile);
  const server = read(certFile);
  expect(ca.ca).toBe(true);
  expect(days(ca)).toBe(3650);
  expect(days(server)).toBe(825);
  expect(server.ca).toBe(false);
  expect(server.checkIssued(ca)).toBe(true);
  expect(server.verify(ca.publicKey)).toBe(true);
  expect(server.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
  expect(server.checkHost('localhost')).toBe('localhost');
  for (const address of ['127.0.0.1', '::1', '192.0.2.7']) expect(server.checkIP(address)).toBe(address);
  expect(server.checkIP('192.0.2.8')).toBeUndefined();
  for (const key of [keyFile, caFile.replace('.crt', '.key')]) expect(statSync(key).mode & 0o777).toBe(0o600);
});

async function handshake({ caFile, certFile, keyFile, rsa }: CertificateFiles, options: ConnectionOptions) {
  const cert = [readFileSync(certFile), readFileSync(rsa.certFile)];
  const server = createServer({ cert, key: [readFileSync(keyFile), readFileSync(rsa.keyFile)], minVersion: 'TLSv1.2' });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return await new Promise<{ authorized: boolean; cipher: string; kind: string | undefined }>((resolve, reject) => {
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', ca: readFileSync(caFile), ...options }, () =>
      resolve({
        authorized: socket.authorized,
        cipher: socket.getCipher().name,
        kind: socket.getPeerX509Certificate()?.publicKey.asymmetricKeyType,
      }),
    );
    socket.once('error', reject);
    socket.once('secureConnect', () => socket.end());
  }).finally(() => server.close());
}

test.each(['127.0.0.1', 'localhost'])('a client that trusts the authority connects to %s', async (host) => {
  const { authorized, kind } = await handshake(await ensureCertificates(folder, ['127.0.0.1'], nowMs), { host });
  expect(authorized).toBe(true);
  expect(kind).toBe('ec');
});

test.each([
  ['ECDHE-RSA-AES128-GCM-SHA256', 'rsa'],
  ['AES128-GCM-SHA256', 'rsa'],
  ['AES128-SHA', 'rsa'],
  ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ec'],
])('a client of TLS 1.2 with %s alone gets the certificate of that kind', async (ciphers, kind) => {
  const files = await ensureCertificates(folder, ['127.0.0.1'], nowMs);
  const told = await handshake(files, { ciphers, maxVersion: 'TLSv1.2' });
  expect(told).toEqual({ authorized: true, cipher: ciphers, kind });
});

test('TLS 1.1 is refused, whatever the key', async () => {
  const files = await ensureCertificates(folder, ['127.0.0.1'], nowMs);
  const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  await expect(handshake(files, old)).rejects.toMatchObject({ code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
});

const filesOf = ({ caFile, certFile, keyFile, rsa }: CertificateFiles): string[] => [
  caFile,
  certFile,
  keyFile,
  rsa.certFile,
  rsa.keyFile,
];

test('files that are good are kept', async () => {
  const files = filesOf(await ensureCertificates(folder, ['127.0.0.1'], nowMs));
  const before = files.map((file) => readFileSync(file, 'utf8'));
  await ensureCertificates(folder, ['127.0.0.1'], nowMs + dayMs);
  expect(files.map((file) => readFileSync(file, 'utf8'))).toEqual(before);
});

test('a data folder of before there were two gets the one with an RSA key, and keeps what it has', async () => {
  const files = await ensureCertificates(folder, ['127.0.0.1'], nowMs);
  const kept = [files.caFile, files.certFile, files.keyFile];
  const before = kept.map((file) => readFileSync(file, 'utf8'));
  for (const file of [files.rsa.certFile, files.rsa.keyFile]) rmSync(file);
  await ensureCertificates(folder, ['127.0.0.1'], nowMs + dayMs);
  expect(kept.map((file) => readFileSync(file, 'utf8'))).toEqual(before);
  const rsa = read(files.rsa.certFile);
  expect(rsa.publicKey.asymmetricKeyDetails?.modulusLength).toBe(2048);
  expect(rsa.verify(read(files.caFile).publicKey)).toBe(true);
  expect(rsa.checkHost('localhost')).toBe('localhost');
  expect(statSync(files.rsa.keyFile).mode & 0o777).toBe(0o600);
});

type PairFiles = CertificateFiles['rsa'];
const pairs: readonly [kind: string, of: (files: CertificateFiles) => PairFiles][] = [
  ['ECDSA', (files) => files],
  ['RSA', ({ rsa }) => rsa],
];
const spoilt: readonly [why: string, host: string, atMs: number, spoil: (files: PairFiles) => void][] = [
  ['another host', '192.0.2.9', nowMs, () => {}],
  ['expiry is near', '127.0.0.1', nowMs + 800 * dayMs, () => {}],
  ['the key is damaged', '127.0.0.1', nowMs, ({ keyFile }) => writeFileSync(keyFile, 'gone')],
  ['the certificate is missing', '127.0.0.1', nowMs, ({ certFile }) => rmSync(certFile)],
];
describe.each(pairs)('the server certificate with an %s key alone is renewed', (_, of) => {
  test.each(spoilt)('%s', async (__, host, atMs, spoil) => {
    const files = await ensureCertificates(folder, ['127.0.0.1'], nowMs);
    const { certFile } = of(files);
    const [ca, server] = [read(files.caFile), read(certFile)];
    spoil(of(files));
    await ensureCertificates(folder, [host], atMs);
    expect(read(files.caFile).fingerprint256).toBe(ca.fingerprint256);
    expect(read(certFile).fingerprint256).not.toBe(server.fingerprint256);
    expect(read(certFile).verify(ca.publicKey)).toBe(true);
  });
});

test('an authority that is about to expire is replaced together with the server certificate', async () => {
  const files = await ensureCertificates(folder, ['127.0.0.1'], nowMs);
  const ca = read(files.caFile);
  await ensureCertificates(folder, ['127.0.0.1'], nowMs + 3640 * dayMs);
  expect(read(files.caFile).fingerprint256).not.toBe(ca.fingerprint256);
  for (const { certFile } of [files, files.rsa]) expect(read(certFile).verify(read(files.caFile).publicKey)).toBe(true);
});

test('a wildcard host stands for every address of the machine', () => {
  expect(serverNames(['0.0.0.0'])).toEqual(expect.arrayContaining(['localhost', '127.0.0.1', '::1']));
  expect(serverNames(['0.0.0.0'])).not.toContain('0.0.0.0');
});

test('a public host is named beside the host', async () => {
  const { certFile } = await ensureCertificates(folder, ['127.0.0.1', 'devices.example.org'], nowMs);
  expect(read(certFile).checkHost('devices.example.org')).toBe('devices.example.org');
  expect(read(certFile).checkIP('127.0.0.1')).toBe('127.0.0.1');
});
