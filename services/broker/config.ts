/** The broker's settings, from its environment. The only file that reads it. */
import { readFileSync } from 'node:fs';
import type { BlockList } from 'node:net';
import { nearestName } from '../kernel/kernel.js';
import { topicBytesMax, topicLevelsMax } from '../topic/topic.js';
import { clusterKey, type ClusterKeys, keyCharactersMin, reachableHost, readAddress } from './mesh/mesh.js';
import { trustedProxies } from './transport/transport.js';

export interface Config {
  readonly dynamo: { readonly endpoint?: string; readonly region: string; readonly tablePrefix: string };
  readonly host: string;
  /** Undefined: no such listener. 0: any free port. */
  readonly ports: Readonly<Record<'mqtt' | 'mqtts' | 'ws' | 'wss', number | undefined>>;
  /** Where health and metrics are served. */
  readonly health: { readonly host: string; readonly port: number };
  /** PEM of one pair or two: the second for a key of another kind. */
  readonly tls: { readonly cert: Buffer[]; readonly key: Buffer[] } | undefined;
  /** When given, only these connect, and say who the client is with a PROXY protocol header. */
  readonly trustedProxies: BlockList | undefined;
  /** Links to the other brokers; undefined: there are none. */
  readonly mesh: MeshConfig | undefined;
  /** Together with other brokers that do; otherwise others stand by. */
  readonly servesTogether: boolean;
  readonly logLevel: string;
  /** The stage that the lines with metrics name; undefined: there are none. */
  readonly emfStage: string | undefined;
  /** A stop sends clients away one after the other, in this time at most. */
  readonly drainMsMax: number;
  /** Sockets of all listeners. */
  readonly connectionsMax: number;
  /** Of these, sockets whose CONNECT is not complete, and the same of one address. */
  readonly newcomersPercentMax: number;
  readonly newcomersPerAddressPercentMax: number;
  /** Most QoS 1 and 2 messages under way to a client, whatever it takes. */
  readonly inFlightMax: number;
  /** Of topics, filters and wills. */
  readonly topicLevelsMax: number;
  /** How long a subscriber that is slower than its publishers may slow them before messages are dropped; 0: not at all. */
  readonly holdBackMs: number;
  /** How long an online subscriber may take to acknowledge before its messages are stored. */
  readonly persistDelayMs: number;
  /** Bytes of messages that a tenant may have on their way to safety before its publishers have to wait. */
  readonly unsafeBytesMax: number;
  /** MQTT over WebSocket is at `/`, too. */
  readonly isWebSocketAtRoot: boolean;
  /** Longest keep alive a client may choose, in seconds; 0 leaves it to the client. */
  readonly keepAliveSecondsMax: number;
  /** Wills of clients whose credential has been deleted, or whose tenant is suspended, are published nevertheless. */
  readonly publishesRevokedWills: boolean;
}

export interface MeshConfig {
  readonly keys: ClusterKeys;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** `host:port` that others dial; undefined: what is listened on. */
  readonly address: string | undefined;
  /** Where ECS says the address instead (`task-address.ts`). */
  readonly metadataUrl?: string;
}

/** A setting that cannot be used; the message names it and says what would do. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

type Environment = Readonly<Record<string, string | undefined>>;

interface Range {
  readonly min: number;
  readonly max: number;
  readonly fallback: number;
}

/** What an operator may tune. `npm start` hands these on (`services/local/settings.ts` names them, too). */
export const tuning = {
  /** NLB, task size and file descriptors are planned for the default. */
  SHOAL_CONNECTIONS_MAX: { min: 1, max: 1_000_000, fallback: 50_000 },
  /** Shorter than what clients wait for an acknowledgement before they take the connection for broken. */
  SHOAL_HOLD_BACK_MS: { min: 0, max: 60_000, fallback: 5000 },
  /** Half of the packet identifiers of QoS 1 or 2, so that one is always free; the bytes of the window end it before. */
  SHOAL_IN_FLIGHT_MAX: { min: 1, max: 16_383, fallback: 16_383 },
  SHOAL_KEEP_ALIVE_SECONDS_MAX: { min: 0, max: 65_535, fallback: 0 },
  /** More than a broker lets in within their 10 s: of 50 000 that come at once none is refused for want of a place here. */
  SHOAL_NEWCOMERS_PERCENT_MAX: { min: 1, max: 100, fallback: 80 },
  /** Behind a NAT, or a balancer that does not say who the client is, many have one address. */
  SHOAL_NEWCOMERS_PER_ADDRESS_PERCENT_MAX: { min: 1, max: 100, fallback: 50 },
  SHOAL_PERSIST_DELAY_MS: { min: 0, max: 10_000, fallback: 50 },
  SHOAL_PUBLISH_REVOKED_WILLS: { min: 0, max: 1, fallback: 0 },
  /** `$SYS` topics have five; and no more fit into a topic than it has bytes. */
  SHOAL_TOPIC_LEVELS_MAX: { min: 8, max: topicBytesMax, fallback: topicLevelsMax },
  SHOAL_UNSAFE_MB_MAX: { min: 1, max: 65_536, fallback: 64 },
  /** Many clients have no field for the path, or leave it out; nothing else is there. */
  SHOAL_WS_AT_ROOT: { min: 0, max: 1, fallback: 1 },
} as const satisfies Record<string, Range>;

