/**
 * What a person can choose: flags, and `SHOAL_*` variables of the same names. A flag wins over its variable, a variable
 * over the default; an empty variable counts as absent. What tunes the broker has a variable only, and the broker judges
 * its value. Called once by `main.ts`; nothing else reads the environment.
 */
import { isIP } from 'node:net';
import { isAbsolute, resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import npmPackage from '../../package.json' with { type: 'json' };
import { nearestName } from '../kernel/kernel.js';
import { StartFailure } from './failure.js';

export const listeners = ['mqtt', 'mqtts', 'ws', 'wss', 'api'] as const;
export type Listener = (typeof listeners)[number];

export interface Settings {
  /** Absolute. */
  readonly dataFolder: string;
  /** False when `dataFolder` is only the default. */
  readonly dataFolderGiven: boolean;
  /** Nothing is kept: tables in memory and, unless a data folder was given, every file in a folder that is removed. */
  readonly ephemeral: boolean;
  readonly host: string;
  /** The host that clients are told to connect to; undefined: what follows from `host`. */
  readonly publicHost: string | undefined;
  /** 0 picks a free port. */
  readonly ports: Readonly<Record<Listener, number>>;
  readonly operatorKey: string | undefined;
  /** Processes; several are behind the front door. */
  readonly brokers: number;
  /** Several brokers serve at once, as far as the broker knows how to; as it was given, and for several alone. */
  readonly clusterPreview: string | undefined;
  /** Networks of load balancers in front of the broker, as it judges them itself. */
  readonly trustProxy: string | undefined;
  readonly logLevel: string;
  /** Variables for the broker, as they were given. */
  readonly brokerEnv: Readonly<Record<string, string>>;
}

/** The broker's own table of them is `services/broker/config.ts`. */
export const brokerVariables = [
  'SHOAL_CONNECTIONS_MAX',
  'SHOAL_HOLD_BACK_MS',
  'SHOAL_IN_FLIGHT_MAX',
  'SHOAL_KEEP_ALIVE_SECONDS_MAX',
  'SHOAL_NEWCOMERS_PERCENT_MAX',
  'SHOAL_NEWCOMERS_PER_ADDRESS_PERCENT_MAX',
  'SHOAL_PERSIST_DELAY_MS',
  'SHOAL_PUBLISH_REVOKED_WILLS',
  'SHOAL_TOPIC_LEVELS_MAX',
  'SHOAL_UNSAFE_MB_MAX',
  'SHOAL_WS_AT_ROOT',
];

const previewVariable = 'SHOAL_CLUSTER_PREVIEW';

const brokerWords = `To tune the broker, set these variables (see docs/settings.md):\n  ${brokerVariables.join('\n  ')}`;

/** Not for this program, but in the environment of people who use it: the banner's commands, and settings of tests. */
const othersVariables = /^SHOAL_(API_KEY|PASSWORD|(TEST|CRASH|ISOLATION|DIFFERENTIAL)_\w+)$/;

/**
 * Each needs a core when it is busy, 100 MB when it is not, and starts beside all others; one serves, so that more than a second and
 * a third one only wait.
 */
const brokersMax = 8;

/** It opens every tenant: not shorter than what nobody guesses, in any alphabet. */
const operatorKeyCharactersMin = 16;

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'];

export const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::';

interface Row {
  readonly flag: string;
  readonly value: string;
  readonly fallback?: string;
  readonly words: string;
}

const rows: readonly Row[] = [
  { flag: 'data', value: 'folder', fallback: '.shoal', words: 'folder for all durable data' },
  { flag: 'host', value: 'address', fallback: '127.0.0.1', words: 'address that every listener binds to' },
  { flag: 'public-host', value: 'name', words: 'host name or address given to clients and put into the certificate' },
  { flag: 'mqtt-port', value: 'port', fallback: '1883', words: 'MQTT over plain TCP' },
  { flag: 'mqtts-port', value: 'port', fallback: '8883', words: 'MQTT over TLS' },
  { flag: 'ws-port', value: 'port', fallback: '8083', words: 'MQTT over WebSocket, path /mqtt' },
  { flag: 'wss-port', value: 'port', fallback: '8084', words: 'MQTT over secure WebSocket, path /mqtt' },
  { flag: 'api-port', value: 'port', fallback: '8080', words: 'tenant API' },
  {
    flag: 'brokers',
    value: 'number',
    fallback: '1',
    words: `broker processes, up to ${brokersMax}; the others stand by`,
  },
  { flag: 'operator-key', value: 'key', words: 'operator key; by default generated and kept in the data folder' },
  {
    flag: 'trust-proxy',
    value: 'cidrs',
    words: 'addresses of load balancers, which begin each MQTT connection with a PROXY protocol header',
  },
  { flag: 'log-level', value: 'level', fallback: 'warn', words: logLevels.join(', ') },
];

const variableOf = (flag: string): string => `SHOAL_${flag.toUpperCase().replaceAll('-', '_')}`;
const propertyOf = (flag: string): string => flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());

