/**
 * The main process of `npm start`: reads the settings, starts the machine, prints the banner and stops everything on
 * Ctrl-C or SIGTERM. The only file here that prints or ends the process.
 */
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { banner } from './banner.js';
import { StartFailure } from './failure.js';
import { startMachine, type Machine } from './machine.js';
import { readSettings, type Settings } from './settings.js';

const say = (line: string): void => void process.stderr.write(`shoal: ${line}\n`);

/** A stop that takes longer makes people wonder. The broker gives its clients 4.5 s to be answered and to go. */
const hintAfterMs = 5000;

let machine: Machine | undefined;
let stopping = false;
/** Ends at once on the second signal, whatever the first one is waiting for. */
function onSignal(): void {
  if (stopping) {
    machine?.kill();
    process.exit(130);
  }
  void stopWith(0);
}

async function stopWith(code: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  setTimeout(() => say('still stopping; another Ctrl-C ends it at once'), hintAfterMs).unref();
  await starting;
  await machine?.stop();
  if (code === 0 && machine !== undefined) process.stdout.write('Shoal has stopped.\n');
  process.exit(code);
}

function settingsOrEnd(): Settings {
  const settings = readSettings({ args: process.argv.slice(2), env: process.env, cwd: process.cwd() });
  if (!('help' in settings)) return settings;
  process.stdout.write(settings.help);
  process.exit(0);
}

async function start(): Promise<void> {
  const settings = settingsOrEnd();
  machine = await startMachine({
    settings,
    dist: dirname(fileURLToPath(import.meta.url)),
    log: say,
    onLost(why) {
      say(why);
      void stopWith(1);
    },
  });
  if (stopping) return;
  const { endpoints, endpointsFile, isNew } = machine;
  const tenant = isNew ? 'acme' : `acme-${randomBytes(2).toString('hex')}`;
  process.stdout.write(banner({ endpoints, endpointsFile, tenant, kept: !settings.ephemeral }));
}

process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
process.on('SIGHUP', onSignal);

const starting = start().catch((error: unknown) => {
  if (!(error instanceof StartFailure)) throw error;
  if (!error.alreadySaid) say(error.message);
  process.exit(1);
});
await starting;
