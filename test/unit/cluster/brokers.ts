/** Brokers that serve together, and clients of them, for as long as a test takes. */
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { onTestFinished } from 'vitest';
import { password, type ServingBroker, serving as serve } from '../../support/serving-brokers.js';

export { key } from '../../support/serving-brokers.js';

/** As `serve`; they stop with the test. */
export async function serving(...all: Parameters<typeof serve>): Promise<TestedBroker[]> {
  return (await serve(...all)).map((broker) => {
    onTestFinished(() => broker.stop());
    return Object.assign(broker, { client: (options?: Wish) => connect(broker, options) });
  });
}

type Wish = IClientOptions & { readonly tenant?: 'acme' | 'other' };
export type TestedBroker = ServingBroker & { client(options?: Wish): Promise<Client> };

async function connect({ port }: ServingBroker, { tenant = 'acme', ...options }: Wish = {}): Promise<Client> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    ...{ username: `device@${tenant}`, password, reconnectPeriod: 0, protocolVersion: 5, ...options },
  });
  onTestFinished(() => void client.end(true));
  const connected = new Client(client); // What waits for its session comes with CONNACK.
  await new Promise<void>((resolve, reject) => client.once('connect', () => resolve()).once('error', reject));
  return connected;
}

export class Client {
  readonly mqtt: MqttClient;
  /** `topic payload`, as they come. */
  readonly got: string[] = [];

  constructor(client: MqttClient) {
    this.mqtt = client;
    client.on('message', (topic, payload) => void this.got.push(`${topic} ${payload.toString()}`));
    client.on('error', () => undefined);
  }

  async subscribe(filter: string, qos: 0 | 1 | 2 = 0): Promise<void> {
    await this.mqtt.subscribeAsync(filter, { qos });
  }

  publish(topic: string, payload: string | Buffer, qos: 0 | 1 | 2 = 0, retain = false): Promise<unknown> {
    return this.mqtt.publishAsync(topic, payload, { qos, retain });
  }
}
