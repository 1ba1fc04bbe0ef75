import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
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

async function handshake({ caFile, certFile, keyFile }: CertificateFiles, host: string): Promise<boolean> {
  const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return await new Promise<boolean>((resolve, reject) => {
    const socket: TLSSocket = connect({ port, host, ca: readFileSync(caFile) }, () => resolve(socket.authorized));
    socket.once('error', reject);
    socket.once('secureConnect', () => socket.end());
  }).finally(() => server.close());
}

test.each(['127.0.0.1', 'localhost'])('a client that trusts the authority connects to %s', async (host) => {
  expect(await handshake(await ensureCertificates(folder, ['127.0.0.1'], nowMs), host)).toBe(true);
});

test('files that are good are kept', async () => {
  const files = await ensureCertificates(folder, ['127.0.0.1'], nowMs);
  const before = Object.values(files).map((file) => readFileSync(file, 'utf8'));
  await ensureCertificates(folder, ['127.0.0.1'], nowMs + dayMs);
  expect(Object.values(files).map((file) => readFileSync(file, 'utf8'))).toEqual(before);
});

test.each<[why: string, host: string, atMs: number, spoil: (files: CertificateFiles) => void]>([
  ['another host', '192.0.2.9', nowMs, () => {}],
  ['expiry is near', '127.0.0.1', nowMs + 800 * dayMs, () => {}],
  ['the key is damaged', '127.0.0.1', nowMs, ({ keyFile }) => writeFileSync(keyFile, 'gone')],
  ['the certificate is missing', '127.0.0.1', nowMs, ({ certFile }) => rmSync(certFile)],
])('the server certificate alone is renewed: %s', async (_, host, atMs, spoil) => {
  const files = await ensureCertificates(folder, ['127.0.0.1'], nowMs);
  const [ca, server] = [read(files.caFile), read(files.certFile)];
  spoil(files);
  await ensureCertificates(folder, [host], atMs);
  expect(read(files.caFile).fingerprint256).toBe(ca.fingerprint256);
  expect(read(files.certFile).fingerprint256).not.toBe(server.fingerprint256);
  expect(read(files.certFile).verify(ca.publicKey)).toBe(true);
});

test('an authority that is about to expire is replaced together with the server certificate', async () => {
  const files = await ensureCertificates(folder, ['127.0.0.1'], nowMs);
  const ca = read(files.caFile);
  await ensureCertificates(folder, ['127.0.0.1'], nowMs + 3640 * dayMs);
  expect(read(files.caFile).fingerprint256).not.toBe(ca.fingerprint256);
  expect(read(files.certFile).verify(read(files.caFile).publicKey)).toBe(true);
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
