/**
 * Everything on one machine: embedded DynamoDB and a broker as child processes, the tenant API in this one. They share
 * nothing but the tables, as on AWS. Called by `main.ts`; it never prints and never ends the process.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { createTables, Dynamo } from '../dynamo/dynamo.js';
import { type BrokerId, forgiving, type Log, logBytesMax, systemClock } from '../kernel/kernel.js';
import { serveApi } from '../../tenants-api/entry/local.js';
import { ensureCertificates, type CertificateFiles } from './certificates.js';
import { Child } from './child.js';
import { type DataFolder, openDataFolder, operatorKeyOf } from './data-folder.js';
import { clientHost, listenerUrl, removeEndpoints, writeEndpoints, type Endpoints } from './endpoints.js';
import { StartFailure } from './failure.js';
import { giveUpEndedLease } from './ended-lease.js';
import { healthOf } from './health.js';
import { checkPorts, portFailure } from './ports.js';
import type { Listener, Settings } from './settings.js';
import { Sweeper } from './sweeper.js';

/** The broker's health and metrics need no key and tell of every tenant: they stay on this machine, whatever `--host`. */
const healthHost = '127.0.0.1';
const region = 'local';
const tablePrefix = 'shoal-';
/** The broker's, as on AWS. With V8's own size the young generation grows by 50 to 100 MB while thousands of clients come in. */
const semiSpaceMiB = 8;
/** A person waits for the end; and `child.ts` does not wait for long. */
const drainSeconds = '2';
/** After a crash the processes of the instance before may need this long to notice and let go. */
const afterCrashMs = 8000;

export interface MachineOptions {
  readonly settings: Settings;
  /** Folder of the bundles. */
  readonly dist: string;
  /** One line that an operator should read. */
  log(line: string): void;
  /** The machine cannot go on: it has to be stopped. */
  onLost(why: string): void;
}

/** What has been started. */
export interface Running {
  readonly endpoints: Endpoints;
  readonly endpointsFile: string;
  /** The tables are empty: this start has made them. */
  readonly isNew: boolean;
}

export interface Machine {
  /** Rejects with StartFailure, after everything that had been started is stopped again. */
  readonly running: Promise<Running>;
  /** Broker first, which disconnects clients and writes its state, then the API, then the tables. */
  stop(): Promise<void>;
  /** At once, without asking, also in the middle of a start or a stop. What tells of a running instance goes, too. */
  kill(): Promise<void>;
}

/** What undoes the steps so far, the last one first. */
type Undo = (() => void | Promise<void>)[];

export function startMachine(options: MachineOptions): Machine {
  const undo: Undo = [];
  const children: Child<unknown>[] = [];
  let leaveFolder = (): void => {};
  const stop = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  const start = async (): Promise<Running> => {
    try {
      const folder = openDataFolder(options.settings);
      leaveFolder = () => {
        leaveFolder = () => {}; // Twice, it would be the folder of the next instance.
        removeEndpoints(folder.path);
        folder.close();
      };
      undo.push(() => leaveFolder());
      removeEndpoints(folder.path);
      return await startParts(options, folder, undo, children);
    } catch (error) {
      await stop();
      throw error;
    }
  };
  return {
    running: start(),
    stop,
    async kill() {
      await Promise.all(children.map((child) => child.kill()));
      leaveFolder(); // Only now is nobody left who uses it.
    },
  };
}

