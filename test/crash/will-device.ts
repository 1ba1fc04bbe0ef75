/**
 * Does nothing but stay connected with a will, a new one for each connection. A connection that ends without DISCONNECT
 * makes its will due, also when it is the broker that has died; a will whose delay is not over when the client is back
 * must never be published [MQTT-3.1.3-9].
 */
import type { Will } from '../support/packet-bytes.js';
import { Device, type DeviceOptions, type World } from './device.js';
import { type Key, keyOf } from './history.js';

export interface WillOptions extends DeviceOptions {
  /** Longer than any absence in the test, or 0. */
  readonly delaySeconds: number;
  /** Default 1. */
  readonly qos?: 1 | 2;
  /** So long that it is stored in an item of its own. */
  readonly isLong?: boolean;
}

export class WillDevice extends Device {
  readonly #delaySeconds: number;
  readonly #qos: 1 | 2;
  readonly #isLong: boolean;
  #connections = 0;
  #key: Key = '';
  #leaving = false;

  constructor(world: World, options: WillOptions) {
    super(world, options);
    this.#delaySeconds = options.delaySeconds;
    this.#qos = options.qos ?? 1;
    this.#isLong = options.isLong ?? false;
  }

  protected override will(): Will {
    const topic = `will/${this.clientId}`;
    const n = ++this.#connections;
    this.#key = keyOf(this.clientId, topic, n);
    const client = this.clientId;
    this.world.history.add({ type: 'sent', client, key: this.#key, topic, n, qos: this.#qos, will: true });
    const properties = {
      ...(this.#delaySeconds > 0 && { willDelayInterval: this.#delaySeconds }),
      ...(this.#isLong && { contentType: 'x'.repeat(20_000) }),
    };
    return { topic, payload: this.#key, qos: this.#qos, properties };
  }

  protected onConnected(): void {
    if (this.#delaySeconds > 0) this.#cancel();
  }

  protected onPacket(): void {}

  protected override onEnded(): void {
    if (this.#delaySeconds === 0 && !this.#leaving)
      this.world.history.add({ type: 'acknowledged', client: this.clientId, key: this.#key, by: this.by });
  }

  protected override onLeaving(): void {
    this.#leaving = true;
    this.#cancel();
  }

  #cancel(): void {
    this.world.history.add({ type: 'cancelled', client: this.clientId, key: this.#key });
  }
}
