/** nginx as a load balancer of TCP: TLS ended or passed through, and the PROXY protocol, of which it can send version 1 alone. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Endpoints } from '../../services/local/endpoints.js';
import { answers, freePort } from './ports.js';
import { until } from './until.js';

const program = ['/usr/sbin/nginx', '/usr/local/sbin/nginx'].find((path) => existsSync(path));
const streamModule = ['/usr/lib/nginx/modules/ngx_stream_module.so'].find((path) => existsSync(path));

/** Undefined when it is installed; otherwise why tests that need it are left out. */
export const nginxMissing =
  program === undefined || streamModule === undefined
    ? 'nginx with its stream module is not installed (Debian: apt-get install nginx-core libnginx-mod-stream)'
    : undefined;

/** `mqtts` and `wss` end TLS here, `through` leaves it to the broker; `health` is the broker's health port. */
type Frontend = 'mqtts' | 'wss' | 'through' | 'health';

export class Nginx {
  readonly ports: Readonly<Record<Frontend, number>>;
  readonly #process: ChildProcess;
  #output = '';

  private constructor(folder: string, ports: Record<Frontend, number>, configuration: string) {
    this.ports = ports;
    const file = join(folder, 'nginx.conf');
    writeFileSync(file, configuration);
    this.#process = spawn(program!, ['-p', folder, '-c', file, '-e', 'stderr'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process.stderr!.on('data', (data) => (this.#output += String(data)));
  }

  /** In front of the broker of `endpoints`, whose certificates are in `dataFolder`; files of its own go into `folder`. */
  static async start(endpoints: Endpoints, dataFolder: string, folder: string): Promise<Nginx> {
    const ports = {
      mqtts: await freePort(),
      wss: await freePort(),
      through: await freePort(),
      health: await freePort(),
    };
    const nginx = new Nginx(folder, ports, configurationOf(endpoints, ports, join(dataFolder, 'certificates'), folder));
    try {
      const listens = (): Promise<boolean> =>
        Promise.all(Object.values(ports).map(answers)).then((all) => all.every(Boolean));
      await until(listens, 'nginx', 10_000);
    } catch (error) {
      nginx.stop();
      throw new Error(`nginx did not start: ${nginx.#output}`, { cause: error });
    }
    return nginx;
  }

  stop(): void {
    this.#process.kill('SIGKILL');
  }
}

function configurationOf(
  { mqtt, mqtts, ws, broker }: Endpoints,
  ports: Record<Frontend, number>,
  certificates: string,
  folder: string,
): string {
  const server = (frontend: Frontend, to: number | string, tls: string): string =>
    `  server { listen 127.0.0.1:${ports[frontend]}${tls}; proxy_pass 127.0.0.1:${to}; proxy_protocol on; }\n`;
  return `load_module ${streamModule};
daemon off;
master_process off;
pid ${join(folder, 'nginx.pid')};
events {}
stream {
  ssl_certificate ${join(certificates, 'server.crt')};
  ssl_certificate_key ${join(certificates, 'server.key')};
${server('mqtts', mqtt.port, ' ssl')}${server('wss', ws.port, ' ssl')}${server('through', mqtts.port, '')}${server('health', new URL(broker.healthUrl).port, '')}}
`;
}
