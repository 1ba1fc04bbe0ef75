/**
 * Everything on one machine: embedded DynamoDB and brokers as child processes, the tenant API in this one. They share
 * nothing but the tables, as on AWS. Called by `main.ts`; it never prints and never ends the process.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { createTables, Dynamo } from '../dynamo/dynamo.js';
import { type BrokerId, forgiving, type Log, logBytesMax, systemClock } from '../kernel/kernel.js';
import { serveApi } from '../../tenants-api/entry/local.js';
import { type Brokers, oneBroker, severalBrokers } from './brokers.js';
import { ensureCertificates } from './certificates.js';
import type { Child } from './child.js';
import { clusterKeyFileOf, type DataFolder, openDataFolder, operatorKeyOf } from './data-folder.js';
import { clientHost, listenerUrl, removeEndpoints, writeEndpoints, type Endpoints } from './endpoints.js';
import { StartFailure } from './failure.js';
import { giveUpEndedLease } from './ended-lease.js';
import { healthOf } from './health.js';
import { checkPorts, portFailure } from './ports.js';
import { region, type Supervision, tablePrefix, Tables } from './processes.js';
import type { Listener, Settings } from './settings.js';
import { Sweeper } from './sweeper.js';

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
  /** Brokers first, which disconnect clients and write their state, then the API, then the tables. */
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

  const tables = new Tables(join(dist, 'dynamodb.js'), folder.tablesPath, settings.brokers, supervision);
  children.push(tables.child);
  const tablesPorts = await startPatiently(tables.child, patienceMs);
  undo.push(() => tables.child.stop());
  const urlOf = (port: number): string => `http://127.0.0.1:${port}`;
  const dynamo = new Dynamo({ endpoint: urlOf(tablesPorts.port), region, tablePrefix });
  undo.push(() => dynamo.close());
  await createTables(dynamo).catch(tablesFailed);
  const sweeper = new Sweeper(dynamo, systemClock, logOf('sweeper', settings.logLevel));
  undo.push(() => sweeper.stop());

  const ended = async (broker: number, brokerId: BrokerId): Promise<void> => {
    if (
      await giveUpEndedLease(
        dynamo,
        brokerId,
        () => tables.quiet(broker),
        () => systemClock.nowMs(),
      )
    )
      return;
    log('the lease of the broker that exited could not be released; the next one waits until it runs out');
  };
  const brokers: Brokers = (settings.brokers === 1 ? oneBroker : severalBrokers)({
    endpoints: tablesPorts.brokerPorts.map(urlOf),
    clusterKeyFile: () => clusterKeyFileOf(folder.path),
    onChange: () => announce(),
    ...{ dist, settings, certificates, ended, supervision, children },
  });
  undo.push(() => brokers.stop());
  const ports = await brokers.start();

  const host = clientHost(settings);
  const health = () => healthOf({ dynamodb: () => dynamo.check(), ...brokers.probes });
  const url = (listener: Exclude<Listener, 'api'>) => ({
    port: ports[listener],
    url: listenerUrl(listener, host, ports[listener]),
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
    throw portFailure(error, settings.host, settings.ports.api, 'api');
  });
  told.api = listenerUrl('api', host, api.port);
  // Clients of the API may still see the broker stop, so it goes second.
  undo.splice(-1, 0, () => api.close());

  const describe = (): Endpoints => {
    const { pids, ...ofBrokers } = brokers.describe();
    return {
      host,
      ...served,
      api: { port: api.port, url: told.api },
      caFile: certificates.caFile,
      operatorKey,
      dataDir: folder.path,
      ...ofBrokers,
      pids: { main: process.pid, ...pids, dynamodb: tables.child.pid ?? 0 },
    };
  };
  announce = () => {
    try {
      writeEndpoints(describe());
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      log(error.message); // It runs nevertheless, and the next start of a process tries again.
    }
  };
  undo.push(() => void (announce = () => {})); // What ends from then on is no news.
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
