/**
 * What a client says, decoded: everything but PUBLISH and its acknowledgements, which `reader.ts` hands over
 * without an object per packet. Names are the specification's.
 */
import type { QoS } from '../message/message.js';
import type { Properties } from './properties.js';

/** The protocol level byte of CONNECT: 3 is MQTT 3.1, 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type ProtocolVersion = 3 | 4 | 5;

/** Control packet types (section 2.1.2). */
export const packetType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;

/** PUBACK, PUBREC, PUBREL, PUBCOMP. */
export type AckType = 4 | 5 | 6 | 7;

export interface WillPacket {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: Properties;
}

export interface ConnectPacket {
  readonly type: 'connect';
  readonly version: ProtocolVersion;
  /** Before MQTT 5.0: it hands on the messages of another broker. */
  readonly isBridge: boolean;
  readonly cleanStart: boolean;
  readonly keepAliveSeconds: number;
  readonly clientId: string;
  readonly will: WillPacket | undefined;
  readonly userName: string | undefined;
  readonly password: Buffer | undefined;
  readonly properties: Properties;
}

export interface SubscriptionRequest {
  readonly filter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

export interface SubscribePacket {
  readonly type: 'subscribe';
  readonly packetId: number;
  readonly subscriptions: readonly SubscriptionRequest[];
  readonly properties: Properties;
}

export interface UnsubscribePacket {
  readonly type: 'unsubscribe';
  readonly packetId: number;
  readonly filters: readonly string[];
  readonly properties: Properties;
}

export interface DisconnectPacket {
  readonly type: 'disconnect';
  readonly reasonCode: number;
  readonly properties: Properties;
}

export interface AuthPacket {
  readonly type: 'auth';
  readonly reasonCode: number;
  readonly properties: Properties;
}

export interface PingreqPacket {
  readonly type: 'pingreq';
}

export type ControlPacket =
  ConnectPacket | SubscribePacket | UnsubscribePacket | DisconnectPacket | AuthPacket | PingreqPacket;
