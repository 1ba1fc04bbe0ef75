/**
 * What one session's client is to get: the one interface of both kinds, those that end with their connection
 * (`clean-outbound.ts`) and those that are stored (`durable-outbound.ts`). `test/unit/session/outbound.contract.ts` holds both to what
 * is written here. [Decision 40](../../../docs/decisions/0040-one-outbound.md) says what they do not share.
 *
 *      Session.deliver --> Outbound --> held back | queue | in flight --> Channel --> Outbox
 *      Session.receiveAck --> onAck                              Session.attach, pump, detach, end
 *
 * Who calls: `Session`, and nobody else. Every call is one step of the event loop, with the time in milliseconds since the epoch;
 * nothing here has a timer, and nothing throws but `onAck`. While `session.channel` is undefined nothing is sent.
 *
 * What always holds:
 *  - Messages of one topic and one QoS are sent in the order of `deliver`. [MQTT-4.6.0-5] [MQTT-4.6.0-6]
 *  - No more are under way than `Channel.window`. [MQTT-3.3.4-9] PUBREL and QoS 0 are not of that count. [MQTT-3.3.4-7]
 *  - A packet identifier is not used again before its exchange is over. [MQTT-2.2.1-4]
 *  - Each QoS 1 or 2 message comes to one of these ends, once: acknowledged, refused by the client (PUBREC with 0x80 or above), too large
 *    for the client, expired, dropped, passed on to another member of a shared subscription, or ended with the session.
 *  - Every `owe` is paid once, at the latest when the promise of `end` has resolved; and what is counted as held is let go of once.
 *
 * Who drops what (G7), and where it is counted:
 *
 *  | message                                                        | rule    | `Meters`                |
 *  | -------------------------------------------------------------- | ------- | ----------------------- |
 *  | QoS 0, the client is not connected                             | dropped | `droppedOffline`        |
 *  | QoS 0, `outboxBytesMax` of bytes wait for the client           | dropped | `droppedSlowSubscriber` |
 *  | QoS 0, delivery rate or memory of the tenant used up           | dropped | `droppedOverQuota`      |
 *  | QoS 1 or 2, `queuedMessagesPerSession` wait                    | dropped | `droppedOverQuota`      |
 *  | QoS 1 or 2, half of these wait and the client is connected     | waits   | `heldBack`              |
 *  | any, its expiry is over before it is sent [MQTT-3.3.2-5]       | ends    | `expiredMessages`       |
 *  | any, larger than the client's Maximum Packet Size [MQTT-3.1.2-25] | ends | none: it counts as delivered |
 */
import type { DeliveryTerms, Message } from '../message/message.js';
import type { AckType } from '../wire/wire.js';

export interface Outbound {
  /** QoS 1 and 2 messages that wait to be sent, held back ones included; those under way are not of them. */
  readonly queuedMessages: number;
  /** Messages that have a packet identifier: PUBLISH or PUBREL is due or unanswered. */
  readonly inFlightMessages: number;
  /** Whether a QoS 1 or 2 message would be sent at once: nothing waits, the window has a place, and the outbox is not congested. */
  readonly windowOpen: boolean;
  /** How many more messages would be sent at once or queued, Infinity while the window is open; beyond that they would be held back. */
  readonly freeMessages: number;
  /** Whether a slow source (retained messages of a large subscription) should go on: little waits. False without a client. */
  readonly hasRoom: boolean;

  /**
   * One message for the client, with the lower QoS of message and terms [MQTT-3.8.4-8]. The message may be volatile. QoS 0 is sent or
   * dropped within the call, and allocates nothing. QoS 1 and 2 are sent, queued, held back or dropped, by the table above. While
   * `message.pending` is there the publisher's acknowledgement has to wait.
   */
  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void;

  /**
   * Sends what window, outbox and delivery rate allow, in order: what a new connection has to repeat, then the queue, then what is held back.
   * Called when any of them has become free. Without a client, or with nothing to send, it does nothing.
   */
  pump(nowMs: number): void;

  /**
   * An acknowledgement of the client: does what the table in `exchange.ts` says. One for an identifier that is not in use is no
   * fault. Throws `PeerFault` for one that the exchange does not allow; the exchange is then as it was.
   */
  onAck(type: AckType, packetId: number, reasonCode: number, nowMs: number): void;

  /**
   * A client has come back; called before the first `pump` of the connection. What was sent and not finished goes out once more, in order,
   * under its identifiers, before anything new [MQTT-4.4.0-1]: PUBLISH with DUP [MQTT-3.3.1-1], or PUBREL once PUBREC has come.
   */
  startResending(): void;

  /** The client has gone: `session.channel` is undefined already. Tells those who wait for room. */
  onDetached(): void;

  /**
   * Called after `onDetached`, when the session lives on: messages of shared subscriptions go to members that can send them at once, but a QoS 2
   * message that was sent stays, it may be completed here only [MQTT-4.8.2-5]. What is held back is queued, or dropped.
   */
  handOnShared(nowMs: number): void;

  /**
   * The session has ended; no other call follows. Messages of shared subscriptions go to any other member, all others end. Resolves when
   * those that were passed on are safe. `isShared`: there may be some that are not in memory.
   */
  end(nowMs: number, isShared: boolean): Promise<void>;

  /** Calls back once: at once when `hasRoom` or without a client; otherwise when there is room, or the client has gone. */
  whenRoom(listener: () => void): void;

  /**
   * Called every now and then after `SessionHost.holdsBack`: when the time of a message that is held back is up, all of them are queued
   * or dropped. Returns whether any is held back still.
   */
  lookAtHeld(nowMs: number): boolean;
}
