/** The processes of a machine, each as `child.ts` runs it: which program, in which environment, and what it reports. */
import { type BrokerId } from '../kernel/kernel.js';
import type { CertificateFiles } from './certificates.js';
import { Child } from './child.js';
import type { FrontDoorSettings } from './front-door/main.js';
import type { TargetView } from './front-door/targets.js';
import type { Listener, Settings } from './settings.js';

/** Health and metrics of a broker need no key and tell of every tenant: they stay on this machine, whatever `--host`. */
export const healthHost = '127.0.0.1';
export const region = 'local';
export const tablePrefix = 'shoal-';
/** The broker's, as on AWS. With V8's own size the young generation grows by 50 to 100 MB while thousands of clients come in. */
const semiSpaceMiB = 8;
/** A person waits for the end; and `child.ts` does not wait for long. */
const drainSeconds = '2';

export interface Supervision {
  log(line: string): void;
  onLost(why: string): void;
  onRestarted(): void;
}

/** The environment without what is meant for this process or for an AWS account. */
function plainEnv(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(SHOAL|AWS)_(?!SDK_)/.test(name));
  return Object.fromEntries(kept);
}

export interface TablesPorts {
  readonly port: number;
  /** For one broker each: `broker-door.ts`. */
  readonly brokerPorts: readonly number[];
}

export class Tables {
  readonly child: Child<TablesPorts>;
  readonly #whenQuiet = new Map<number, () => void>();

