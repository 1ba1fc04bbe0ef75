/**
 * The QoS 2 messages that a persistent publisher has sent and not released: their packet identifiers, stored before
 * PUBREC and removed before PUBCOMP, so that after a crash a repeated PUBLISH is known and a new one is not taken for
 * a repetition. [MQTT-4.3.3-10]
 *
 * A PUBREC waits for the stored identifier, which is stored after the message is safe with every subscriber: a crash in
 * between makes the client send again what it never got an answer for.
 */
import { handedOn, PendingReceipt, type Receipt } from '../message/message.js';
import type { CommitLog, CommitSource, Write } from './commit.js';

export class Received implements CommitSource {
  readonly partition: string;
  readonly #log: CommitLog;
  readonly #packetIds = new Set<number>();
  #epoch = 0;
  #next: PendingReceipt | undefined;
  #writing: PendingReceipt | undefined;

  constructor(partition: string, log: CommitLog) {
    this.partition = partition;
    this.#log = log;
  }

  renew(epoch: number): void {
    this.#epoch = epoch;
  }

  /** After a restart. */
  restore(packetIds: readonly number[]): void {
    for (const packetId of packetIds) this.#packetIds.add(packetId);
  }

  add(packetId: number): Receipt {
    this.#packetIds.add(packetId);
    return this.#store();
  }

  remove(packetId: number): Receipt {
    return this.#packetIds.delete(packetId) ? this.#store() : handedOn;
  }

  #store(): Receipt {
    this.#next ??= new PendingReceipt();
    this.#log.request(this);
    return this.#next;
  }

  take(): readonly Write[] {
    if (!this.#next) return [];
    this.#writing = this.#next;
    this.#next = undefined;
    return [{ kind: 'received', packetIds: [...this.#packetIds], epoch: this.#epoch }];
  }

  confirmed(): void {
    this.#settle(0);
  }

  refused(): void {
    this.#settle(0x83);
  }

  #settle(reasonCode: number): void {
    const written = this.#writing;
    this.#writing = undefined;
    if (this.#next) this.#log.request(this);
    written?.settle(reasonCode);
  }
}
