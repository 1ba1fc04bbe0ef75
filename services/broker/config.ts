/** The broker's settings, from its environment. The only file that reads it. */
import { readFileSync } from 'node:fs';

export interface Config {
  readonly dynamo: { readonly endpoint?: string; readonly region: string; readonly tablePrefix: string };
  readonly host: string;
  /** Undefined: no such listener. 0: any free port. */
  readonly ports: Readonly<Record<'mqtt' | 'mqtts' | 'ws' | 'wss', number | undefined>>;
  /** Where health and metrics are served. */
  readonly health: { readonly host: string; readonly port: number };
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly logLevel: string;
  readonly connectionsMax: number;
  /** How long an online subscriber may take to acknowledge before its messages are stored. */
  readonly persistDelayMs: number;
  /** Bytes of messages that a tenant may have on their way to safety before its publishers have to wait. */
  readonly unsafeBytesMax: number;
  /** Longest keep alive a client may choose, in seconds; 0 leaves it to the client. */
  readonly keepAliveSecondsMax: number;
}

/** A setting that cannot be used; the message names it and says what would do. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** NLB, task size and file descriptors are planned for this many connections a broker. */
const connectionsMaxDefault = 50_000;

export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const endpoint = env['SHOAL_DYNAMODB_ENDPOINT'];
  const host = env['SHOAL_HOST'] ?? '127.0.0.1';
  const ports = {
    mqtt: port(env, 'SHOAL_MQTT_PORT'),
    mqtts: port(env, 'SHOAL_MQTTS_PORT'),
    ws: port(env, 'SHOAL_WS_PORT'),
    wss: port(env, 'SHOAL_WSS_PORT'),
  };
  const certFile = env['SHOAL_TLS_CERT_FILE'];
  const keyFile = env['SHOAL_TLS_KEY_FILE'];
  const tls =
    certFile !== undefined && keyFile !== undefined
      ? { cert: file('SHOAL_TLS_CERT_FILE', certFile), key: file('SHOAL_TLS_KEY_FILE', keyFile) }
      : undefined;
  if (!tls && (ports.mqtts !== undefined || ports.wss !== undefined))
    throw new ConfigError('SHOAL_MQTTS_PORT and SHOAL_WSS_PORT need SHOAL_TLS_CERT_FILE and SHOAL_TLS_KEY_FILE');
  return {
    dynamo: {
      ...(endpoint && { endpoint }),
      region: env['AWS_REGION'] ?? 'us-east-1',
      tablePrefix: env['SHOAL_TABLE_PREFIX'] ?? 'shoal-',
    },
    host,
    ports,
    health: { host: env['SHOAL_HEALTH_HOST'] ?? host, port: port(env, 'SHOAL_HEALTH_PORT') ?? 0 },
    tls,
    logLevel: env['SHOAL_LOG_LEVEL'] ?? 'info',
    connectionsMax: number(env, 'SHOAL_CONNECTIONS_MAX', 1, 1_000_000) ?? connectionsMaxDefault,
    persistDelayMs: number(env, 'SHOAL_PERSIST_DELAY_MS', 0, 10_000) ?? 50,
    unsafeBytesMax: (number(env, 'SHOAL_UNSAFE_MB_MAX', 1, 65_536) ?? 64) << 20,
    keepAliveSecondsMax: number(env, 'SHOAL_KEEP_ALIVE_SECONDS_MAX', 0, 65_535) ?? 0,
  };
}

function port(env: Readonly<Record<string, string | undefined>>, name: string): number | undefined {
  return number(env, name, 0, 65_535);
}

function number(
  env: Readonly<Record<string, string | undefined>>,
  name: string,
  min: number,
  max: number,
): number | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max)
    throw new ConfigError(`${name}=${text} is not a number from ${min} to ${max}`);
  return value;
}

function file(name: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigError(`${name}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
