/**
 * The QoS 1 and 2 messages that one client has not finished, by packet identifier: a ring of slots, because identifiers
 * are given out one after the other. Not a Map: one that is written with every message is rehashed all the time, and V8
 * links each old table to its successor, which keeps what they hold until a full collection.
 */
export interface Numbered {
  packetId: number;
  /** Its place in the order of sending; set here. */
  sequence: number;
  /** What it takes to hold it does not change. */
  readonly message: { readonly heldBytes: number };
}

const slotsMin = 8;
/** 4 KiB: a ring that had to grow beyond is given back when it is empty, or every client would keep its largest. */
const slotsKept = 512;

export class InFlight<T extends Numbered> {
  size = 0;
  /** Of memory that the messages take. */
  bytes = 0;
  /** A power of two, at least twice `size`. */
  #slots: (T | undefined)[] = emptySlots<T>(slotsMin);
  #mask = slotsMin - 1;
  #lastPacketId = 0;
  #lastUpper = 0;
  #lastSequence = 0;

  get(packetId: number): T | undefined {
    const found = this.#slots[packetId & this.#mask];
    return found?.packetId === packetId ? found : undefined;
  }

  /** [MQTT-2.2.1-4] An identifier that is not in use, and whose slot is free; of all, or of one half of them. */
  nextPacketId(half: 'any' | 'lower' | 'upper' = 'any'): number {
    if (this.size * 2 >= this.#slots.length) this.#grow();
    if (half === 'upper') {
      do this.#lastUpper = (this.#lastUpper % 32_768) + 1;
      while (this.#slots[(this.#lastUpper + 32_767) & this.#mask] !== undefined);
      return this.#lastUpper + 32_767;
    }
    const last = half === 'any' ? 65_535 : 32_767;
    do this.#lastPacketId = (this.#lastPacketId % last) + 1;
    while (this.#slots[this.#lastPacketId & this.#mask] !== undefined);
    return this.#lastPacketId;
  }

  /** With the identifier that `nextPacketId` gave, or one of an earlier life of the session. */
  add(item: T): void {
    while (this.#slots[item.packetId & this.#mask] !== undefined || this.size * 2 >= this.#slots.length) this.#grow();
    if (item.packetId > 32_767) this.#lastUpper = Math.max(this.#lastUpper, item.packetId - 32_767);
    item.sequence = ++this.#lastSequence;
    this.#slots[item.packetId & this.#mask] = item;
    this.size++;
    this.bytes += item.message.heldBytes;
  }

  delete(packetId: number): void {
    const item = this.get(packetId);
    if (item === undefined) return;
    this.#slots[packetId & this.#mask] = undefined;
    this.size--;
    this.bytes -= item.message.heldBytes;
    if (this.size === 0 && this.#slots.length > slotsKept) this.#resize(slotsMin);
  }

  /** In the order of sending, which identifiers tell only until they start again from 1. */
  inOrder(): T[] {
    return this.#slots.filter((item) => item !== undefined).sort((a, b) => a.sequence - b.sequence);
  }

  #grow(): void {
    const items = this.#slots;
    this.#resize(items.length * 2);
    for (const item of items) if (item !== undefined) this.#slots[item.packetId & this.#mask] = item;
  }

  #resize(length: number): void {
    this.#slots = emptySlots(length);
    this.#mask = length - 1;
  }
}

function emptySlots<T>(length: number): (T | undefined)[] {
  return new Array<T | undefined>(length).fill(undefined);
}