async function startParts(
  { settings, dist, log, onLost }: MachineOptions,
  folder: DataFolder,
  undo: Undo,
  children: Child<unknown>[],
): Promise<Running> {
  const patienceMs = folder.afterCrash ? afterCrashMs : 0;
  await checkPorts(settings, patienceMs);
  const isNew = folder.tablesPath === undefined || !existsSync(folder.tablesPath);
  const operatorKey = operatorKeyOf(folder.path, settings.operatorKey);
  const hosts = [settings.host, ...(settings.publicHost === undefined ? [] : [settings.publicHost])];
  const certificates = await ensureCertificates(folder.path, hosts, Date.now());

  /** Writes endpoints.json again: a process that was started again has another id. */
  let announce = (): void => {};
  const supervision: Supervision = { log, onLost, onRestarted: () => announce() };

  let databaseIsQuiet = (): void => {};
  const tables = tablesProcess(join(dist, 'dynamodb.js'), folder.tablesPath, {
    ...supervision,
    onQuiet: () => databaseIsQuiet(),
  });
  children.push(tables);
  const tablesPorts = await startPatiently(tables, patienceMs);
  undo.push(() => tables.stop());
  const endpoint = `http://127.0.0.1:${tablesPorts.port}`;
  const dynamo = new Dynamo({ endpoint, region, tablePrefix });
  undo.push(() => dynamo.close());
  await createTables(dynamo).catch(tablesFailed);
  const sweeper = new Sweeper(dynamo, systemClock, logOf('sweeper', settings.logLevel));
  undo.push(() => sweeper.stop());

  const ended = async (brokerId: BrokerId): Promise<void> => {
    const quiet = (): Promise<void> =>
      new Promise((resolve, reject) => {
        databaseIsQuiet = resolve;
        tables.send('quiet').catch(reject);
      });
    if (await giveUpEndedLease(dynamo, brokerId, quiet, () => systemClock.nowMs())) return;
    log('the lease of the broker that exited could not be released; the next one waits until it runs out');
  };
  const brokerEndpoint = `http://127.0.0.1:${tablesPorts.brokerPort}`;
  const supervised = { ...supervision, ended };
  const broker = brokerProcess(join(dist, 'broker.js'), brokerEndpoint, settings, certificates, supervised);
  children.push(broker);
  const brokerPorts = await broker.start();
  undo.push(() => broker.stop());

  const host = clientHost(settings);
  const brokerUrl = `http://${healthHost}:${brokerPorts.health}`;
  const health = () =>
    healthOf({
      dynamodb: () => dynamo.check(),
      broker: async () => {
        if (!broker.isReady) throw new Error('it is not running');
        const response = await fetch(`${brokerUrl}/healthz`).catch(() => undefined);
        if (response === undefined) throw new Error('it does not answer');
        if (!response.ok) throw new Error(`it answered ${response.status}`);
      },
    });
  const url = (listener: Exclude<Listener, 'api'>) => ({
    port: brokerPorts[listener],
    url: listenerUrl(listener, host, brokerPorts[listener]),
  });
  const served = { mqtt: url('mqtt'), mqtts: url('mqtts'), ws: url('ws'), wss: url('wss') };

  // The API tells tenants its own URL, which is known once it listens.
  const told = { mqtts: served.mqtts.url, wss: served.wss.url, mqtt: served.mqtt.url, ws: served.ws.url, api: '' };
  const api = await serveApi({
    dynamo,
    clock: systemClock,
    log: logOf('api', settings.logLevel),
    host: settings.host,
    port: settings.ports.api,
    operatorKey,
    health,
    endpoints: told,
  }).catch((error: unknown) => {
    throw portFailure(error, settings, 'api');
  });
  told.api = listenerUrl('api', host, api.port);
  // Clients of the API may still see the broker stop, so it goes second.
  undo.splice(-1, 0, () => api.close());

  const describe = (): Endpoints => ({
    host,
    ...served,
    api: { port: api.port, url: told.api },
    caFile: certificates.caFile,
    operatorKey,
    dataDir: folder.path,
    broker: { healthUrl: `${brokerUrl}/healthz`, metricsUrl: `${brokerUrl}/metrics` },
    pids: { main: process.pid, broker: broker.pid ?? 0, dynamodb: tables.pid ?? 0 },
  });
  announce = () => {
    try {
      writeEndpoints(describe());
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      log(error.message); // It runs nevertheless, and the next start of a process tries again.
    }
  };
  return { endpoints: describe(), endpointsFile: writeEndpoints(describe()), isNew };
}

function tablesFailed(error: unknown): never {
  throw new StartFailure(`cannot create the tables: ${error instanceof Error ? error.message : String(error)}`);
}

/** On standard error and with the broker's format of time: standard output is for the banner. */
const logOf = (part: string, level: string): Log =>
  pino(
    { level, base: { part }, timestamp: pino.stdTimeFunctions.isoTime },
    forgiving(pino.destination({ dest: 2, sync: false, maxLength: logBytesMax })),
  );

interface Supervision {
  log(line: string): void;
  onLost(why: string): void;
  onRestarted(): void;
}

/** The environment without what is meant for this process or for an AWS account. */
function plainEnv(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(SHOAL|AWS)_(?!SDK_)/.test(name));
  return Object.fromEntries(kept);
}