/** Not for `npm start`. Fargate kills a task 120 s after it has asked it to stop, and what follows the drain takes some. */
const drainSeconds: Range = { min: 0, max: 100, fallback: 100 };

const names = [
  ...['SHOAL_DYNAMODB_ENDPOINT', 'SHOAL_TABLE_PREFIX', 'SHOAL_HOST', 'SHOAL_HEALTH_HOST', 'SHOAL_HEALTH_PORT'],
  ...['SHOAL_MQTT_PORT', 'SHOAL_MQTTS_PORT', 'SHOAL_WS_PORT', 'SHOAL_WSS_PORT'],
  ...['SHOAL_TLS_CERT_FILE', 'SHOAL_TLS_KEY_FILE', 'SHOAL_TLS_CERT', 'SHOAL_TLS_KEY', 'SHOAL_TRUST_PROXY'],
  ...['SHOAL_TLS_CERT_2_FILE', 'SHOAL_TLS_KEY_2_FILE', 'SHOAL_TLS_CERT_2', 'SHOAL_TLS_KEY_2'],
  ...['SHOAL_CLUSTER_KEY', 'SHOAL_CLUSTER_KEY_FILE', 'SHOAL_CLUSTER_KEY_2', 'SHOAL_CLUSTER_KEY_2_FILE'],
  ...['SHOAL_MESH_HOST', 'SHOAL_MESH_PORT', 'SHOAL_MESH_ADDRESS', 'SHOAL_CLUSTER_PREVIEW'],
  ...['SHOAL_LOG_LEVEL', 'SHOAL_METRICS_EMF', 'SHOAL_STAGE', 'SHOAL_DRAIN_SECONDS'],
  ...Object.keys(tuning),
];

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'];

/** An empty variable counts as absent. Throws ConfigError. */
export function readConfig(given: Environment): Config {
  const env = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''));
  for (const name of Object.keys(env)) if (name.startsWith('SHOAL_') && !names.includes(name)) throw unknown(name);
  const ports = {
    mqtt: port(env, 'SHOAL_MQTT_PORT'),
    mqtts: port(env, 'SHOAL_MQTTS_PORT'),
    ws: port(env, 'SHOAL_WS_PORT'),
    wss: port(env, 'SHOAL_WSS_PORT'),
  };
  if (Object.values(ports).every((value) => value === undefined))
    throw new ConfigError('no listener: set SHOAL_MQTTS_PORT, SHOAL_WSS_PORT, SHOAL_MQTT_PORT or SHOAL_WS_PORT');
  const tls = readTls(env);
  if (!tls && (ports.mqtts !== undefined || ports.wss !== undefined))
    throw new ConfigError('SHOAL_MQTTS_PORT and SHOAL_WSS_PORT need SHOAL_TLS_CERT_FILE and SHOAL_TLS_KEY_FILE');
  const host = env['SHOAL_HOST'] ?? '127.0.0.1';
  return {
    dynamo: readDynamo(env),
    host,
    ports,
    health: { host: env['SHOAL_HEALTH_HOST'] ?? host, port: port(env, 'SHOAL_HEALTH_PORT') ?? 0 },
    tls,
    trustedProxies: readTrustedProxies(env['SHOAL_TRUST_PROXY']),
    mesh: readMesh(env, host),
    servesTogether: readTogether(env),
    logLevel: readLogLevel(env),
    emfStage: readEmfStage(env),
    drainMsMax: ranged(env, 'SHOAL_DRAIN_SECONDS', drainSeconds) * 1000,
    connectionsMax: tuned(env, 'SHOAL_CONNECTIONS_MAX'),
    newcomersPercentMax: tuned(env, 'SHOAL_NEWCOMERS_PERCENT_MAX'),
    newcomersPerAddressPercentMax: tuned(env, 'SHOAL_NEWCOMERS_PER_ADDRESS_PERCENT_MAX'),
    inFlightMax: tuned(env, 'SHOAL_IN_FLIGHT_MAX'),
    topicLevelsMax: tuned(env, 'SHOAL_TOPIC_LEVELS_MAX'),
    holdBackMs: tuned(env, 'SHOAL_HOLD_BACK_MS'),
    persistDelayMs: tuned(env, 'SHOAL_PERSIST_DELAY_MS'),
    unsafeBytesMax: tuned(env, 'SHOAL_UNSAFE_MB_MAX') * (1 << 20),
    isWebSocketAtRoot: tuned(env, 'SHOAL_WS_AT_ROOT') === 1,
    keepAliveSecondsMax: tuned(env, 'SHOAL_KEEP_ALIVE_SECONDS_MAX'),
    publishesRevokedWills: tuned(env, 'SHOAL_PUBLISH_REVOKED_WILLS') === 1,
  };
}

