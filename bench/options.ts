/** The command line of `npm run bench`. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { DatabaseChoice, ShoalOptions } from './brokers/broker.js';
import { brokers } from './brokers/brokers.js';
import { attacks, type AttackName } from '../test/neighbours/attacks/attacks.js';
import { groups, scenarios } from './scenarios.js';
import { trials } from './trials/trials.js';
import type { TrialOptions } from './trials/trial.js';

export interface Options {
  readonly scenarios: readonly string[];
  /** Instead of scenarios, or after them. */
  readonly neighbours?: NeighbourOptions;
  /** Names of trials. */
  readonly trials: readonly string[];
  readonly sizes: Pick<TrialOptions, 'devices' | 'sessions' | 'tenants'>;
  /** A checkout whose service is measured by trials and attacked by neighbours; the own one unless given. */
  readonly brokerRoot?: string;
  readonly brokers: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly version: 4 | 5;
  readonly quotas: ShoalOptions['quotas'];
  readonly database: DatabaseChoice;
  readonly profile: boolean;
  readonly json?: string;
}

export interface NeighbourOptions {
  readonly attacks: readonly AttackName[];
  readonly seconds: number;
}

/** Not a scenario: other things are measured, of Shoal alone. */
const neighbours = 'neighbours';
const neighbourSeconds = '8';

export const usage = `npm run bench -- [options]
  --only <scenario,...>   ${[...Object.keys({ ...scenarios, ...groups, ...trials }), neighbours].join(', ')}
  --brokers <name,...>    ${Object.keys(brokers).join(', ')} (default shoal,mosquitto,aedes)
  --rounds <n>            rounds, brokers in turn in each (default 3)
  --seconds <n>           measured time (default 4; neighbours: 8)
  --warm-up <n>           seconds before it (default 2)
  --mqtt <4|5>            protocol version (default 4, which is MQTT 3.1.1)
  --quotas <high|none>    of Shoal's tenant: every meter in use, or no limit at all (default high)
  --database <name>       fast (bench/database; default of trials), dynalite
  --delay <ms>            from request to answer, of the fast database (default 0)
  --profile               CPU profile of Shoal's broker process: prints where its time went
  --json <file>           every single measurement
  --attacks <name,...>    of neighbours: ${Object.keys(attacks).join(', ')}
  --broker-root <dir>     another checkout, with its packages: measured by trials and neighbours, and as the broker shoal-before
  --devices <n>           of connect and storm (default 2000)
  --sessions <n>          of restart (default 1000) and away-memory (at least 20 000)
  --tenants <n>           of tenants (default 300)`;

/** Undefined when help is asked for. Throws an Error with one clear line. */
export function readOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: Object.keys(scenarios).join(',') },
      brokers: { type: 'string', default: 'shoal,mosquitto,aedes' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string', default: '2' },
      mqtt: { type: 'string', default: '4' },
      quotas: { type: 'string', default: 'high' },
      devices: { type: 'string', default: '2000' },
      sessions: { type: 'string', default: '1000' },
      tenants: { type: 'string', default: '300' },
      database: { type: 'string' },
      delay: { type: 'string', default: '0' },
      profile: { type: 'boolean', default: false },
      json: { type: 'string' },
      attacks: { type: 'string', default: Object.keys(attacks).join(',') },
      'broker-root': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const only = names('--only', values.only, { ...scenarios, ...groups, ...trials, [neighbours]: neighbours });
  return {
    scenarios: only.filter((name) => name in scenarios || name in groups).flatMap((name) => groups[name] ?? [name]),
    trials: only.filter((name) => name in trials),
    sizes: {
      devices: positive('--devices', values.devices),
      sessions: positive('--sessions', values.sessions),
      tenants: positive('--tenants', values.tenants),
    },
    ...(values['broker-root'] !== undefined && { brokerRoot: resolve(values['broker-root']) }),
    ...(only.includes(neighbours) && {
      neighbours: {
        attacks: names('--attacks', values.attacks, attacks) as AttackName[],
        seconds: positive('--seconds', values.seconds ?? neighbourSeconds),
      },
    }),
    brokers: names('--brokers', values.brokers, brokers),
    rounds: positive('--rounds', values.rounds),
    seconds: positive('--seconds', values.seconds ?? '4'),
    warmUpSeconds: positive('--warm-up', values['warm-up']),
    version: oneOf('--mqtt', values.mqtt, ['4', '5']) === '5' ? 5 : 4,
    quotas: oneOf('--quotas', values.quotas, ['high', 'none']),
    database: {
      engine: oneOf('--database', values.database ?? databaseDefault(only), ['fast', 'dynalite']),
      delayMs: notNegative('--delay', values.delay),
    },
    profile: values.profile,
    ...(values.json !== undefined && { json: values.json }),
  };
}

/** Trials are about the broker and not about its database. */
const databaseDefault = (only: readonly string[]): string =>
  only.every((name) => name in trials) ? 'fast' : 'dynalite';

function names(flag: string, list: string, known: Readonly<Record<string, unknown>>): string[] {
  const chosen = list.split(',');
  const unknown = chosen.find((name) => !Object.hasOwn(known, name));
  if (unknown !== undefined) throw new Error(`${flag}: ${unknown} is none of ${Object.keys(known).join(', ')}`);
  return chosen;
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${flag}: ${text} is not a positive number`);
  return value;
}

function notNegative(flag: string, text: string): number {
  return text === '0' ? 0 : positive(flag, text);
}

function oneOf<const T extends string>(flag: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((value) => value === text);
  if (found === undefined) throw new Error(`${flag}: ${text} is none of ${allowed.join(', ')}`);
  return found;
}
