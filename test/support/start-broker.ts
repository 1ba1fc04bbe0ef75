/**
 * The broker that conformance rows run against.
 *
 * The target is chosen by CONFORMANCE_TARGET: `shoal` (default) is the real stack (embedded DynamoDB, the tenant API, the
 * bundled broker in a process of its own); `mosquitto` is a sanity check of the rows themselves, where rows on which that
 * peer knowingly differs are skipped.
 */
import type { TestBroker } from './broker.js';

export async function startTestBroker(): Promise<TestBroker> {
  // Loaded on demand: neither target needs what the other imports.
  if (process.env['CONFORMANCE_TARGET'] === 'mosquitto')
    return (await import('./broker-mosquitto.js')).startMosquitto();
  return (await import('./broker-shoal.js')).startShoal();
}
