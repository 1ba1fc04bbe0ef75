/**
 * Wills of QoS 2, as origins of the messages that they become: known by the client and the epoch of the claim that set
 * them, so that no stored session and no group gets one twice. A will leaves its record only after it is safe with
 * whoever is to get it (G8), and what is stored of it outlives its delivery until the record has let it go. That costs
 * no write: both are written anyway. State by crash point, for the next broker, which inherits the record:
 *
 *  | the broker died                                 | record     | subscriber's item | then                               |
 *  | ----------------------------------------------- | ---------- | ----------------- | ---------------------------------- |
 *  | before the will was published                   | has it     | none              | it is published                    |
 *  | before every subscriber had stored it           | has it     | some have one     | the others get it                  |
 *  | before the record was released or removed       | has it     | all, kept         | nobody gets it again               |
 *  | after that                                      | without    | as far as it is   | nothing is due                     |
 *  | after a CONNECT had claimed the record          | a new will | as far as it is   | the new one is due                 |
 *
 * Any number of brokers may die so one after the other: `willEpoch` goes with the record. Wills of QoS 0 and 1, and
 * subscribers whose sessions end with their connections, get it at least once.
 */
import { type ClientId, SparseMap } from '../../kernel/kernel.js';
import { handedOn, type Origin, type OriginName, PendingReceipt, type Receipt } from '../message/message.js';

interface KeptWill {
  readonly epoch: number;
  /** An earlier broker may have published it. */
  readonly isInherited: boolean;
  readonly gone: PendingReceipt;
}

export class KeptWills {
  readonly #byClient = new SparseMap<ClientId, KeptWill>();

  /** The client's record holds a will of QoS 2, set by the claim of that epoch, and no other one any more. */
  keep(clientId: ClientId, epoch: number, isInherited: boolean): void {
    this.letGo(clientId, epoch);
    this.#byClient.set(clientId, { epoch, isInherited, gone: new PendingReceipt() });
  }

  /** The client's record, as it is stored, holds no will that was set at `epoch` or before. */
  letGo(clientId: ClientId, epoch: number): void {
    const kept = this.#byClient.get(clientId);
    if (!kept || kept.epoch > epoch) return;
    this.#byClient.delete(clientId);
    kept.gone.settle(0);
  }

  originOf(clientId: ClientId): Origin | undefined {
    const kept = this.#byClient.get(clientId);
    if (!kept) return undefined;
    const { epoch, isInherited, gone } = kept;
    const isSame = (stored: OriginName): boolean => stored.epoch === epoch;
    return { epoch, number: 0, packetId: 0, again: isInherited ? isSame : undefined, settled: gone };
  }

  /** Settles when the record does not hold this will any more. */
  settlementOf(clientId: ClientId, { epoch }: OriginName): Receipt {
    const kept = this.#byClient.get(clientId);
    return kept?.epoch === epoch ? kept.gone : handedOn;
  }
}

export const isWill = ({ packetId }: OriginName): boolean => packetId === 0;