export interface Invocation {
  /** Without `node` and the script. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/** The settings, or the text that `--help` or `--version` asks for. Throws StartFailure for what cannot be understood. */
export function readSettings({ args, env, cwd }: Invocation): Settings | { readonly help: string } {
  const program = commandLine();
  try {
    program.parse([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.version') return { help: `${npmPackage.version}\n` };
    if (error.code === 'commander.helpDisplayed') return { help: `${program.helpInformation()}\n${brokerWords}\n` };
    // npm takes flags without `--` for its own, and hands on what is left of them: their values.
    const hint =
      error.code === 'commander.excessArguments' ? 'put flags after `npm start --`' : '--help lists the flags';
    throw new StartFailure(`${oneLine(error.message).replace(/^error: /, '')} (${hint})`);
  }
  const given = program.opts<Record<string, string | boolean | undefined>>();

  const chosen = (flag: string): Choice | undefined => {
    const flagged = given[propertyOf(flag)];
    if (typeof flagged === 'string') return { value: flagged, from: `--${flag}` };
    const variable = env[variableOf(flag)];
    if (variable !== undefined && variable !== '') return { value: variable, from: variableOf(flag) };
    return undefined;
  };
  const text = (flag: string): string => chosen(flag)?.value ?? rows.find((row) => row.flag === flag)?.fallback ?? '';

  for (const { flag } of rows) {
    const choice = chosen(flag);
    if (choice?.value.trim() === '') throw new StartFailure(`${choice.from} is empty`);
  }
  refuseUnknown(env);
  const dataFolder = text('data');
  return {
    dataFolder: isAbsolute(dataFolder) ? dataFolder : resolve(cwd, dataFolder),
    dataFolderGiven: chosen('data') !== undefined,
    ephemeral: given['ephemeral'] === true || truth(variableOf('ephemeral'), env[variableOf('ephemeral')]),
    host: text('host'),
    publicHost: publicHostOf(chosen('public-host')),
    ports: distinct({
      mqtt: portOf('mqtt-port', chosen('mqtt-port') ?? text('mqtt-port')),
      mqtts: portOf('mqtts-port', chosen('mqtts-port') ?? text('mqtts-port')),
      ws: portOf('ws-port', chosen('ws-port') ?? text('ws-port')),
      wss: portOf('wss-port', chosen('wss-port') ?? text('wss-port')),
      api: portOf('api-port', chosen('api-port') ?? text('api-port')),
    }),
    operatorKey: operatorKeyOf(chosen('operator-key')),
    ...brokersOf(chosen('brokers'), chosen('trust-proxy'), env[previewVariable] || undefined),
    logLevel: logLevelOf(chosen('log-level')?.from, text('log-level')),
    brokerEnv: brokerEnvOf(env),
  };
}

/** A setting whose name is misspelt would be left out in silence. */
function refuseUnknown(env: Invocation['env']): void {
  const known = [
    ...rows.map(({ flag }) => variableOf(flag)),
    variableOf('ephemeral'),
    previewVariable,
    ...brokerVariables,
  ];
  for (const name of Object.keys(env)) {
    if (!name.startsWith('SHOAL_') || known.includes(name) || othersVariables.test(name)) continue;
    const meant = nearestName(name, known);
    throw new StartFailure(`${name} is not a setting${meant === undefined ? '' : `; did you mean ${meant}?`}`);
  }
}

function brokerEnvOf(env: Invocation['env']): Readonly<Record<string, string>> {
  return Object.fromEntries(brokerVariables.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
}

function commandLine(): Command {
  const program = new Command('npm start --')
    .description('Shoal on this machine: embedded DynamoDB, brokers (one by default) and the tenant API.')
    .version(npmPackage.version)
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} });
  for (const { flag, value, fallback, words } of rows) {
    const shown = fallback === undefined ? '' : `, default ${fallback}`;
    program.addOption(new Option(`--${flag} <${value}>`, `${words} (${variableOf(flag)}${shown})`));
  }
  return program.option('--ephemeral', `keep nothing on disk (${variableOf('ephemeral')})`);
}

/** A value, and what to call it in a complaint. */
interface Choice {
  readonly value: string;
  readonly from: string;
}

const oneLine = (message: string): string => message.split('\n').join(' ');

function portOf(flag: string, choice: Choice | string): number {
  const { value, from } = typeof choice === 'string' ? { value: choice, from: `--${flag}` } : choice;
  const port = /^\d{1,5}$/.test(value) ? Number(value) : NaN;
  if (!(port <= 65_535)) throw new StartFailure(`${from} ${value} is not a port; use 0 to 65535 (0 picks a free one)`);
  return port;
}

function distinct(ports: Record<Listener, number>): Record<Listener, number> {
  const seen = new Map<number, Listener>();
  for (const listener of listeners) {
    const port = ports[listener];
    const other = seen.get(port);
    if (other !== undefined) throw new StartFailure(`--${other}-port and --${listener}-port are both ${port}`);
    if (port !== 0) seen.set(port, listener);
  }
  return ports;
}

function publicHostOf(choice: Choice | undefined): string | undefined {
  if (choice === undefined) return undefined;
  const { value, from } = choice;
  const isName = value.length <= 253 && /^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/i.test(value) && !/^[\d.]+$/.test(value);
  if (isName || (isIP(value) !== 0 && !isWildcard(value))) return value;
  throw new StartFailure(`${from} ${value} is not a host name or an address that clients can connect to`);
}

function brokersOf(
  choice: Choice | undefined,
  proxies: Choice | undefined,
  clusterPreview: string | undefined,
): Pick<Settings, 'brokers' | 'trustProxy' | 'clusterPreview'> {
  const brokers = choice === undefined ? 1 : /^\d{1,3}$/.test(choice.value) ? Number(choice.value) : NaN;
  if (!(brokers >= 1 && brokers <= brokersMax))
    throw new StartFailure(`${choice?.from} ${choice?.value} is not a number of brokers; use 1 to ${brokersMax}`);
  if (brokers > 1 && proxies !== undefined)
    throw new StartFailure(
      `${proxies.from} is for a load balancer in front of one broker, and ${choice?.from} ${brokers} brings one of its own; leave one of them out`,
    );
  if (brokers === 1 && clusterPreview !== undefined)
    throw new StartFailure(`${previewVariable} is for several brokers; add --brokers 2, or leave it out`);
  return { brokers, trustProxy: proxies?.value, clusterPreview };
}

/** The key itself is in no complaint: they end up in logs. */
function operatorKeyOf(choice: Choice | undefined): string | undefined {
  if (choice === undefined || choice.value.trim().length >= operatorKeyCharactersMin) return choice?.value;
  throw new StartFailure(`${choice.from} is too short; use at least ${operatorKeyCharactersMin} characters`);
}

function logLevelOf(from: string | undefined, level: string): string {
  if (logLevels.includes(level)) return level;
  throw new StartFailure(`${from ?? '--log-level'} ${level} is not one of ${logLevels.join(', ')}`);
}

function truth(variable: string, value: string | undefined): boolean {
  if (value === undefined || ['', '0', 'false', 'no'].includes(value)) return false;
  if (['1', 'true', 'yes'].includes(value)) return true;
  throw new StartFailure(`${variable} ${value} is neither true nor false`);
}
