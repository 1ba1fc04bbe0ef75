/** The receiving side of QoS 1: counts messages and answers all those of one read with as few writes as possible. */
import { pubackRun } from './packets.js';
import type { Connection } from './connection.js';

export class AcknowledgingSubscriber {
  readonly connection: Connection;
  received = 0;
  /** Called for each message, in order. */
  onMessage: () => void = () => {};
  /** Packet identifiers of this read: a run that is not interrupted, or, when there are several runs, those before it. */
  #runFirst = 0;
  #runCount = 0;
  #earlierRuns: Buffer[] = [];

  constructor(connection: Connection) {
    this.connection = connection;
    connection.onFrame = (bytes, body, _end, type) => {
      if (type !== 3) throw new Error(`unexpected packet type ${type} at a subscriber`);
      const id = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!);
      this.#take((bytes[id]! << 8) | bytes[id + 1]!);
    };
    connection.onRead = () => this.#answer();
  }

  #take(packetId: number): void {
    this.received++;
    this.onMessage();
    if (this.#runCount > 0 && packetId !== this.#runFirst + this.#runCount) {
      this.#earlierRuns.push(pubackRun(this.#runFirst, this.#runCount));
      this.#runCount = 0;
    }
    if (this.#runCount === 0) this.#runFirst = packetId;
    this.#runCount++;
  }

  #answer(): void {
    if (this.#runCount === 0) return;
    const last = pubackRun(this.#runFirst, this.#runCount);
    this.#runCount = 0;
    if (this.#earlierRuns.length === 0) {
      this.connection.socket.write(last);
      return;
    }
    this.connection.socket.write(Buffer.concat([...this.#earlierRuns, last]));
    this.#earlierRuns = [];
  }
}

/** Reads PUBACK identifiers in the order in which the messages were sent [MQTT-4.6.0-2]; anything else is a failure. */
export function onPubackInOrder(publisher: Connection, window: number, onAck: () => void): void {
  let expectedId = 1;
  publisher.onFrame = (bytes, body, end, type) => {
    if (type !== 4) throw new Error(`unexpected packet type ${type} at a publisher`);
    const id = (bytes[body]! << 8) | bytes[body + 1]!;
    const code = end > body + 2 ? bytes[body + 2]! : 0;
    if (code >= 0x80) throw new Error(`PUBACK with reason code ${code}`);
    if (id !== expectedId) throw new Error(`PUBACK for ${id} instead of ${expectedId}`);
    expectedId = (expectedId % window) + 1;
    onAck();
  };
}
