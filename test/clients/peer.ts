/** The other end of each conversation: mqtt.js over plain TCP, MQTT 5. One is enough for all conversations of a file. */
import { connectAsync, type MqttClient } from 'mqtt';
import type { Endpoints } from '../../services/local/endpoints.js';
import type { Credential } from '../support/broker.js';

type QoS = 0 | 1 | 2;

export class Peer {
  readonly #client: MqttClient;
  #identifiers = 0;
  #bursts: Promise<void> = Promise.resolve();

  private constructor(client: MqttClient) {
    this.#client = client;
    // One listener a conversation.
    client.setMaxListeners(0);
  }

  /** Its session is stored, so that it hears after a crash of the broker what others have published meanwhile. */
  static async connect(endpoints: Endpoints, account: Credential, clientId: string): Promise<Peer> {
    const session = { clientId, clean: false, properties: { sessionExpiryInterval: 3600 } };
    const options = { ...account, ...session, protocolVersion: 5, reconnectPeriod: 200 } as const;
    return new Peer(await connectAsync(endpoints.mqtt.url, options));
  }

  /** Messages as `QOS RETAIN TOPIC PAYLOAD`; what is listened to already comes again, if it is retained, to this listener alone. */
  async listen(filter: string): Promise<string[]> {
    const heard: string[] = [];
    const subscriptionIdentifier = ++this.#identifiers;
    this.#client.on('message', (topic, payload, { qos, retain, properties }) => {
      if ([properties?.subscriptionIdentifier].flat().includes(subscriptionIdentifier))
        heard.push(`${qos} ${retain ? 1 : 0} ${topic} ${payload.toString()}`);
    });
    await this.#client.subscribeAsync(filter, { qos: 2, properties: { subscriptionIdentifier } });
    return heard;
  }
  async publish(topic: string, payload: string, qos: QoS, retain = false): Promise<void> {
    await this.#client.publishAsync(topic, payload, { qos, retain });
  }

  /**
   * Payloads 0, 1, …, QoS 1; resolves when all are acknowledged. One conversation after the other: together they would have
   * more under way than the broker's Receive Maximum, which mqtt.js does not heed.
   */
  publishAtOnce(count: number, topic: string): Promise<void> {
    const send = async (): Promise<void> => {
      await Promise.all(Array.from({ length: count }, (_, i) => this.publish(topic, String(i), 1)));
    };
    return (this.#bursts = this.#bursts.then(send, send));
  }

  async close(): Promise<void> {
    await this.#client.endAsync(true);
  }
}
