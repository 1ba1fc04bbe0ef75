/**
 * Messages that another broker has accepted: each to the subscribers here, and no further. Nothing of a frame is copied: the message
 * that is handed over is volatile, its payload and properties are ranges of what has come.
 */
import { caught, type Clock, type Counter, type Metrics, type TenantScope } from '../../kernel/kernel.js';
import { type ForwardedMessage, MalformedContent, readForwards } from '../mesh/mesh.js';
import { emptyBytes, Message, noSubscribers, type Receipt, type TopicName } from '../message/message.js';
import type { Peer } from './peer.js';
import type { Home, Topics } from './ports.js';

/** Unspecified error. */
const failed: Receipt = { reasonCode: 0x80, whenSettled: (listener) => listener() };

export interface ArrivingOptions {
  /** Undefined: nobody of the tenant is here. */
  readonly homeOf: (tenant: TenantScope) => Home | undefined;
  readonly topics: Topics;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

export class Arriving {
  readonly #options: ArrivingOptions;
  readonly #message = Message.volatile();
  readonly #counter: Counter;

  constructor(options: ArrivingOptions) {
    this.#options = options;
    this.#counter = options.metrics.counter('shoal_forwards_total', 'Messages to and from other brokers', {
      direction: 'in',
    });
  }

  /** A frame of messages. Those of one tenant that follow each other share a slice of its time. */
  take(peer: Peer, body: Buffer): void {
    const nowMs = this.#options.clock.nowMs();
    let tenant = '';
    let home: Home | undefined;
    try {
      readForwards(body, (forwarded) => {
        if (forwarded.tenant !== '') {
          home?.arrived();
          ({ tenant } = forwarded);
          home = this.#options.homeOf(tenant as TenantScope);
          home?.arriving();
        } else if (tenant === '') throw new MalformedContent('the first message has no tenant');
        this.#fill(body, forwarded, nowMs);
        this.#counter.add();
        const receipt = home ? this.#deliver(home) : noSubscribers;
        if (forwarded.qos > 0) peer.answer(forwarded.receipt, receipt);
      });
    } finally {
      home?.arrived();
    }
  }

  #fill(body: Buffer, forwarded: ForwardedMessage, nowMs: number): void {
    const { qos, retain, expiresInMs, topicStart, topicEnd, payloadStart, payloadEnd } = forwarded;
    const message = this.#message;
    message.renew();
    message.topic = this.#topic(body, topicStart, topicEnd);
    message.qos = qos;
    message.retain = retain;
    message.source = body;
    message.payloadStart = payloadStart;
    message.payloadEnd = payloadEnd;
    const { propertiesStart } = forwarded;
    message.properties = propertiesStart < payloadStart ? body.subarray(propertiesStart, payloadStart) : emptyBytes;
    if (expiresInMs !== undefined) message.expiresAtMs = nowMs + expiresInMs;
  }

  #topic(body: Buffer, start: number, end: number): TopicName {
    try {
      return this.#options.topics.lookup(body, start, end);
    } catch (error) {
      throw new MalformedContent('a topic that is no topic name', { cause: error });
    }
  }

  /** A fault of ours in one message costs that message. */
  #deliver(home: Home): Receipt {
    try {
      return home.arrive(this.#message);
    } catch (error) {
      caught('forward', error);
      return failed;
    }
  }
}