  constructor(file: string, path: string | undefined, brokers: number, { log, onLost, onRestarted }: Supervision) {
    this.child = new Child<TablesPorts>({
      name: 'the database',
      file,
      launch: ({ port, brokerPorts } = { port: 0, brokerPorts: Array<number>(brokers).fill(0) }) => ({
        args: [path ?? '', String(port), ...brokerPorts.map(String)],
        env: plainEnv(),
      }),
      readReady: (message) => {
        const { port, brokerPorts } = message as Record<string, unknown>;
        const isRead = typeof port === 'number' && Array.isArray(brokerPorts) && brokerPorts.length === brokers;
        return isRead ? { port, brokerPorts: brokerPorts as number[] } : undefined;
      },
      onMessage: (message) => {
        if ('quiet' in message) this.#whenQuiet.get(Number(message.quiet))?.();
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

  /** Of a broker whose process is gone: resolves when nothing that it has sent can change anything any more. */
  quiet(broker: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#whenQuiet.set(broker, resolve);
      this.child.send({ quiet: broker }).catch(reject);
    });
  }
}

export interface BrokerPorts extends Readonly<Record<Exclude<Listener, 'api'>, number>> {
  readonly health: number;
}

export interface BrokerProcessOptions {
  readonly file: string;
  /** Of the database. */
  readonly endpoint: string;
  readonly settings: Settings;
  /** Awaited when its process is gone, before the next is started. */
  ended(brokerId: BrokerId): Promise<void>;
}

/** What all brokers are told, alone or one of several. */
function brokerEnv({ endpoint, settings }: BrokerProcessOptions): NodeJS.ProcessEnv {
  return {
    ...plainEnv(),
    NODE_OPTIONS: `--max-semi-space-size=${semiSpaceMiB} ${process.env['NODE_OPTIONS'] ?? ''}`,
    ...settings.brokerEnv,
    AWS_REGION: region,
    SHOAL_DYNAMODB_ENDPOINT: endpoint,
    SHOAL_TABLE_PREFIX: tablePrefix,
    SHOAL_HEALTH_HOST: healthHost,
    SHOAL_DRAIN_SECONDS: drainSeconds,
    SHOAL_LOG_LEVEL: settings.logLevel,
  };
}

/** The one that clients connect to themselves. */
export function brokerAlone(
  options: BrokerProcessOptions & { readonly certificates: CertificateFiles },
  { log, onRestarted }: Supervision,
): Child<BrokerPorts> {
  const { file, settings, certificates, ended } = options;
  let brokerId: BrokerId | undefined;
  return new Child<BrokerPorts>({
    name: 'the broker',
    file,
    // A broker that is started again listens where its clients look for it, also where the system had picked the port.
    launch: (before) => {
      const ports = before ?? { ...settings.ports, health: 0 };
      return {
        args: [],
        env: {
          ...brokerEnv(options),
          SHOAL_HOST: settings.host,
          SHOAL_MQTT_PORT: String(ports.mqtt),
          SHOAL_MQTTS_PORT: String(ports.mqtts),
          SHOAL_WS_PORT: String(ports.ws),
          SHOAL_WSS_PORT: String(ports.wss),
          SHOAL_HEALTH_PORT: String(ports.health),
          SHOAL_TLS_CERT_FILE: certificates.certFile,
          SHOAL_TLS_KEY_FILE: certificates.keyFile,
          SHOAL_TLS_CERT_2_FILE: certificates.rsa.certFile,
          SHOAL_TLS_KEY_2_FILE: certificates.rsa.keyFile,
          ...(settings.trustProxy !== undefined && { SHOAL_TRUST_PROXY: settings.trustProxy }),
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
    readReady: (message) => ('ports' in message ? readPorts<BrokerPorts>(message.ports, allPorts) : undefined),
    askToStop: (running) => running.kill('SIGTERM'),
    explainsItself: true,
    log,
    onRestarted,
  });
}

const clientPorts = ['mqtt', 'mqtts', 'ws', 'wss'];
const allPorts = [...clientPorts, 'health'];

export type InnerPorts = Readonly<Record<'mqtt' | 'ws', number>>;

/** What is known of a broker behind the front door. */
export interface Member {
  readonly name: string;
  readonly child: Child<{ readonly health: number }>;
  brokerId: BrokerId | undefined;
  /** When it stands by or serves. */
  healthPort: number | undefined;
  /** When it serves. */
  ports: InnerPorts | undefined;
}

export interface MemberOptions extends BrokerProcessOptions {
  /** `broker 1`. */
  readonly name: string;
  readonly clusterKeyFile: string;
  /** Something of it is not as it was. */
  onChange(): void;
}

/** A broker behind the front door. Its ports are any that are free, and others after each start: the door is told. */
export function brokerBehindDoor(options: MemberOptions, { log, onRestarted }: Supervision): Member {
  const { name, file, clusterKeyFile, ended, onChange } = options;
  const child = new Child<{ readonly health: number }>({
    name,
    file,
    launch: () => ({
      args: [],
      env: {
        ...brokerEnv(options),
        SHOAL_HOST: '127.0.0.1',
        SHOAL_MQTT_PORT: '0',
        SHOAL_WS_PORT: '0',
        SHOAL_HEALTH_PORT: '0',
        SHOAL_TRUST_PROXY: '127.0.0.1/32',
        SHOAL_CLUSTER_KEY_FILE: clusterKeyFile,
        SHOAL_MESH_HOST: '127.0.0.1',
        SHOAL_CLUSTER_PREVIEW: options.settings.clusterPreview,
      },
    }),
    readyType: 'standing-by',
    readReady: (message) => {
      if (!('health' in message) || typeof message.health !== 'number') return undefined;
      member.healthPort = message.health;
      onChange();
      return { health: message.health };
    },
    onMessage: (message) => {
      if ('brokerId' in message) member.brokerId = message.brokerId as BrokerId;
      if ('ports' in message) member.ports = readPorts<InnerPorts>(message.ports, ['mqtt', 'ws']);
      onChange();
    },
    onExit: () => {
      member.healthPort = member.ports = undefined;
      onChange();
    },
    beforeRestart: async () => {
      const { brokerId } = member;
      member.brokerId = undefined;
      if (brokerId !== undefined) await ended(brokerId);
    },
    askToStop: (running) => running.kill('SIGTERM'),
    explainsItself: true,
    log,
    onRestarted,
  });
  const member: Member = { name, child, brokerId: undefined, healthPort: undefined, ports: undefined };
  return member;
}

export type DoorPorts = FrontDoorSettings['ports'];

export interface FrontDoorProcessOptions {
  readonly file: string;
  readonly settings: FrontDoorSettings;
  onHealth(targets: readonly TargetView[]): void;
  onExit(): void;
}

export function frontDoor(
  { file, settings, onHealth, onExit }: FrontDoorProcessOptions,
  { log, onRestarted }: Supervision,
): Child<DoorPorts> {
  return new Child<DoorPorts>({
    name: 'the front door',
    file,
    // On the same ports again, also where the system had picked them.
    launch: (ports = settings.ports) => ({ args: [JSON.stringify({ ...settings, ports })], env: plainEnv() }),
    readReady: (message) => ('ports' in message ? readPorts<DoorPorts>(message.ports, clientPorts) : undefined),
    onMessage: (message) => {
      if ('targets' in message) onHealth(message.targets as TargetView[]);
    },
    onExit,
    askToStop: (running) => running.send('stop'),
    explainsItself: false,
    log,
    onRestarted,
  });
}

function readPorts<Ports>(ports: unknown, names: readonly string[]): Ports | undefined {
  const given = Object(ports) as Record<string, unknown>;
  const read = Object.fromEntries(names.map((name) => [name, given[name]]));
  return Object.values(read).every((port) => typeof port === 'number') ? (read as Ports) : undefined;
}
