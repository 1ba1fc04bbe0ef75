/** What the MQTT specifications list in tables: packet types, properties, and the reason codes a server may send. */

export type PacketName =
  | 'connect'
  | 'connack'
  | 'publish'
  | 'puback'
  | 'pubrec'
  | 'pubrel'
  | 'pubcomp'
  | 'subscribe'
  | 'suback'
  | 'unsubscribe'
  | 'unsuback'
  | 'pingreq'
  | 'pingresp'
  | 'disconnect'
  | 'auth';

/** Indexed by packet type. */
export const packetNames: (PacketName | undefined)[] = [
  undefined,
  'connect',
  'connack',
  'publish',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'suback',
  'unsubscribe',
  'unsuback',
  'pingreq',
  'pingresp',
  'disconnect',
  'auth',
];

export const packetNumbers = Object.fromEntries(packetNames.map((name, i) => [name ?? 'reserved', i])) as Record<
  PacketName,
  number
>;

interface PropertyRow {
  id: number;
  name: string;
  type: 'u8' | 'u16' | 'u32' | 'varint' | 'utf8' | 'binary' | 'pair';
  /** Packets on which a server may send it. */
  fromServer: PacketName[];
  /** May appear more than once. */
  many?: true;
  /** 0 or 1 only. */
  bool?: true;
  /** A value of 0 is a protocol error. */
  notZero?: true;
}

const acks: PacketName[] = [
  'connack',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'suback',
  'unsuback',
  'disconnect',
  'auth',
];

export const properties: PropertyRow[] = [
  { id: 0x01, name: 'payloadFormatIndicator', type: 'u8', fromServer: ['publish'], bool: true },
  { id: 0x02, name: 'messageExpiryInterval', type: 'u32', fromServer: ['publish'] },
  { id: 0x03, name: 'contentType', type: 'utf8', fromServer: ['publish'] },
  { id: 0x08, name: 'responseTopic', type: 'utf8', fromServer: ['publish'] },
  { id: 0x09, name: 'correlationData', type: 'binary', fromServer: ['publish'] },
  { id: 0x0b, name: 'subscriptionIdentifier', type: 'varint', fromServer: ['publish'], many: true, notZero: true },
  { id: 0x11, name: 'sessionExpiryInterval', type: 'u32', fromServer: ['connack'] },
  { id: 0x12, name: 'assignedClientIdentifier', type: 'utf8', fromServer: ['connack'] },
  { id: 0x13, name: 'serverKeepAlive', type: 'u16', fromServer: ['connack'] },
  { id: 0x15, name: 'authenticationMethod', type: 'utf8', fromServer: ['connack', 'auth'] },
  { id: 0x16, name: 'authenticationData', type: 'binary', fromServer: ['connack', 'auth'] },
  { id: 0x17, name: 'requestProblemInformation', type: 'u8', fromServer: [], bool: true },
  { id: 0x18, name: 'willDelayInterval', type: 'u32', fromServer: [] },
  { id: 0x19, name: 'requestResponseInformation', type: 'u8', fromServer: [], bool: true },
  { id: 0x1a, name: 'responseInformation', type: 'utf8', fromServer: ['connack'] },
  { id: 0x1c, name: 'serverReference', type: 'utf8', fromServer: ['connack', 'disconnect'] },
  { id: 0x1f, name: 'reasonString', type: 'utf8', fromServer: acks },
  { id: 0x21, name: 'receiveMaximum', type: 'u16', fromServer: ['connack'], notZero: true },
  { id: 0x22, name: 'topicAliasMaximum', type: 'u16', fromServer: ['connack'] },
  { id: 0x23, name: 'topicAlias', type: 'u16', fromServer: ['publish'], notZero: true },
  { id: 0x24, name: 'maximumQoS', type: 'u8', fromServer: ['connack'], bool: true },
  { id: 0x25, name: 'retainAvailable', type: 'u8', fromServer: ['connack'], bool: true },
  { id: 0x26, name: 'userProperties', type: 'pair', fromServer: [...acks, 'publish'], many: true },
  { id: 0x27, name: 'maximumPacketSize', type: 'u32', fromServer: ['connack'], notZero: true },
  { id: 0x28, name: 'wildcardSubscriptionAvailable', type: 'u8', fromServer: ['connack'], bool: true },
  { id: 0x29, name: 'subscriptionIdentifiersAvailable', type: 'u8', fromServer: ['connack'], bool: true },
  { id: 0x2a, name: 'sharedSubscriptionAvailable', type: 'u8', fromServer: ['connack'], bool: true },
];

const published = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/** Reason codes that a server may put on a packet; 3.x has codes only in CONNACK and SUBACK. */
export const serverReasonCodes: Record<'v3' | 'v5', Partial<Record<PacketName, number[]>>> = {
  v3: { connack: [0, 1, 2, 3, 4, 5], suback: [0, 1, 2, 0x80] },
  v5: {
    connack: [
      0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
      0x9c, 0x9d, 0x9f,
    ],
    puback: published,
    pubrec: published,
    pubrel: [0x00, 0x92],
    pubcomp: [0x00, 0x92],
    suback: [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
    unsuback: [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91],
    disconnect: [
      0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
      0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
    ],
    auth: [0x00, 0x18],
  },
};
