/** Comparing a received packet with what a row expects, and naming it in a failure. */
import type { Packet } from './packet-codec.js';

export const hex = (n: number): string => `0x${n.toString(16).padStart(2, '0')}`;

export function describe(p: Packet): string {
  const { raw, payload, ...rest } = p;
  const reason = p.reasonCode === undefined ? '' : ` ${hex(p.reasonCode)}`;
  return `${p.cmd}${reason} ${JSON.stringify({ ...rest, ...(payload && { payload: String(payload).slice(0, 80) }) })} (${raw.toString('hex').slice(0, 120)})`;
}

/** Objects match when every named field does; everything else must be equal. */
export function isSubset(wanted: unknown, got: unknown): boolean {
  if (Buffer.isBuffer(wanted)) return Buffer.isBuffer(got) && wanted.equals(got);
  if (Array.isArray(wanted))
    return Array.isArray(got) && got.length === wanted.length && wanted.every((w, i) => isSubset(w, got[i]));
  if (typeof wanted === 'object' && wanted !== null)
    return (
      typeof got === 'object' &&
      got !== null &&
      Object.entries(wanted).every(([k, w]) => isSubset(w, (got as Record<string, unknown>)[k]))
    );
  return wanted === got;
}
