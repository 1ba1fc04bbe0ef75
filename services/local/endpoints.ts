/**
 * What scripts and clients need to know about a running instance, and the file that tells them: `<data>/endpoints.json`
 * is there, complete and with mode 0600, exactly while the instance runs.
 */
import { rmSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { writePrivateFile } from './data-folder.js';
import { isWildcard, type Listener, type Settings } from './settings.js';

export interface Endpoint {
  readonly port: number;
  readonly url: string;
}

/** A broker's own health and metrics, for operators; on 127.0.0.1 whatever the host is. */
export interface BrokerEndpoint {
  /** Of several brokers: the id of its lease. */
  readonly id?: string;
  readonly pid?: number;
  /** Missing while its process starts. */
  readonly healthUrl?: string;
  readonly metricsUrl?: string;
  /** Ports on 127.0.0.1 for the front door alone; missing while the broker stands by. */
  readonly mqtt?: number;
  readonly ws?: number;
}

export interface Endpoints extends Readonly<Record<Listener, Endpoint>> {
  /** What clients connect to: the public host, or else the host that is listened on, or localhost for a wildcard. */
  readonly host: string;
  /** PEM certificate of the authority that signed the server's certificate. */
  readonly caFile: string;
  readonly operatorKey: string;
  readonly dataDir: string;
  /** The one that serves. */
  readonly broker: { readonly healthUrl: string; readonly metricsUrl: string };
  /** All of them, if there are several. */
  readonly brokers?: readonly BrokerEndpoint[];
  readonly pids: {
    readonly main: number;
    readonly broker: number;
    readonly dynamodb: number;
    readonly frontDoor?: number;
  };
}

export const clientHost = ({ host, publicHost }: Pick<Settings, 'host' | 'publicHost'>): string =>
  publicHost ?? (isWildcard(host) ? 'localhost' : host);

/** As it stands in a URL. */
const urlHost = (host: string): string => (isIPv6(host) ? `[${host}]` : host);

export function listenerUrl(listener: Listener, host: string, port: number): string {
  const scheme = listener === 'api' ? 'http' : listener;
  const path = listener === 'ws' || listener === 'wss' ? '/mqtt' : '';
  return `${scheme}://${urlHost(host)}:${port}${path}`;
}

const fileIn = (folder: string): string => join(folder, 'endpoints.json');

export function writeEndpoints(endpoints: Endpoints): string {
  const file = fileIn(endpoints.dataDir);
  writePrivateFile(file, `${JSON.stringify(endpoints, null, 2)}\n`);
  return file;
}

/** Also at start: a file left by an instance that was killed would send scripts to ports that are gone. */
export function removeEndpoints(folder: string): void {
  rmSync(fileIn(folder), { force: true });
}
