import { isIPv6 } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { clusterKey } from '../../../services/broker/mesh/mesh.js';
import { ConfigError, readConfig, tuning } from '../../../services/broker/config.js';

const clusterKeys = ['one key for the brokers of a cluster', 'another key for the brokers, as long'] as const;
const listening = { SHOAL_MQTT_PORT: '0' };

test('one listener is enough, and the defaults are those of the documentation', () => {
  expect(readConfig(listening)).toEqual({
    dynamo: { region: 'us-east-1', tablePrefix: 'shoal-' },
    host: '127.0.0.1',
    ports: { mqtt: 0, mqtts: undefined, ws: undefined, wss: undefined },
    health: { host: '127.0.0.1', port: 0 },
    tls: undefined,
    trustedProxies: undefined,
    mesh: undefined,
    servesTogether: false,
    logLevel: 'info',
    emfStage: undefined,
    drainMsMax: 100_000,
    connectionsMax: 50_000,
    newcomersPercentMax: 80,
    newcomersPerAddressPercentMax: 50,
    inFlightMax: 16_383,
    topicLevelsMax: 128,
    holdBackMs: 5000,
    persistDelayMs: 50,
    unsafeBytesMax: 64 * 1024 * 1024,
    isWebSocketAtRoot: true,
    keepAliveSecondsMax: 0,
    publishesRevokedWills: false,
  });
});

test('every setting is read; an empty one counts as absent', () => {
  const config = readConfig({
    ...listening,
    AWS_REGION: 'eu-central-1',
    SHOAL_DYNAMODB_ENDPOINT: 'http://127.0.0.1:8000',
    SHOAL_TABLE_PREFIX: 'stage.two_',
    SHOAL_WS_PORT: '8083',
    SHOAL_WSS_PORT: '',
    SHOAL_LOG_LEVEL: 'silent',
    SHOAL_HEALTH_HOST: '::1',
    SHOAL_CONNECTIONS_MAX: '7',
    SHOAL_NEWCOMERS_PERCENT_MAX: '60',
    SHOAL_NEWCOMERS_PER_ADDRESS_PERCENT_MAX: '30',
    SHOAL_IN_FLIGHT_MAX: '256',
    SHOAL_PERSIST_DELAY_MS: '0',
    SHOAL_TOPIC_LEVELS_MAX: '1024',
    SHOAL_UNSAFE_MB_MAX: '65536',
    SHOAL_KEEP_ALIVE_SECONDS_MAX: '300',
    SHOAL_WS_AT_ROOT: '0',
    SHOAL_DRAIN_SECONDS: '7',
    SHOAL_METRICS_EMF: '1',
    SHOAL_STAGE: 'prod',
    SHOAL_TRUST_PROXY: '10.0.0.0/16, 192.0.2.7,fd00::/8',
  });
  expect(config.dynamo).toEqual({
    endpoint: 'http://127.0.0.1:8000',
    region: 'eu-central-1',
    tablePrefix: 'stage.two_',
  });
  expect(config.ports).toEqual({ mqtt: 0, mqtts: undefined, ws: 8083, wss: undefined });
  expect(config.health.host).toBe('::1');
  expect(config.isWebSocketAtRoot).toBe(false);
  expect({ drainMsMax: config.drainMsMax, emfStage: config.emfStage }).toEqual({ drainMsMax: 7000, emfStage: 'prod' });
  const isTrusted = (address: string): unknown =>
    config.trustedProxies?.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  expect(['10.0.255.255', '192.0.2.7', '::ffff:10.0.0.1', 'fdab::1'].map(isTrusted)).toEqual(Array(4).fill(true));
  expect(['10.1.0.0', '192.0.2.8', '::ffff:10.1.0.1', 'fe80::1', '::'].map(isTrusted)).toEqual(Array(5).fill(false));
  const { newcomersPercentMax, newcomersPerAddressPercentMax } = config;
  expect([newcomersPercentMax, newcomersPerAddressPercentMax]).toEqual([60, 30]);
  expect(config.topicLevelsMax).toBe(1024);
  const { connectionsMax, inFlightMax, persistDelayMs, unsafeBytesMax, keepAliveSecondsMax } = config;
  expect({ connectionsMax, inFlightMax, persistDelayMs, unsafeBytesMax, keepAliveSecondsMax }).toEqual({
    connectionsMax: 7,
    inFlightMax: 256,
    persistDelayMs: 0,
    unsafeBytesMax: 2 ** 36,
    keepAliveSecondsMax: 300,
  });
});

