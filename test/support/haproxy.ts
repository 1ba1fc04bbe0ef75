/**
 * HAProxy as a stand-in for the Network Load Balancer: TLS ended with the development certificate or passed through,
 * PROXY protocol version 2 towards the broker, health checks with the header on the broker's health port.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Endpoints } from '../../services/local/endpoints.js';
import { answers, freePort } from './ports.js';
import { until } from './until.js';

const program = ['/usr/sbin/haproxy', '/usr/local/sbin/haproxy', '/usr/bin/haproxy'].find((path) => existsSync(path));

/** Undefined when it is installed; otherwise why tests that need it are left out. */
export const haproxyMissing =
  program === undefined ? 'haproxy is not installed (Debian: apt-get install haproxy)' : undefined;

/** `mqtts` and `wss` end TLS here, `through` leaves it to the broker. */
type Frontend = 'mqtts' | 'wss' | 'through';

/** Ports of a broker on 127.0.0.1. */
export interface Server {
  readonly mqtt: number;
  readonly mqtts: number;
  readonly ws: number;
  readonly health: number;
}

export class Haproxy {
  readonly ports: Readonly<Record<Frontend, number>>;
  readonly #process: ChildProcess;
  readonly #socketFile: string;
  #output = '';

  private constructor(folder: string, ports: Record<Frontend, number>, configuration: string) {
    this.ports = ports;
    this.#socketFile = join(folder, 'haproxy.sock');
    const file = join(folder, 'haproxy.cfg');
    writeFileSync(file, configuration.replace('STATS', this.#socketFile));
    execFileSync(program!, ['-c', '-q', '-f', file]);
    this.#process = spawn(program!, ['-db', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream!.on('data', (data) => (this.#output += String(data)));
  }

  /** In front of the broker of `endpoints`, whose certificates are in `dataFolder`; files of its own go into `folder`. */
  static async start({ mqtt, mqtts, ws, broker }: Endpoints, dataFolder: string, folder: string): Promise<Haproxy> {
    const health = Number(new URL(broker.healthUrl).port);
    const server = { mqtt: mqtt.port, mqtts: mqtts.port, ws: ws.port, health };
    const [certFile, keyFile] = ['server.crt', 'server.key'].map((name) => join(dataFolder, 'certificates', name));
    return Haproxy.before([server], { certFile: certFile!, keyFile: keyFile! }, folder);
  }

  /** In front of several, in turns. */
  static async before(
    servers: readonly Server[],
    { certFile, keyFile }: { readonly certFile: string; readonly keyFile: string },
    folder: string,
  ): Promise<Haproxy> {
    const pem = join(folder, 'server.pem');
    writeFileSync(pem, [certFile, keyFile].map((file) => readFileSync(file, 'utf8')).join('\n'), { mode: 0o600 });
    const ports = { mqtts: await freePort(), wss: await freePort(), through: await freePort() };
    const haproxy = new Haproxy(folder, ports, configurationOf(servers, ports, pem));
    try {
      await until(
        () => Promise.all(Object.values(ports).map(answers)).then((all) => all.every(Boolean)),
        'HAProxy',
        10_000,
      );
    } catch (error) {
      haproxy.stop();
      throw new Error(`HAProxy did not start: ${haproxy.#output}`, { cause: error });
    }
    return haproxy;
  }

  /** Whether the health check of a backend's server succeeds, as HAProxy reports it: `UP L7OK/200`. */
  async check(backend: string, server = 'broker-1'): Promise<string> {
    const text = await new Promise<string>((resolve, reject) => {
      let all = '';
      connect(this.#socketFile)
        .on('error', reject)
        .on('data', (data) => (all += String(data)))
        .on('end', () => resolve(all))
        .end('show stat typed\n');
    });
    const rows = text.split('\n').filter((line) => line.startsWith('S.'));
    const servers = new Map<string, Record<string, string>>();
    for (const line of rows) {
      const [, id = '', field = '', value = ''] = /^S\.(\d+\.\d+)\.\d+\.(\w+)\.\d+:[^:]*:[^:]*:(.*)$/.exec(line)!;
      servers.set(id, { ...servers.get(id), [field]: value });
    }
    const one = [...servers.values()].find(({ pxname, svname }) => pxname === backend && svname === server);
    return `${one?.['status']} ${one?.['check_status']}/${one?.['check_code']}`;
  }

  stop(): void {
    this.#process.kill('SIGKILL');
  }
}

/** `crc32c` and `ssl` put more than addresses into the header: what is checked, and what is skipped. */
function configurationOf(servers: readonly Server[], ports: Record<Frontend, number>, pem: string): string {
  const server = (one: Server, at: number, port: keyof Server, header: string): string =>
    `  server broker-${at + 1} 127.0.0.1:${one[port]} ${header} check port ${one.health} check-send-proxy inter 200 fall 1 rise 1`;
  const route = (name: string, bind: string, port: keyof Server, header: string): string => `
frontend ${name}-in
  bind ${bind}
  default_backend ${name}
backend ${name}
  option httpchk GET /healthz
  http-check expect status 200
  balance roundrobin
${servers.map((one, at) => server(one, at, port, header)).join('\n')}
`;
  const ended = (port: number): string => `127.0.0.1:${port} ssl crt ${pem}`;
  return `
global
  stats socket STATS mode 600 level admin
defaults
  mode tcp
  timeout connect 5s
  timeout client 350s
  timeout server 350s
${route('mqtts', ended(ports.mqtts), 'mqtt', 'send-proxy-v2 proxy-v2-options crc32c')}
${route('wss', ended(ports.wss), 'ws', 'send-proxy-v2 proxy-v2-options ssl,ssl-cipher,cert-key')}
${route('through', `127.0.0.1:${ports.through}`, 'mqtts', 'send-proxy-v2')}
`;
}
