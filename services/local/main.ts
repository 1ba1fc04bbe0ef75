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

/** A terminal sends Ctrl-C to the whole process group, and npm hands its own on: what comes so soon is the same request. */
const sameRequestMs = 1000;
/** A stop that takes longer makes people wonder. The broker gives its clients 4.5 s to be answered and to go. */
const hintAfterMs = 5000;
/** A process that has been killed is gone in a moment, unless the system itself hangs. */
const killedWithinMs = 2000;

let machine: Machine | undefined;
let stopping = false;
let ended = false;
let askedAtMs: number | undefined;

function onSignal(_: NodeJS.Signals, number: number): void {
  const nowMs = performance.now();
  if (askedAtMs === undefined) {
    askedAtMs = nowMs;
    void stopWith(0);
  } else if (nowMs - askedAtMs >= sameRequestMs) void endAtOnce(128 + number);
}

async function stopWith(code: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  setTimeout(() => say('still stopping; press Ctrl-C again to stop at once'), hintAfterMs).unref();
  await starting;
  await machine?.stop();
  if (ended) return;
  if (code === 0 && machine !== undefined) process.stdout.write('Shoal has stopped.\n');
  process.exit(code);
}

/** For who does not want to wait, whatever the stop is waiting for. */
async function endAtOnce(code: number): Promise<void> {
  if (ended) return;
  ended = true;
  setTimeout(() => process.exit(code), killedWithinMs);
  await machine?.kill();
  say('stopped at once: clients were not told; acknowledged messages are kept');
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
  machine = startMachine({
    settings,
    dist: dirname(fileURLToPath(import.meta.url)),
    log: say,
    onLost(why) {
      say(why);
      void stopWith(1);
    },
  });
  const { endpoints, endpointsFile, isNew } = await machine.running;
  if (stopping) return;
  const tenant = isNew ? 'acme' : `acme-${randomBytes(2).toString('hex')}`;
  const preview = settings.clusterPreview !== undefined;
  process.stdout.write(banner({ endpoints, endpointsFile, tenant, kept: !settings.ephemeral, preview }));
}

// The terminal may be gone, or whoever read what is printed: no reason to end without order.
for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined);
process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
process.on('SIGHUP', onSignal);

const starting = start().catch((error: unknown) => {
  if (ended) return;
  if (!(error instanceof StartFailure)) throw error;
  if (!error.alreadySaid) say(error.message);
  process.exit(1);
});
await starting;