test.each<[env: Record<string, string>, words: string]>([
  [{ SHOAL_IN_FLIGHT_MAX: '0' }, 'SHOAL_IN_FLIGHT_MAX=0 is not a number from 1 to 16383'],
  [{ SHOAL_IN_FLIGHT_MAX: '16384' }, 'SHOAL_IN_FLIGHT_MAX=16384 is not a number from 1 to 16383'],
  [{ SHOAL_IN_FLIGHT_MAX: 'many' }, 'SHOAL_IN_FLIGHT_MAX=many is not a number'],
  [{ SHOAL_PERSIST_DELAY_MS: '1e3' }, 'SHOAL_PERSIST_DELAY_MS=1e3 is not a number'],
  [{ SHOAL_UNSAFE_MB_MAX: '-1' }, 'SHOAL_UNSAFE_MB_MAX=-1 is not a number'],
  [{ SHOAL_HEALTH_PORT: '65536' }, 'SHOAL_HEALTH_PORT=65536 is not a number from 0 to 65535'],
  [{ SHOAL_LOG_LEVEL: 'loud' }, 'SHOAL_LOG_LEVEL=loud is not one of debug, info'],
  [{ SHOAL_DYNAMODB_ENDPOINT: 'localhost:8000' }, 'SHOAL_DYNAMODB_ENDPOINT=localhost:8000 is not a URL'],
  [
    { SHOAL_DYNAMODB_ENDPOINT: 'http://127.0.0.1:99999' },
    'SHOAL_DYNAMODB_ENDPOINT=http://127.0.0.1:99999 is not a URL',
  ],
  [{ SHOAL_TABLE_PREFIX: 'my shoal/' }, 'SHOAL_TABLE_PREFIX=my shoal/'],
  [{ SHOAL_TLS_CERT_FILE: '/dev/null' }, 'SHOAL_TLS_CERT_FILE and SHOAL_TLS_KEY_FILE belong together'],
  [
    { SHOAL_TLS_CERT: 'PEM', SHOAL_TLS_CERT_FILE: '/dev/null', SHOAL_TLS_KEY: 'PEM' },
    'SHOAL_TLS_CERT and SHOAL_TLS_CERT_FILE exclude each other',
  ],
  [
    { SHOAL_TLS_CERT_2: 'PEM', SHOAL_TLS_KEY_2: 'PEM' },
    'SHOAL_TLS_CERT_2_FILE is for a second certificate; set SHOAL_TLS_CERT_FILE',
  ],
  [{ SHOAL_TLS_CERT_2: 'PEM' }, 'SHOAL_TLS_CERT_2_FILE and SHOAL_TLS_KEY_2_FILE belong together'],
  [{ SHOAL_TLS_KEY: 'PEM' }, 'SHOAL_TLS_CERT_FILE and SHOAL_TLS_KEY_FILE belong together'],
  [
    { SHOAL_TLS_CERT_FILE: '/nowhere', SHOAL_TLS_KEY_FILE: '/dev/null' },
    'SHOAL_TLS_CERT_FILE: /nowhere cannot be read',
  ],
  [{ SHOAL_MQTTS_PORT: '0' }, 'need SHOAL_TLS_CERT_FILE and SHOAL_TLS_KEY_FILE'],
  [{ SHOAL_TRUST_PROXY: '10.0.0.0/33' }, 'SHOAL_TRUST_PROXY=10.0.0.0/33 has 10.0.0.0/33, which is not a network'],
  [{ SHOAL_TRUST_PROXY: '10.0.0.0/8,,' }, 'SHOAL_TRUST_PROXY=10.0.0.0/8,, has an empty part'],
  [{ SHOAL_TRUST_PROXY: 'fd00::/8/9' }, 'has fd00::/8/9, which is not a network'],
  [{ SHOAL_TRUST_PROXY: '10.0.0.0/' }, 'has 10.0.0.0/, which is not a network'],
  [
    { SHOAL_TRUST_PROXY: 'vpc' },
    'has vpc, which is not a network; use addresses or CIDRs such as 10.0.0.0/16,fd00::/8',
  ],
  [{ SHOAL_MESH_PORT: '7883' }, 'SHOAL_MESH_PORT needs SHOAL_CLUSTER_KEY'],
  [{ SHOAL_CLUSTER_KEY_2: clusterKeys[0] }, 'SHOAL_CLUSTER_KEY_2 needs SHOAL_CLUSTER_KEY'],
  [{ SHOAL_CLUSTER_PREVIEW: 'true' }, 'SHOAL_CLUSTER_PREVIEW needs SHOAL_CLUSTER_KEY'],
  [{ SHOAL_CLUSTER_PREVIEW: 'yes' }, 'SHOAL_CLUSTER_PREVIEW=yes is neither true nor false'],
  [{ SHOAL_CLUSTER_KEY: 'short' }, 'SHOAL_CLUSTER_KEY is too short; use at least 32 characters'],
  [{ SHOAL_CLUSTER_KEY: clusterKeys[0], SHOAL_CLUSTER_KEY_2: clusterKeys[0] }, 'SHOAL_CLUSTER_KEY_2 is the same'],
  [{ SHOAL_CLUSTER_KEY: clusterKeys[0], SHOAL_CLUSTER_KEY_FILE: '/x' }, 'exclude each other'],
  [
    { SHOAL_CLUSTER_KEY: clusterKeys[0], SHOAL_MESH_ADDRESS: '10.0.0.1' },
    'SHOAL_MESH_ADDRESS=10.0.0.1 is not host:port, [IPv6 address]:port or ecs',
  ],
  [
    { SHOAL_CLUSTER_KEY: clusterKeys[0], SHOAL_MESH_ADDRESS: 'ecs', ECS_CONTAINER_METADATA_URI_V4: 'http://a/v4/b' },
    'SHOAL_MESH_ADDRESS=ecs needs SHOAL_MESH_PORT',
  ],
  [
    { SHOAL_CLUSTER_KEY: clusterKeys[0], SHOAL_MESH_ADDRESS: 'ecs', SHOAL_MESH_PORT: '7883' },
    'SHOAL_MESH_ADDRESS=ecs is for tasks of ECS, which have ECS_CONTAINER_METADATA_URI_V4',
  ],
  [{ SHOAL_WS_AT_ROOT: 'yes' }, 'SHOAL_WS_AT_ROOT=yes is not a number from 0 to 1'],
  [{ SHOAL_DRAIN_SECONDS: '101' }, 'SHOAL_DRAIN_SECONDS=101 is not a number from 0 to 100'],
  [{ SHOAL_METRICS_EMF: 'yes' }, 'SHOAL_METRICS_EMF=yes is neither 0 nor 1'],
  [{ SHOAL_METRICS_EMF: '1' }, 'SHOAL_METRICS_EMF=1 needs SHOAL_STAGE'],
  [{ SHOAL_STAGE: 'a b' }, 'SHOAL_STAGE=a b may only contain letters'],
  [{ SHOAL_MQTT_PORT: '' }, 'no listener: set SHOAL_MQTTS_PORT'],
  [{ SHOAL_INFLIGHT_MAX: '1' }, 'SHOAL_INFLIGHT_MAX is not a setting; did you mean SHOAL_IN_FLIGHT_MAX?'],
  [{ SHOAL_TABLES_PREFIX: 'a' }, 'SHOAL_TABLES_PREFIX is not a setting; did you mean SHOAL_TABLE_PREFIX?'],
])('%j is refused', (env, words) => {
  const read = (): unknown => readConfig({ ...listening, ...env });
  expect(read).toThrow(ConfigError);
  expect(read).toThrow(words);
});

