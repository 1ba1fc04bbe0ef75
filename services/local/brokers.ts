/**
 * The brokers of a machine, and where clients reach them: one that listens itself, or several behind the front door. Called by
 * `machine.ts`, to which both look alike.
 */
import { join } from 'node:path';
import type { BrokerId } from '../kernel/kernel.js';
import type { CertificateFiles } from './certificates.js';
import type { Child } from './child.js';
import type { BrokerEndpoint, Endpoints } from './endpoints.js';
import { StartFailure } from './failure.js';
import type { TargetView } from './front-door/targets.js';
import {
  brokerAlone,
  brokerBehindDoor,
  type DoorPorts,
  frontDoor,
  healthHost,
  type Member,
  type Supervision,
} from './processes.js';
import type { Settings } from './settings.js';

export interface BrokersOptions {
  /** Folder of the bundles. */
  readonly dist: string;
  /** Of the database, one for each broker. */
  readonly endpoints: readonly string[];
  readonly settings: Settings;
  readonly certificates: CertificateFiles;
  /** Made for several brokers alone. */
  readonly clusterKeyFile: () => string;
  /** The process of a broker, by its place, is gone: awaited before the next is started. */
  ended(broker: number, brokerId: BrokerId): Promise<void>;
  /** What `describe` tells is not as it was. */
  onChange(): void;
  readonly supervision: Supervision;
  /** Kept track of, to be killed at any time. */
  readonly children: Child<unknown>[];
}

export interface Brokers {
  /** Resolves with the ports of clients when a broker serves them. Rejects with StartFailure; then `stop` is called all the same. */
  start(): Promise<DoorPorts>;
  /** Clients are told to go; resolves when all processes are gone. */
  stop(): Promise<void>;
  /** Each resolves when its part does its work, and rejects with why not. */
  readonly probes: Readonly<Record<string, () => Promise<unknown>>>;
  describe(): BrokersDescription;
}

export interface BrokersDescription {
  /** The one that serves, or else the first. */
  readonly broker: Endpoints['broker'];
  /** Of several, all of them. */
  readonly brokers?: readonly BrokerEndpoint[];
  readonly pids: { readonly broker: number; readonly frontDoor?: number };
}

/** A broker that follows one that was killed waits for its lease (4 s), and adopts its sessions. */
const servingWithinMs = 30_000;

export function oneBroker(options: BrokersOptions): Brokers {
  const { dist, endpoints, settings, certificates, ended, supervision, children } = options;
  const child = brokerAlone(
    {
      file: join(dist, 'broker.js'),
      endpoint: endpoints[0]!,
      ...{ settings, certificates },
      ended: (brokerId) => ended(0, brokerId),
    },
    supervision,
  );
  children.push(child);
  let health = 0;
  return {
    async start() {
      const ports = await child.start();
      ({ health } = ports);
      return ports;
    },
    stop: () => child.stop(),
    probes: {
      broker: async () => {
        if (!child.isReady) throw new Error('it is not running');
        const response = await fetch(`http://${healthHost}:${health}/healthz`).catch(() => undefined);
        if (response === undefined) throw new Error('it does not answer');
        if (!response.ok) throw new Error(`it answered ${response.status}`);
      },
    },
    describe: () => ({ broker: urlsOf(health), pids: { broker: child.pid ?? 0 } }),
  };
}

/**
 * Order of a start: the first broker, which prints why none can start; the others and the door; and then it is waited for a broker
 * that the door finds healthy. Of a stop: nobody new, all brokers at once (one that stands by ends before it could follow), the door.
 */
export function severalBrokers(options: BrokersOptions): Brokers {
  const { dist, settings, certificates, supervision, children, onChange } = options;
  const clusterKeyFile = options.clusterKeyFile();
  let views: readonly TargetView[] = [];
  let onServing = (): void => undefined;
  let isStopping = false;

  const isServing = (): boolean => views.some(({ state }) => state === 'healthy');
  const tellDoor = (): void => {
    const targets = members.flatMap(({ name, healthPort, ports }) =>
      healthPort === undefined ? [] : [{ name, healthPort, ...(ports && { ports }) }],
    );
    if (door.isReady) door.send({ type: 'targets', targets }).catch(() => undefined); // It is told when it runs again.
    onChange();
  };
  const member = (endpoint: string, at: number): Member =>
    brokerBehindDoor(
      {
        name: `broker ${at + 1}`,
        file: join(dist, 'broker.js'),
        ...{ endpoint, settings, clusterKeyFile },
        ended: (brokerId) => options.ended(at, brokerId),
        onChange: () => tellDoor(),
      },
      supervision,
    );
  const door = frontDoor(
    {
      file: join(dist, 'front-door.js'),
      settings: {
        ...{ host: settings.host, ports: settings.ports, logLevel: settings.logLevel },
        tls: [certificates, certificates.rsa].map(({ certFile, keyFile }) => ({ certFile, keyFile })),
      },
      onHealth: (targets) => {
        views = targets;
        if (isServing()) onServing();
      },
      onExit: () => (views = []),
    },
    { ...supervision, onRestarted: () => tellDoor() },
  );
  const members = options.endpoints.map(member);
  children.push(...members.map(({ child }) => child), door);

  const serving = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new StartFailure(`no broker serves after ${servingWithinMs / 1000} s: ${wordsOf(views)}`)),
        servingWithinMs,
      );
      onServing = () => {
        clearTimeout(late);
        resolve();
      };
      if (isServing()) onServing();
    });

  return {
    async start() {
      const [first, ...others] = members;
      await first!.child.start();
      const [ports] = await Promise.all([door.start(), ...others.map(({ child }) => child.start())]);
      tellDoor();
      await serving();
      return ports;
    },
    async stop() {
      if (isStopping) return;
      isStopping = true;
      await door.send('close').catch(() => undefined);
      await Promise.all(members.map(({ child }) => child.stop()));
      await door.stop();
    },
    probes: {
      'front-door': () => (door.isReady ? Promise.resolve() : Promise.reject(new Error('it is not running'))),
      broker: () => (isServing() ? Promise.resolve() : Promise.reject(new Error(wordsOf(views)))),
    },
    describe: () => {
      const one = members.find(({ ports }) => ports) ?? members[0]!;
      return {
        broker: urlsOf(one.healthPort ?? 0),
        brokers: members.map(endpointOf),
        pids: { broker: one.child.pid ?? 0, frontDoor: door.pid ?? 0 },
      };
    },
  };
}

const wordsOf = (views: readonly TargetView[]): string =>
  views.length === 0 ? 'no broker is running' : views.map(({ name, answer }) => `${name}: ${answer}`).join('; ');

function endpointOf({ brokerId, child, healthPort, ports }: Member): BrokerEndpoint {
  return {
    ...(brokerId !== undefined && { id: brokerId }),
    ...(child.pid !== undefined && { pid: child.pid }),
    ...(healthPort !== undefined && urlsOf(healthPort)),
    ...ports,
  };
}

function urlsOf(health: number): { readonly healthUrl: string; readonly metricsUrl: string } {
  const url = `http://${healthHost}:${health}`;
  return { healthUrl: `${url}/healthz`, metricsUrl: `${url}/metrics` };
}
