/** Clients that obey the specification, one packet after the other as a story wants it. */
import type { Packet } from 'mqtt-packet';
import { ack, type Device } from './site.js';

type QoS = 1 | 2;
interface Sent {
  readonly topic: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly packetId: number;
  released: boolean;
  tries: number;
}

/** Sends again, under the old identifiers, whatever is not acknowledged when it comes back. */
export class Publisher {
  say: (what: string) => void = () => undefined;
  /** Not all clients say that they send again. [MQTT-3.3.1-1] */
  setsDup = true;
  device: Device | undefined;
  readonly sent: Sent[] = [];
  readonly all: Sent[] = [];
  #count = 0;
  publish(topic: string, qos: QoS): void {
    let packetId = 1;
    while (this.sent.some((one) => one.packetId === packetId)) packetId++;
    const one: Sent = { topic, qos, packetId, payload: `${topic}${qos}-${++this.#count}`, released: false, tries: 0 };
    this.sent.push(one);
    this.all.push(one);
    this.#send(one);
  }
  #send(one: Sent): void {
    if (one.released) this.device!.send(ack('pubrel', one.packetId));
    else
      this.device!.send({
        cmd: 'publish',
        topic: one.topic,
        payload: one.payload,
        qos: one.qos,
        messageId: one.packetId,
        dup: one.tries++ > 0 && this.setsDup,
        retain: false,
      });
  }
  resend(): void {
    for (const one of [...this.sent]) this.#send(one);
  }
  hear(): void {
    for (const p of this.device?.take() ?? []) {
      this.say(`p < ${p.cmd} ${p.messageId ?? ''}`);
      const one = this.sent.find(({ packetId }) => packetId === p.messageId);
      if (!one) continue;
      if (p.cmd === 'pubrec') {
        one.released = true;
        this.device!.send(ack('pubrel', one.packetId));
      } else if (p.cmd === 'puback' || p.cmd === 'pubcomp') this.sent.splice(this.sent.indexOf(one), 1);
    }
  }
}

/** Answers as far as it is told to; what it knows of QoS 2 survives its connections. */
export class Subscriber {
  device: Device | undefined;
  /** Everything the application was given, in order. */
  readonly got: string[] = [];
  heard = 0;
  #known = new Map<number, string>();
  #answers: Packet[] = [];
  readonly clientId: string;
  readonly filters: string[];
  readonly say: (what: string) => void;
  constructor(clientId: string, filters: string[], say: (what: string) => void) {
    this.clientId = clientId;
    this.filters = filters;
    this.say = say;
  }
  lost(): void {
    this.device = undefined;
    this.#answers = [];
  }
  forget(): void {
    this.#known.clear();
  }
  hear(): void {
    for (const p of this.device?.take() ?? []) {
      this.heard++;
      this.say(
        `${this.clientId} < ${p.cmd} ${p.messageId ?? ''} ${p.cmd === 'publish' ? `${p.payload.toString()} ${p.dup ? 'dup' : ''}` : ''}`,
      );
      if (p.cmd === 'publish') {
        const payload = p.payload.toString();
        if (p.qos === 1) {
          this.got.push(payload);
          this.#answers.push(ack('puback', p.messageId!));
        } else {
          if (!this.#known.has(p.messageId!)) this.got.push(payload);
          else if (this.#known.get(p.messageId!) !== payload)
            this.got.push(`${payload} under the identifier of ${this.#known.get(p.messageId!)!}`);
          this.#known.set(p.messageId!, payload);
          this.#answers.push(ack('pubrec', p.messageId!));
        }
      } else if (p.cmd === 'pubrel') {
        this.#known.delete(p.messageId!);
        this.#answers.push(ack('pubcomp', p.messageId!));
      }
    }
  }
  answer(max: number): void {
    for (const one of this.#answers.splice(0, max)) {
      this.say(`${this.clientId} > ${one.cmd} ${one.messageId}`);
      this.device?.send(one);
    }
  }
}

/** A client whose connections have wills of QoS 2, each another one. */
export class WillDevice {
  /** `must`: it was let in, and its connection has ended without DISCONNECT. Those that need not come may. */
  readonly wills: { readonly payload: string; must: boolean }[] = [];
  readonly #topic: string;
  #device: Device | undefined;

  constructor(topic: string) {
    this.#topic = topic;
  }

  get isThere(): boolean {
    return this.#device !== undefined;
  }

  async come(admit: (will: { topic: string; payload: string; qos: 2 }) => Promise<Device>): Promise<void> {
    const payload = `will-${this.wills.length + 1}`;
    this.wills.push({ payload, must: false });
    this.#device = await admit({ topic: this.#topic, payload, qos: 2 });
  }

  /** DISCONNECT lets the will go, unless the broker dies before it has stored that. */
  go(publishWill: boolean): void {
    this.#device!.end({ publishWill });
    this.#device = undefined;
    this.wills.at(-1)!.must = publishWill;
  }

  /** With its broker. */
  lost(): void {
    if (this.#device) this.wills.at(-1)!.must = true;
    this.#device = undefined;
  }
}
