/** What the conformance rows ask of a broker; `start-broker.ts` chooses one. */
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
