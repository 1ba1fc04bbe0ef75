/**
 * The broker that conformance rows run against.
 *
 * The target is chosen by CONFORMANCE_TARGET: `shoal` (default) is the real stack (embedded DynamoDB, real tables, a tenant
 * and its credentials, the bundled broker in a child process); `mosquitto` is a sanity check of the rows themselves, where
 * rows on which that peer knowingly differs are skipped.
 */

/** What a row may ask of the account it connects with; everything inside the tenant when absent. */
export interface Grant {
  effect: 'allow' | 'deny';
  action: 'publish' | 'subscribe' | 'all';
  topic: string;
}

export interface Credential {
  username: string;
  password: string;
}

/** The target has no such feature by design; the row is skipped there. */
export class NotOffered extends Error {}

export interface TestBroker {
  target: 'shoal' | 'mosquitto';
  mqttPort: number;
  /** Absent when the target was built without WebSocket. */
  wsPort?: number;
  /** The account that rows use unless they say otherwise: all rights in one tenant. */
  account: Credential;
  /** Another account, of another tenant when `tenant` names one. */
  credential(options: { grants?: Grant[]; tenant?: string; quotas?: Record<string, number> }): Promise<Credential>;
  close(): Promise<void>;
}

export async function startTestBroker(): Promise<TestBroker> {
  // Loaded on demand: neither target needs what the other imports.
  if (process.env['CONFORMANCE_TARGET'] === 'mosquitto')
    return (await import('./broker-mosquitto.js')).startMosquitto();
  return (await import('./broker-shoal.js')).startShoal();
}
