/** The command line of `npm run smoke`. Called by `main.ts`; it reads the files that it is told to read, and nothing else. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import type { Endpoints } from '../services/local/endpoints.js';
import { SmokeFailure } from './failure.js';

export interface Options {
  /** `https://…` of the tenant API, without a slash at its end. */
  readonly api: string;
  /** `mqtts://host:port`; what the API tells a new tenant when there is none. */
  readonly endpoint: string | undefined;
  /** `wss://host:port/path`; `true` for the one that belongs to the endpoint; undefined: not tried. */
  readonly wss: string | true | undefined;
  /** PEM of an authority that is trusted besides those of Node.js, and where it is from. */
  readonly ca: { readonly file: string; readonly pem: string } | undefined;
  readonly operatorKey: string | undefined;
  readonly stepTimeoutMs: number;
}

interface Given {
  readonly endpoint?: string;
  readonly api?: string;
  readonly wss?: string | true;
  readonly ca?: string;
  readonly operatorKey?: string;
  readonly local?: string | true;
  readonly timeout: string;
}

/** Throws SmokeFailure for what cannot be used; `{ help }` when that was asked for. */
export function readOptions(args: readonly string[]): Options | { readonly help: string } {
  let help = '';
  const command = new Command('npm run smoke --')
    .description('Signs up a throw-away tenant, connects over TLS, publishes, checks what arrives and cleans up.')
    .option('--api <url>', 'the tenant API: https://…')
    .option('--endpoint <url>', 'mqtts://host:port; default: what the API tells a new tenant')
    .option(
      '--wss [url]',
      'MQTT over WebSocket as well; default: what the API tells, or wss://<host of --endpoint>/mqtt',
    )
    .option('--ca <file>', 'PEM file of an authority to trust besides those of Node.js')
    .addOption(
      new Option('--operator-key <key>', 'signs up as the operator, without a limit').env('SHOAL_OPERATOR_KEY'),
    )
    .option('--local [folder]', 'API, endpoints and CA of a running `npm start`, from its data folder (.shoal)')
    .option('--timeout <seconds>', 'how long one step may take', '15')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => (help += text), writeErr: () => undefined });
  try {
    command.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.helpDisplayed') return { help };
    throw new SmokeFailure(`${error.message.replace(/^error: /, '').replaceAll('\n', ' ')}; see --help`);
  }
  return optionsOf(command.opts<Given>());
}

function optionsOf(given: Given): Options {
  const local = given.local === undefined ? undefined : localEndpoints(given.local === true ? '.shoal' : given.local);
  const api = given.api ?? local?.api.url;
  if (api === undefined)
    throw new SmokeFailure('tell which service: --api https://…, or --local for a running `npm start`');
  const caFile = given.ca ?? local?.caFile;
  const seconds = Number(given.timeout);
  if (!(seconds > 0 && seconds <= 600))
    throw new SmokeFailure(`--timeout ${given.timeout} is not a number from 1 to 600`);
  const wss = given.wss === true ? (local?.wss.url ?? true) : given.wss;
  return {
    api: urlOf('--api', api, ['https:', 'http:']).replace(/\/+$/, ''),
    endpoint: optionalUrl('--endpoint', given.endpoint ?? local?.mqtts.url, ['mqtts:']),
    wss: wss === true ? true : optionalUrl('--wss', wss, ['wss:']),
    ca: caFile === undefined ? undefined : { file: caFile, pem: pemOf(caFile) },
    operatorKey: given.operatorKey,
    stepTimeoutMs: seconds * 1000,
  };
}

const optionalUrl = (flag: string, text: string | undefined, schemes: readonly string[]): string | undefined =>
  text === undefined ? undefined : urlOf(flag, text, schemes);

function urlOf(flag: string, text: string, schemes: readonly string[]): string {
  const scheme = URL.canParse(text) ? new URL(text).protocol : '';
  if (schemes.includes(scheme)) return text;
  throw new SmokeFailure(
    `${flag} ${text} is not a URL that begins with ${schemes.map((one) => `${one}//`).join(' or ')}`,
  );
}

function pemOf(file: string): string {
  const pem = textOf(file, '--ca');
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  throw new SmokeFailure(`--ca ${file} is not a certificate in PEM form`);
}

function localEndpoints(folder: string): Endpoints {
  const file = join(folder, 'endpoints.json');
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Endpoints;
  } catch {
    throw new SmokeFailure(`--local: nothing runs with the data folder ${folder}; start it with \`npm start\``);
  }
}

function textOf(file: string, flag: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new SmokeFailure(`${flag} ${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}
