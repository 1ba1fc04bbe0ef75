/**
 * What one conformance row works with: clients of the right protocol level and account, and names that no other row
 * uses, so that rows can run side by side against one broker.
 */
import { type ConnectFields } from '../support/packet-bytes.js';
import { PacketClient } from '../support/packet-client.js';
import type { ProtocolLevel } from '../support/packet-codec.js';
import type { Credential, TestBroker } from '../support/broker.js';

let trials = 0;

export class Trial {
  readonly broker: TestBroker;
  readonly level: ProtocolLevel;
  readonly v5: boolean;
  readonly #n = ++trials;
  #names = 0;
  #clients: PacketClient[] = [];

  constructor(broker: TestBroker, level: ProtocolLevel) {
    this.broker = broker;
    this.level = level;
    this.v5 = level === 5;
  }

  /** A topic of this trial only. */
  topic(rest = 'a'): string {
    return `trial/${this.#n}/${rest}`;
  }

  /** A client identifier of this trial only; the same label gives the same one. */
  id(label: string): string {
    return `t${this.#n}${label}`;
  }

  /** A name that is new at each call. */
  fresh(): string {
    return `t${this.#n}n${++this.#names}`;
  }

  /** An open connection on which nothing has been sent. */
  async raw(level: ProtocolLevel = this.level): Promise<PacketClient> {
    const client = await PacketClient.open(this.broker.mqttPort, level);
    client.reasonOptional = this.broker.target === 'mosquitto';
    this.#clients.push(client);
    return client;
  }

  /** CONNECT fields with what a row does not care about filled in: the account, a client identifier, clean start. */
  fields(fields: ConnectFields & { as?: Credential } = {}): ConnectFields {
    const { as, ...rest } = fields;
    const account = as ?? this.broker.account;
    return { version: this.level, clientId: this.fresh(), ...account, ...rest };
  }

  /** A connected client. */
  async connect(fields: ConnectFields & { as?: Credential } = {}): Promise<PacketClient> {
    const all = this.fields(fields);
    return (await this.raw(all.version)).connect(all);
  }

  /** A client with a session that outlives the connection, in the way of its protocol version. */
  async persistent(label: string, fields: ConnectFields = {}): Promise<PacketClient> {
    const v5 = (fields.version ?? this.level) === 5;
    const properties = v5 ? { properties: { sessionExpiryInterval: 300, ...fields.properties } } : {};
    return this.connect({ clean: false, ...fields, ...properties, clientId: this.id(label) });
  }

  /** A client that has subscribed. */
  async subscriber(filter: string, qos: 0 | 1 | 2 = 2, fields: ConnectFields = {}): Promise<PacketClient> {
    const client = await this.connect(fields);
    await client.subscribe({ filter, qos });
    return client;
  }

  /** Sends these bytes after CONNACK and requires the close; in v5 with this reason. */
  async refuses(reason: number | number[], ...parts: (Buffer | string)[]): Promise<void> {
    const client = await this.connect();
    client.send(...parts);
    await client.expectClosed(this.v5 ? reason : undefined);
  }

  /** Sends these bytes as the first thing on a connection and requires the close; in v5 with this reason if any is sent. */
  async refusesConnect(reason: number | number[], ...parts: (Buffer | string)[]): Promise<void> {
    const client = await this.raw();
    client.send(...parts);
    await client.expectClosed(this.v5 ? reason : undefined);
  }

  end(): void {
    for (const client of this.#clients) client.destroy();
  }
}