interface TablesPorts {
  readonly port: number;
  /** For the broker alone: `broker-door.ts`. */
  readonly brokerPort: number;
}

function tablesProcess(
  file: string,
  path: string | undefined,
  { log, onLost, onRestarted, onQuiet }: Supervision & { onQuiet(): void },
): Child<TablesPorts> {
  return new Child<TablesPorts>({
    name: 'database',
    file,
    launch: ({ port, brokerPort } = { port: 0, brokerPort: 0 }) => ({
      args: [path ?? '', String(port), String(brokerPort)],
      env: plainEnv(),
    }),
    readReady: (message) => {
      const { port, brokerPort } = message as Record<string, unknown>;
      return typeof port === 'number' && typeof brokerPort === 'number' ? { port, brokerPort } : undefined;
    },
    onMessage: (message) => {
      if ('type' in message && message.type === 'quiet') onQuiet();
    },
    askToStop: (running) => running.send('stop'),
    explainsItself: false,
    log,
    onRestarted,
    ...(path === undefined
      ? { onLost: () => onLost('the database exited unexpectedly; everything in memory is lost') }
      : {}),
  });
}

/** The processes of an instance that was killed may still hold the database for a moment. */
async function startPatiently<Ready>(child: Child<Ready>, patienceMs: number): Promise<Ready> {
  const givingUpMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await child.start();
    } catch (error) {
      if (!(error instanceof StartFailure) || child.isStopping || performance.now() > givingUpMs) throw error;
    }
  }
}

interface BrokerPorts {
  readonly mqtt: number;
  readonly mqtts: number;
  readonly ws: number;
  readonly wss: number;
  readonly health: number;
}

function brokerProcess(
  file: string,
  endpoint: string,
  settings: Settings,
  certificates: CertificateFiles,
  { log, onRestarted, ended }: Supervision & { ended(brokerId: BrokerId): Promise<void> },
): Child<BrokerPorts> {
  let brokerId: BrokerId | undefined;
  return new Child<BrokerPorts>({
    name: 'broker',
    file,
    // A broker that is started again listens where its clients look for it, also where the system had picked the port.
    launch: (before) => {
      const ports = before ?? { ...settings.ports, health: 0 };
      return {
        args: [],
        env: {
          ...plainEnv(),
          NODE_OPTIONS: `--max-semi-space-size=${semiSpaceMiB} ${process.env['NODE_OPTIONS'] ?? ''}`,
          ...settings.brokerEnv,
          AWS_REGION: region,
          SHOAL_DYNAMODB_ENDPOINT: endpoint,
          SHOAL_TABLE_PREFIX: tablePrefix,
          SHOAL_HOST: settings.host,
          SHOAL_MQTT_PORT: String(ports.mqtt),
          SHOAL_MQTTS_PORT: String(ports.mqtts),
          SHOAL_WS_PORT: String(ports.ws),
          SHOAL_WSS_PORT: String(ports.wss),
          SHOAL_HEALTH_HOST: healthHost,
          SHOAL_HEALTH_PORT: String(ports.health),
          SHOAL_TLS_CERT_FILE: certificates.certFile,
          SHOAL_TLS_KEY_FILE: certificates.keyFile,
          SHOAL_TLS_CERT_2_FILE: certificates.rsa.certFile,
          SHOAL_TLS_KEY_2_FILE: certificates.rsa.keyFile,
          SHOAL_DRAIN_SECONDS: drainSeconds,
          ...(settings.trustProxy !== undefined && { SHOAL_TRUST_PROXY: settings.trustProxy }),
          SHOAL_LOG_LEVEL: settings.logLevel,
        },
      };
    },
    onMessage: (message) => {
      if ('brokerId' in message) brokerId = message.brokerId as BrokerId;
    },
    beforeRestart: async () => {
      if (brokerId !== undefined) await ended(brokerId);
      brokerId = undefined;
    },
    readReady: (message) => ('ports' in message ? readPorts(message.ports) : undefined),
    askToStop: (running) => running.kill('SIGTERM'),
    explainsItself: true,
    log,
    onRestarted,
  });
}

function readPorts(ports: unknown): BrokerPorts | undefined {
  const { mqtt, mqtts, ws, wss, health } = Object(ports) as Record<string, unknown>;
  const all = { mqtt, mqtts, ws, wss, health };
  return Object.values(all).every((port) => typeof port === 'number') ? (all as unknown as BrokerPorts) : undefined;
}
