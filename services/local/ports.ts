/**
 * Asks the system, before any process is started, whether every listener can have its port: the answer names the flag,
 * which a broker that fails to listen does not know.
 */
import { createServer, isIPv6, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { StartFailure, systemCode } from './failure.js';
import { type Listener, listeners, type Settings } from './settings.js';

const retryEveryMs = 100;

/** Throws StartFailure at the first port that cannot be had; a port in use is tried again for `patienceMs`. */
export async function checkPorts({ host, ports }: Pick<Settings, 'host' | 'ports'>, patienceMs: number): Promise<void> {
  const givingUpMs = performance.now() + patienceMs;
  for (const listener of listeners) {
    for (;;) {
      const code = await tryPort(host, ports[listener]);
      if (code === undefined) break;
      if (code === 'EADDRINUSE' && performance.now() < givingUpMs) await delay(retryEveryMs);
      else throw new StartFailure(explained(code, host, ports[listener], `--${listener}-port`));
    }
  }
}

/** The code of the error that listening ends with, or undefined. */
async function tryPort(host: string, port: number): Promise<string | undefined> {
  const server: Server = createServer();
  return await new Promise((resolve) => {
    server.once('error', (error) => resolve(systemCode(error) ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** What listening has failed with, where the port was free a moment ago. */
export function portFailure(error: unknown, host: string, port: number, listener: Listener): unknown {
  const code = systemCode(error);
  return code === undefined ? error : new StartFailure(explained(code, host, port, `--${listener}-port`));
}

function explained(code: string, host: string, port: number, flag: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} (${flag}) is already in use on ${host}; stop the program that uses it, or choose another port (0 picks a free one)`;
    case 'EACCES':
      return `port ${port} (${flag}) needs privileges that this process does not have; choose one above 1023`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${host} (--host) is neither an address nor a name that this machine can resolve; use one such as 127.0.0.1 or 0.0.0.0`;
    case 'EAFNOSUPPORT':
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
      return isIPv6(host)
        ? `${host} (--host) is not an address of this machine, or IPv6 is off; use one of its addresses, or 0.0.0.0 for all of IPv4`
        : `${host} (--host) is not an address of this machine; use one of its addresses, or 0.0.0.0 for all`;
    default:
      return `cannot listen on ${host} port ${port} (${flag}): ${code}`;
  }
}
