/**
 * The process of the front door, started by `../processes.ts` over IPC with its settings as one argument. Told: which brokers
 * there are (`targets`), to let nobody in any more (`close`), and to end (`stop`). Tells: `ready` with its ports, or `failed`, and
 * how the brokers are (`health`). Signals of a terminal do not stop it, only its parent does, by a message or by going away.
 */
import { readFileSync } from 'node:fs';
import { forgiving, logBytesMax, systemClock } from '../../kernel/kernel.js';
import { pino } from 'pino';
import { portFailure } from '../ports.js';
import { FrontDoor, type Kind, kinds } from './front-door.js';
import { askHealth, Targets, type Told } from './targets.js';

export interface FrontDoorSettings {
  readonly host: string;
  /** 0: any free port. */
  readonly ports: Readonly<Record<Kind, number>>;
  /** PEM files of one pair or more. */
  readonly tls: readonly { readonly certFile: string; readonly keyFile: string }[];
  readonly logLevel: string;
}

export type ToFrontDoor = { readonly type: 'targets'; readonly targets: readonly Told[] } | 'close' | 'stop';

/** The parent is gone: brokers send their clients away, through here. Longer than that takes. */
const orphanMsMax = 7000;

const settings = JSON.parse(process.argv[2] ?? '') as FrontDoorSettings;
const log = pino(
  { level: settings.logLevel, base: { part: 'front-door' }, timestamp: pino.stdTimeFunctions.isoTime },
  forgiving(pino.destination({ dest: 2, sync: false, maxLength: logBytesMax })),
);
const targets = new Targets({
  probe: askHealth,
  clock: systemClock,
  onChange: (views) => {
    log.debug({ targets: views }, 'brokers');
    process.send?.({ type: 'health', targets: views });
  },
});
const door = new FrontDoor({
  targets,
  tls: {
    cert: settings.tls.map(({ certFile }) => readFileSync(certFile)),
    key: settings.tls.map(({ keyFile }) => readFileSync(keyFile)),
  },
  clock: systemClock,
  log,
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined);
process.on('message', (message: ToFrontDoor) => {
  if (message === 'close') door.stopAccepting();
  else if (message === 'stop') end();
  else targets.tell(message.targets);
});
process.on('disconnect', () => {
  door.stopAccepting();
  setTimeout(end, orphanMsMax).unref();
  void door.empty().then(end);
});

function end(): void {
  targets.stop();
  door.destroy();
  process.exit(0);
}

const ports: Partial<Record<Kind, number>> = {};
try {
  for (const kind of kinds)
    ports[kind] = await door.listen(kind, settings.host, settings.ports[kind]).catch((error: unknown) => {
      throw portFailure(error, settings.host, settings.ports[kind], kind);
    });
  process.send?.({ type: 'ready', ports });
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.send?.({ type: 'failed', message }, () => process.exit(1));
}
