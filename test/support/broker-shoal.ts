/**
 * The real stack behind the TestBroker interface, started as `npm start` starts it: embedded DynamoDB, the broker in a
 * process of its own, and the tenant API, through which the tenants and credentials of the rows are made.
 */
import { type QuotaKind, quotaKinds } from '../../services/tenancy/tenancy.js';
import { call, endpointsIn, freePorts, Workshop } from '../local/shoal.js';
import type { Credential, TestBroker } from './broker.js';

/** Rows are about the protocol: the rates and numbers of the free plan would only slow them down. */
const kept: readonly QuotaKind[] = [
  'messageBytesMax',
  'sessionExpirySecondsMax',
  'queuedMessagesPerSession',
  'credentials',
];
const unlimited = Object.fromEntries(
  quotaKinds.filter(({ kind }) => !kept.includes(kind)).map(({ kind }) => [kind, null]),
);

export async function startShoal(): Promise<TestBroker> {
  const workshop = new Workshop();
  try {
    return await startIn(workshop);
  } catch (error) {
    await workshop.clean();
    throw error;
  }
}

async function startIn(workshop: Workshop): Promise<TestBroker> {
  const folder = workshop.folder();
  const shoal = await workshop.start(['--ephemeral', '--data', folder, ...freePorts]).ready();
  const { api, mqtt, ws, operatorKey } = endpointsIn(folder);

  const ask = async (path: string, key: string | undefined, body: unknown, method = 'POST') => {
    const answer = await call(`${api.url}/v1/tenants${path}`, { method, body, ...(key === undefined ? {} : { key }) });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };

  /** API keys of the tenants made so far, by name. */
  const tenants = new Map<string, Promise<string>>();
  const tenantKey = (name: string, quotas: Record<string, number> = {}): Promise<string> => {
    const make = async (): Promise<string> => {
      const { apiKey } = await ask('', undefined, { name });
      // Before the first connection: the broker reads the quotas with the tenant.
      await ask(`/${name}/quotas`, operatorKey, { ...unlimited, ...quotas }, 'PUT');
      return apiKey as string;
    };
    if (!tenants.has(name)) tenants.set(name, make());
    return tenants.get(name)!;
  };

  let credentials = 0;
  const credential: TestBroker['credential'] = async ({ grants, tenant = 'rows', quotas }) => {
    const key = await tenantKey(tenant, quotas);
    const body = { name: `c${++credentials}`, ...(grants ? { grants } : {}) };
    const { username, password } = await ask(`/${tenant}/credentials`, key, body);
    return { username, password } as Credential;
  };

  return {
    target: 'shoal',
    mqttPort: mqtt.port,
    wsPort: ws.port,
    account: await credential({}),
    credential,
    async close() {
      const code = await shoal.stop();
      await workshop.clean();
      if (code !== 0 || shoal.stderr !== '') throw new Error(`Shoal ended with ${code}: ${shoal.stderr}`);
    },
  };
}
