/**
 * One MQTT client whose session outlives its connections: it connects again by itself, for ever, as a device does whose
 * broker goes away. What it sends and answers is up to the classes that extend it.
 */
import type { Chance } from '../support/chance.js';
import type { Credential } from '../support/broker.js';
import type { Will } from '../support/packet-bytes.js';
import { PacketClient } from '../support/packet-client.js';
import { BrokerFault, type Packet } from '../support/packet-codec.js';
import type { History } from './history.js';

/** Where a client can connect now. */
export interface Broker {
  readonly name: string;
  readonly port: number;
}

export interface World {
  readonly history: History;
  readonly chance: Chance;
  readonly account: Credential;
  /** The broker that a load balancer would choose now. */
  broker(): Broker | undefined;
}

export interface DeviceOptions {
  readonly clientId: string;
  readonly level?: 4 | 5;
  readonly receiveMaximum?: number;
  /** 0: the session ends with its connection. Default: an hour, of MQTT 3.1.1 as long as the tenant may. */
  readonly expirySeconds?: number;
  /** Discards its session whenever it connects. */
  readonly startsClean?: boolean;
}

/** A broker that restarts or waits for DynamoDB may take a while to answer a CONNECT. */
const connackWithinMs = 30_000;
const foreverMs = 1_000_000;

export abstract class Device {
  readonly clientId: string;
  protected readonly world: World;
  /** The connection, once its CONNACK has come. */
  protected packets: PacketClient | undefined;
  /** Who answers on this connection. */
  protected by = '';
  readonly #level: 4 | 5;
  readonly #options: DeviceOptions;
  /** True after a CONNACK of a session that is to be kept. */
  #isKnown = false;
  #wanted = false;
  #life: Promise<void> = Promise.resolve();
  #socket: PacketClient | undefined;

  constructor(world: World, options: DeviceOptions) {
    this.world = world;
    this.clientId = options.clientId;
    this.#options = options;
    this.#level = options.level ?? 5;
  }

  start(): void {
    this.#wanted = true;
    this.#life = this.#live();
  }

  get isConnected(): boolean {
    return this.packets !== undefined;
  }

  /** Who it is connected to; undefined when it is not. */
  get at(): string | undefined {
    return this.packets === undefined ? undefined : this.by;
  }

  /** Loses the connection, as a network does, and connects again. */
  drop(): void {
    this.#socket?.destroy();
  }

  /** Says goodbye when it can, and does not come back. */
  async stop(): Promise<void> {
    this.#wanted = false;
    if (this.packets) this.onLeaving();
    this.packets?.sendDisconnect();
    this.packets?.hangUp();
    const destroyLater = setTimeout(() => this.#socket?.destroy(), 500);
    await this.#life;
    clearTimeout(destroyLater);
    this.#socket?.destroy();
  }

  /** The will of the next connection. */
  protected will(): Will | undefined {
    return undefined;
  }

  /** How long to stay away after a connection has ended. */
  protected awayMs(): number {
    return this.world.chance.between(5, 60);
  }

  protected abstract onConnected(packets: PacketClient, connack: Packet): void;
  protected abstract onPacket(packets: PacketClient, packet: Packet): void;
  protected onEnded(): void {}
  /** DISCONNECT is about to be sent. */
  protected onLeaving(): void {}

  async #live(): Promise<void> {
    while (this.#wanted) {
      const broker = this.world.broker();
      if (broker) await this.#connect(broker);
      if (this.#wanted) await wait(broker ? this.awayMs() : 10);
    }
  }

  async #connect(broker: Broker): Promise<void> {
    const { history } = this.world;
    const client = this.clientId;
    try {
      const packets = await PacketClient.open(broker.port, this.#level);
      this.#socket = packets;
      packets.boundMs = connackWithinMs;
      packets.sendConnect(this.#connectFields());
      const connack = await packets.next('connack');
      if (connack.reasonCode !== 0) throw new Error(`CONNECT answered 0x${connack.reasonCode?.toString(16)}`);
      const expected = this.#isKnown ? { expected: true } : {};
      history.add({
        type: 'connected',
        client,
        by: broker.name,
        present: connack.sessionPresent === true,
        ...expected,
      });
      this.#isKnown = this.#options.expirySeconds !== 0 && !this.#options.startsClean;
      packets.boundMs = foreverMs;
      this.packets = packets;
      this.by = broker.name;
      this.onConnected(packets, connack);
      for (;;) this.onPacket(packets, await packets.next());
    } catch (error) {
      if (error instanceof BrokerFault) history.add({ type: 'fault', client, what: error.message });
      if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED')
        history.add({ type: 'ended', client, why: (error as Error).message });
    }
    this.#socket?.destroy();
    if (this.packets) this.onEnded();
    this.packets = undefined;
  }

  #connectFields(): Parameters<PacketClient['sendConnect']>[0] {
    const { clientId, receiveMaximum, expirySeconds = 3600, startsClean = false } = this.#options;
    const will = this.will();
    const properties = { sessionExpiryInterval: expirySeconds, ...(receiveMaximum && { receiveMaximum }) };
    return {
      version: this.#level,
      clientId,
      clean: startsClean || expirySeconds === 0,
      ...this.world.account,
      ...(will && { will }),
      ...(this.#level === 5 && { properties }),
    };
  }
}

export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
