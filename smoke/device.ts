/**
 * One MQTT client with what it has received. It never connects again by itself: a connection that ends is something to
 * tell. Called by `checks.ts`.
 */
import { connect, type IClientOptions, type IConnackPacket, type MqttClient } from 'mqtt';
import { explained, SmokeFailure } from './failure.js';
import type { Options } from './options.js';
import { authorities } from './trust.js';

export interface Received {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
}

export interface DeviceOptions {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly clientId: string;
  /** Above 0 the session outlives the connection, and goes on where it was. */
  readonly sessionExpirySeconds?: number;
}

/** MQTT 5.0 reason codes that a wrong set-up meets. */
const refusals: Readonly<Record<number, string>> = {
  0x86: 'bad user name or password',
  0x87: 'not authorized',
  0x88: 'the broker cannot reach its database',
  0x89: 'the broker is busy',
  0x97: 'the quota of connections is used up',
};

export class Device {
  readonly clientId: string;
  readonly received: Received[] = [];
  readonly #client: MqttClient;
  readonly #timeoutMs: number;
  readonly #abort: AbortSignal;
  /** Why the connection ended, once it has. */
  #ended: string | undefined;
  #sessionPresent = false;
  readonly #changed = new Set<() => void>();

  private constructor(clientId: string, client: MqttClient, timeoutMs: number, abort: AbortSignal) {
    this.clientId = clientId;
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#abort = abort;
    client.on('message', (topic, payload, { qos, retain }) => {
      this.received.push({ topic, payload: payload.toString(), qos, retain });
      this.#tell();
    });
    client.on('error', () => undefined);
    client.on('disconnect', ({ reasonCode = 0 }) => {
      this.#ended = `the broker disconnected with 0x${reasonCode.toString(16)}`;
      this.#tell();
    });
    client.on('close', () => {
      this.#ended ??= 'the connection has ended';
      this.#tell();
    });
  }

  /** Resolves after CONNACK. */
  static async connect(device: DeviceOptions, options: Options, abort: AbortSignal): Promise<Device> {
    const { url, sessionExpirySeconds = 0, ...credentials } = device;
    const ca = authorities(options.ca);
    const client = connect(url, {
      ...credentials,
      ...(ca && { ca }),
      protocolVersion: 5,
      clean: sessionExpirySeconds === 0,
      properties: { sessionExpiryInterval: sessionExpirySeconds },
      reconnectPeriod: 0,
      connectTimeout: options.stepTimeoutMs,
      keepalive: 60,
    } satisfies IClientOptions as IClientOptions);
    const started = new Device(device.clientId, client, options.stepTimeoutMs, abort);
    try {
      await started.#connected();
    } catch (error) {
      started.destroy();
      throw explained(error, { where: new URL(url).host, caFile: options.ca?.file });
    }
    return started;
  }

  #connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.once('connect', ({ sessionPresent }: IConnackPacket) => {
        this.#sessionPresent = sessionPresent;
        resolve();
      });
      this.#client.once('error', (error) => {
        const { code, message } = error as { code?: unknown; message: string };
        if (typeof code === 'string') reject(error);
        else if (typeof code === 'number')
          reject(new SmokeFailure(`the broker refused the connection: ${refusals[code] ?? message}`));
        else
          reject(new Error(`the server there does not speak MQTT: is it the port of an MQTT listener? (${message})`));
      });
      // Without an error before it: nothing was wrong with TCP and TLS, and nobody answered to CONNECT.
      this.#client.once('close', () =>
        reject(new Error('the connection was closed before an answer to CONNECT: is it the port of an MQTT listener?')),
      );
      this.#abort.addEventListener('abort', () => reject(new SmokeFailure('stopped')), { once: true });
    });
  }

  /** Whether the broker had kept the session. */
  get sessionPresent(): boolean {
    return this.#sessionPresent;
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  async subscribe(filter: string, qos: 0 | 1 | 2): Promise<void> {
    const grants = await this.#within(this.#client.subscribeAsync(filter, { qos }), `SUBACK for ${filter}`);
    const [granted] = grants;
    if (granted?.qos !== qos) throw new SmokeFailure(`${filter} was granted with ${granted?.qos}, not QoS ${qos}`);
  }

  /** Resolves when the broker has acknowledged it, which with QoS 0 it never does. */
  async publish(topic: string, payload: string, options: { qos: 0 | 1 | 2; retain?: boolean }): Promise<void> {
    const what = `the acknowledgement of QoS ${options.qos}`;
    const packet = await this.#within(this.#client.publishAsync(topic, payload, options), what);
    const { reasonCode = 0 } = (packet ?? {}) as { reasonCode?: number };
    if (reasonCode >= 0x80) throw new SmokeFailure(`the broker refused the message: 0x${reasonCode.toString(16)}`);
  }

  /** The one message with this payload; fails when it has come twice. */
  async message(payload: string): Promise<Received> {
    const matching = (): Received[] => this.received.filter((one) => one.payload === payload);
    await this.until(() => matching().length > 0, `the message ${payload}`);
    const [first] = matching();
    if (first === undefined || matching().length > 1) throw new SmokeFailure(`${payload} has arrived more than once`);
    return first;
  }

  /** Resolves when it is so; fails when the time is up, or when the connection ends and it is still not so. */
  async until(isSo: () => boolean, what: string): Promise<void> {
    if (isSo()) return;
    let look = (): void => undefined;
    const so = new Promise<void>((resolve) => (look = () => isSo() && resolve()));
    this.#changed.add(look);
    await this.#within(so, what).finally(() => this.#changed.delete(look));
  }

  /** Sends DISCONNECT. */
  async end(): Promise<void> {
    await this.#client.endAsync();
  }

  destroy(): void {
    this.#client.end(true);
  }

  #tell(): void {
    for (const look of this.#changed) look();
  }

  /** `promise`, unless the time is up, the connection ends or the whole test is stopped before. */
  async #within<T>(promise: Promise<T>, what: string): Promise<T> {
    let fail = (_why: string): void => undefined;
    const over = new Promise<never>((_, reject) => (fail = (why) => reject(new SmokeFailure(why))));
    const timer = setTimeout(() => fail(`${what} did not come within ${this.#timeoutMs / 1000} s`), this.#timeoutMs);
    const onAbort = (): void => fail('stopped');
    // After what the promise waits for, which may be the end of the connection itself.
    const onChange = (): void => void setImmediate(() => this.#ended && fail(`${what} did not come: ${this.#ended}`));
    this.#abort.addEventListener('abort', onAbort);
    this.#changed.add(onChange);
    onChange();
    try {
      return await Promise.race([promise, over]);
    } catch (error) {
      if (error instanceof SmokeFailure) throw error;
      throw new SmokeFailure(`${what} did not come: ${(error as Error).message}`, { cause: error });
    } finally {
      clearTimeout(timer);
      this.#abort.removeEventListener('abort', onAbort);
      this.#changed.delete(onChange);
    }
  }
}
