/** `host:port`, with brackets around IPv6: where the other brokers dial. */
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Undefined: not an address. */
export function readAddress(text: string): Address | undefined {
  const [, bracketed, plain, digits] =
    /^(?:\[([0-9a-fA-F:.]{2,45})\]|([a-zA-Z0-9.-]{1,200})):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const host = bracketed ?? plain;
  if (host === undefined || !(port >= 1 && port <= 65_535)) return undefined;
  return bracketed !== undefined && isIP(bracketed) !== 6 ? undefined : { host, port };
}

export const addressText = ({ host, port }: Address): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/**
 * The host that others reach a listener by which is bound to `host`: that itself, or the one address of this machine for one that is
 * bound to all. Undefined when there are several or none: then a person has to say it.
 */
export function reachableHost(host: string, interfaces = networkInterfaces()): string | undefined {
  if (host !== '0.0.0.0' && host !== '::') return host;
  const own = Object.values(interfaces).flatMap((addresses = []) =>
    // Link-local: a task of Fargate has one beside its own, for the metadata.
    addresses.filter(
      ({ internal, family, address }) => !internal && family === 'IPv4' && !address.startsWith('169.254.'),
    ),
  );
  return own.length === 1 ? own[0]!.address : undefined;
}