function unknown(name: string): ConfigError {
  const meant = nearestName(name, names);
  return new ConfigError(`${name} is not a setting${meant === undefined ? '' : `; did you mean ${meant}?`}`);
}

function readDynamo(env: Environment): Config['dynamo'] {
  const endpoint = env['SHOAL_DYNAMODB_ENDPOINT'];
  if (endpoint !== undefined && !(/^https?:\/\//.test(endpoint) && URL.canParse(endpoint)))
    throw new ConfigError(`SHOAL_DYNAMODB_ENDPOINT=${endpoint} is not a URL; use http://host:port`);
  const tablePrefix = env['SHOAL_TABLE_PREFIX'] ?? 'shoal-';
  if (!/^[a-zA-Z0-9_.-]{1,200}$/.test(tablePrefix))
    throw new ConfigError(`SHOAL_TABLE_PREFIX=${tablePrefix} may only contain letters, digits, _ . and -`);
  return { ...(endpoint !== undefined && { endpoint }), region: env['AWS_REGION'] ?? 'us-east-1', tablePrefix };
}

function readTls(env: Environment): Config['tls'] {
  const first = readPair(env, '');
  const second = readPair(env, '_2');
  if (!first && second)
    throw new ConfigError('SHOAL_TLS_CERT_2_FILE is for a second certificate; set SHOAL_TLS_CERT_FILE');
  const pairs = [first, second].filter((pair) => pair !== undefined);
  return first && { cert: pairs.map(({ cert }) => cert), key: pairs.map(({ key }) => key) };
}

function readPair(env: Environment, suffix: string): { readonly cert: Buffer; readonly key: Buffer } | undefined {
  const [cert, key] = [`SHOAL_TLS_CERT${suffix}`, `SHOAL_TLS_KEY${suffix}`];
  const isGiven = (name: string): boolean => env[name] !== undefined || env[`${name}_FILE`] !== undefined;
  if (!isGiven(cert) && !isGiven(key)) return undefined;
  if (!isGiven(cert) || !isGiven(key)) throw new ConfigError(`${cert}_FILE and ${key}_FILE belong together; set both`);
  return { cert: secret(env, cert), key: secret(env, key) };
}

/** No word of a key is in a complaint: they end up in logs. */
function readMesh(env: Environment, fallbackHost: string): MeshConfig | undefined {
  const [first, second] = [readKey(env, 'SHOAL_CLUSTER_KEY'), readKey(env, 'SHOAL_CLUSTER_KEY_2')];
  if (!first) {
    const given = ['SHOAL_MESH_HOST', 'SHOAL_MESH_PORT', 'SHOAL_MESH_ADDRESS'].find((name) => env[name] !== undefined);
    const name = second ? 'SHOAL_CLUSTER_KEY_2' : given;
    if (name !== undefined) throw new ConfigError(`${name} needs SHOAL_CLUSTER_KEY, which all brokers have in common`);
    return undefined;
  }
  if (second?.identity === first.identity)
    throw new ConfigError('SHOAL_CLUSTER_KEY_2 is the same as SHOAL_CLUSTER_KEY; leave it out');
  const host = env['SHOAL_MESH_HOST'] ?? fallbackHost;
  const keys: ClusterKeys = second ? [first, second] : [first];
  const place = { keys, host, port: port(env, 'SHOAL_MESH_PORT') ?? 0 };
  const address = env['SHOAL_MESH_ADDRESS'];
  if (address === 'ecs') return { ...place, address: undefined, metadataUrl: readMetadataUrl(env, place.port) };
  if (address !== undefined && !readAddress(address))
    throw new ConfigError(`SHOAL_MESH_ADDRESS=${address} is not host:port, [IPv6 address]:port or ecs`);
  if (address === undefined && reachableHost(host) === undefined)
    throw new ConfigError(
      `SHOAL_MESH_ADDRESS is needed: this machine has no address, or several, and ${host} is all of them`,
    );
  return { ...place, address };
}

function readMetadataUrl(env: Environment, meshPort: number): string {
  if (meshPort === 0)
    throw new ConfigError('SHOAL_MESH_ADDRESS=ecs needs SHOAL_MESH_PORT, which goes with the address');
  const url = env['ECS_CONTAINER_METADATA_URI_V4'];
  if (url !== undefined && /^http:\/\//.test(url) && URL.canParse(url)) return url;
  throw new ConfigError(
    'SHOAL_MESH_ADDRESS=ecs is for tasks of ECS, which have ECS_CONTAINER_METADATA_URI_V4; elsewhere set host:port',
  );
}

/** Not for production: docs/settings.md says what is missing. */
function readTogether(env: Environment): boolean {
  const wanted = env['SHOAL_CLUSTER_PREVIEW'] ?? 'false';
  if (wanted !== 'true' && wanted !== 'false')
    throw new ConfigError(`SHOAL_CLUSTER_PREVIEW=${wanted} is neither true nor false`);
  if (wanted === 'true' && !readKey(env, 'SHOAL_CLUSTER_KEY'))
    throw new ConfigError('SHOAL_CLUSTER_PREVIEW needs SHOAL_CLUSTER_KEY, which all brokers have in common');
  return wanted === 'true';
}

function readKey(env: Environment, name: string): ReturnType<typeof clusterKey> | undefined {
  if (env[name] === undefined && env[`${name}_FILE`] === undefined) return undefined;
  const text = secret(env, name).toString().trim();
  if (text.length < keyCharactersMin)
    throw new ConfigError(`${name} is too short; use at least ${keyCharactersMin} characters: openssl rand -base64 32`);
  return clusterKey(text);
}

/** In a file, or in the variable itself: a task has it from a secret and no file system to write to. */
function secret(env: Environment, name: string): Buffer {
  const text = env[name];
  const path = env[`${name}_FILE`];
  if (text !== undefined && path !== undefined)
    throw new ConfigError(`${name} and ${name}_FILE exclude each other; set one`);
  return text !== undefined ? Buffer.from(text) : file(`${name}_FILE`, path!);
}

function readTrustedProxies(text: string | undefined): BlockList | undefined {
  if (text === undefined) return undefined;
  const trusted = trustedProxies(text);
  if (!('notANetwork' in trusted)) return trusted;
  const what = trusted.notANetwork === '' ? 'an empty part' : `${trusted.notANetwork}, which is not a network`;
  throw new ConfigError(`SHOAL_TRUST_PROXY=${text} has ${what}; use addresses or CIDRs such as 10.0.0.0/16,fd00::/8`);
}

/** Alarms look for metrics of their own stage: with a default they would find none, and say nothing. */
function readEmfStage(env: Environment): string | undefined {
  const wanted = env['SHOAL_METRICS_EMF'] ?? '0';
  if (wanted !== '0' && wanted !== '1') throw new ConfigError(`SHOAL_METRICS_EMF=${wanted} is neither 0 nor 1`);
  const stage = env['SHOAL_STAGE'];
  if (stage !== undefined && !/^[a-zA-Z0-9_-]{1,64}$/.test(stage))
    throw new ConfigError(`SHOAL_STAGE=${stage} may only contain letters, digits, _ and -, at most 64`);
  if (wanted === '0') return undefined;
  if (stage === undefined) throw new ConfigError('SHOAL_METRICS_EMF=1 needs SHOAL_STAGE, a dimension of its metrics');
  return stage;
}

function readLogLevel(env: Environment): string {
  const level = env['SHOAL_LOG_LEVEL'] ?? 'info';
  if (logLevels.includes(level)) return level;
  throw new ConfigError(`SHOAL_LOG_LEVEL=${level} is not one of ${logLevels.join(', ')}`);
}

function port(env: Environment, name: string): number | undefined {
  const text = env[name];
  return text === undefined ? undefined : number(name, text, { min: 0, max: 65_535 });
}

function tuned(env: Environment, name: keyof typeof tuning): number {
  return ranged(env, name, tuning[name]);
}

function ranged(env: Environment, name: string, range: Range): number {
  const text = env[name];
  return text === undefined ? range.fallback : number(name, text, range);
}

function number(name: string, text: string, { min, max }: Pick<Range, 'min' | 'max'>): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw new ConfigError(`${name}=${text} is not a number from ${min} to ${max}`);
}

function file(name: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigError(`${name}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