test('cluster keys are read from variables or files, and no complaint has a word of them', () => {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const [first, second] = clusterKeys;
  writeFileSync(join(folder, 'key'), `${first}\n`);
  const env = { ...listening, SHOAL_CLUSTER_KEY_FILE: join(folder, 'key') };
  expect(readConfig(env).mesh).toEqual({ keys: [clusterKey(first)], host: '127.0.0.1', port: 0, address: undefined });
  const place = { SHOAL_MESH_HOST: '::', SHOAL_MESH_PORT: '7883', SHOAL_MESH_ADDRESS: '[fd00::1]:7883' };
  const read = readConfig({ ...env, SHOAL_CLUSTER_KEY_2: second, ...place }).mesh;
  const keys = [clusterKey(first), clusterKey(second)];
  expect(read).toEqual({ keys, host: '::', port: 7883, address: '[fd00::1]:7883' });
  const misspelt = (): unknown => readConfig({ ...listening, SHOAL_CLUSTER_KEY: 'a secret that is short' });
  expect(misspelt).toThrow(expect.not.objectContaining({ message: expect.stringContaining('a secret') }));
});

test('a second certificate stands behind the first, each with its key', () => {
  const env = { SHOAL_TLS_CERT: 'c1', SHOAL_TLS_KEY: 'k1', SHOAL_TLS_CERT_2: 'c2', SHOAL_TLS_KEY_2: 'k2' };
  const { tls } = readConfig({ ...listening, ...env });
  expect(tls?.cert.map(String)).toEqual(['c1', 'c2']);
  expect(tls?.key.map(String)).toEqual(['k1', 'k2']);
});

test('a broker serves together with others when it is told to', () => {
  const together = { ...listening, SHOAL_CLUSTER_KEY: clusterKeys[0], SHOAL_CLUSTER_PREVIEW: 'true' };
  expect(readConfig(together).servesTogether).toBe(true);
  expect(readConfig({ ...together, SHOAL_CLUSTER_PREVIEW: 'false' }).servesTogether).toBe(false);
});

test('every tuning setting has its own default within its bounds', () => {
  for (const { min, max, fallback } of Object.values(tuning)) {
    expect(fallback).toBeGreaterThanOrEqual(min);
    expect(fallback).toBeLessThanOrEqual(max);
  }
});
