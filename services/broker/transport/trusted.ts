/** The load balancers that are believed when they say who a client is: a list of networks, from a setting. */
import { BlockList, isIP } from 'node:net';

/** `10.0.0.0/16,fd00::/8`; an address alone is itself. Returns the first part that is neither, or the list. */
export function trustedProxies(text: string): BlockList | { readonly notANetwork: string } {
  const list = new BlockList();
  for (const part of text.split(',').map((each) => each.trim())) {
    const [address = '', prefix, ...more] = part.split('/');
    const family = isIP(address);
    const bits = family === 6 ? 128 : 32;
    const prefixBits = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : NaN;
    if (family === 0 || more.length > 0 || !(prefixBits <= bits)) return { notANetwork: part };
    list.addSubnet(address, prefixBits, family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}
