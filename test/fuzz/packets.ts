/** Arbitrary valid packets, as objects of `mqtt-packet`: the other implementation that the codec is compared with. */
import fc from 'fast-check';
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet';
import type { ProtocolVersion } from '../../services/broker/wire/wire.js';

const text = fc
  .array(fc.constantFrom('a', 'Z', '0', '-', ' ', 'é', 'ß', '漢', '😀', '\u{feff}', '\u007f'), { maxLength: 12 })
  .map((characters) => characters.join(''));
const name = text.map((rest) => `n${rest}`);

export const topicName = fc
  .array(fc.constantFrom('a', 'b', '', '$x', 'é', '漢', '😀', 'level'), { minLength: 1, maxLength: 6 })
  .map((levels) => levels.join('/') || 'a');
const topicFilter = fc
  .tuple(
    fc.array(fc.constantFrom('a', '+', '', '$x', '漢'), { minLength: 1, maxLength: 5 }),
    fc.boolean(),
    fc.constantFrom('', '$share/g/'),
  )
  .map(([levels, rest, share]) => share + ([...levels, ...(rest ? ['#'] : [])].join('/') || '+'));

/** Small ones mostly; now and then one whose length takes three bytes. */
export const payload = fc
  .oneof(
    { weight: 20, arbitrary: fc.uint8Array({ maxLength: 200 }) },
    fc.uint8Array({ minLength: 126, maxLength: 130 }),
    {
      weight: 1,
      arbitrary: fc.integer({ min: 16_300, max: 16_500 }).map((length) => new Uint8Array(length).fill(7)),
    },
  )
  .map((bytes) => Buffer.from(bytes));
const binary = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes));
const u16 = fc.oneof(fc.integer({ min: 1, max: 65_535 }), fc.constantFrom(1, 65_535));
const u32 = fc.oneof(fc.integer({ min: 1, max: 0xffff_ffff }), fc.constantFrom(1, 0xffff_ffff));
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);
const userProperties = fc
  .array(fc.tuple(name, fc.oneof(fc.tuple(text), fc.tuple(name, name))), { minLength: 1, maxLength: 3 })
  .map((pairs) =>
    // One value stands alone in `mqtt-packet`, several are a list.
    Object.fromEntries(pairs.map(([key, values]) => [key, values.length === 1 ? values[0] : values])),
  );

const some = <T extends Record<string, fc.Arbitrary<unknown>>>(fields: T) => fc.record(fields, { requiredKeys: [] });

/** `properties` exist from MQTT 5.0 on. */
const withProperties = <T extends object>(
  version: ProtocolVersion,
  packet: fc.Arbitrary<T>,
  properties: fc.Arbitrary<object>,
): fc.Arbitrary<T> =>
  version === 5 ? fc.tuple(packet, properties).map(([p, props]) => ({ ...p, properties: props })) : packet;

const contentProperties = {
  payloadFormatIndicator: fc.boolean(),
  messageExpiryInterval: u32,
  contentType: text,
  responseTopic: topicName,
  correlationData: binary,
  userProperties,
};

export function connectPacket(version: ProtocolVersion): fc.Arbitrary<IConnectPacket> {
  const will = withProperties(
    version,
    fc.record({ topic: topicName, payload, qos, retain: fc.boolean() }),
    some({ ...contentProperties, willDelayInterval: u32 }),
  );
  const packet = fc
    .record({
      clean: fc.boolean(),
      clientId: name,
      keepalive: fc.integer({ min: 0, max: 65_535 }),
      will: fc.option(will, { nil: undefined }),
      username: fc.option(name, { nil: undefined }),
      password: binary.filter(({ length }) => length > 0),
    })
    .map(({ will: lastWords, username, password, ...rest }) => ({
      cmd: 'connect' as const,
      protocolId: version === 3 ? ('MQIsdp' as const) : ('MQTT' as const),
      protocolVersion: version,
      ...rest,
      ...(lastWords && { will: lastWords }),
      ...(username !== undefined && { username, password }),
    }));
  const properties = some({
    sessionExpiryInterval: u32,
    receiveMaximum: u16,
    maximumPacketSize: u32,
    topicAliasMaximum: u16,
    requestResponseInformation: fc.boolean(),
    requestProblemInformation: fc.boolean(),
    userProperties,
    authenticationMethod: name,
  });
  return withProperties(version, packet, properties);
}

function publishPacket(version: ProtocolVersion): fc.Arbitrary<Packet> {
  const packet = fc
    .record({ topic: topicName, payload, qos, retain: fc.boolean(), dup: fc.boolean(), messageId: u16 })
    .map(({ messageId, dup, ...rest }) => ({
      cmd: 'publish' as const,
      ...rest,
      dup: rest.qos > 0 && dup,
      ...(rest.qos > 0 && { messageId }),
    }));
  return withProperties(version, packet, some({ ...contentProperties, topicAlias: u16 }));
}

/** What a client sends after CONNECT. */
export function clientPacket(version: ProtocolVersion): fc.Arbitrary<Packet> {
  const acknowledgement = fc
    .record({ cmd: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp'), messageId: u16 })
    .map((packet) => packet as Packet);
  const reasonCode = (cmd: string): fc.Arbitrary<number> =>
    cmd === 'puback' || cmd === 'pubrec' ? fc.constantFrom(0, 0x10, 0x87, 0x97) : fc.constantFrom(0, 0x92);
  const subscription = fc.record({
    topic: topicFilter,
    qos,
    ...(version === 5 && { nl: fc.boolean(), rap: fc.boolean(), rh: fc.constantFrom(0, 1, 2) }),
  });
  const subscribe = withProperties(
    version,
    fc.record({
      cmd: fc.constant('subscribe' as const),
      messageId: u16,
      subscriptions: fc.array(subscription, { minLength: 1, maxLength: 4 }),
    }),
    some({ subscriptionIdentifier: fc.integer({ min: 1, max: 268_435_455 }), userProperties }),
  );
  const unsubscribe = withProperties(
    version,
    fc.record({
      cmd: fc.constant('unsubscribe' as const),
      messageId: u16,
      unsubscriptions: fc.array(topicFilter, { minLength: 1, maxLength: 4 }),
    }),
    some({ userProperties }),
  );
  const ack =
    version === 5
      ? acknowledgement.chain((packet) =>
          fc
            .tuple(reasonCode(packet.cmd), some({ reasonString: text, userProperties }))
            .map(([code, properties]) => ({ ...packet, reasonCode: code, properties }) as Packet),
        )
      : acknowledgement;
  const disconnect =
    version === 5
      ? fc
          .record({
            reasonCode: fc.constantFrom(0, 4, 0x80, 0x82),
            properties: some({ sessionExpiryInterval: u32, reasonString: text, userProperties }),
          })
          .map((fields): Packet => ({ cmd: 'disconnect', ...fields }))
      : fc.constant<Packet>({ cmd: 'disconnect' });
  return fc.oneof(
    { weight: 4, arbitrary: publishPacket(version) },
    { weight: 2, arbitrary: ack },
    subscribe as fc.Arbitrary<Packet>,
    unsubscribe as fc.Arbitrary<Packet>,
    disconnect,
    fc.constant<Packet>({ cmd: 'pingreq' }),
  );
}

export const encode = (packet: Packet, version: ProtocolVersion): Buffer =>
  generate(packet, { protocolVersion: version });

/** What `mqtt-packet` makes of bytes. */
export function decodeAll(bytes: Buffer, version: ProtocolVersion): Packet[] {
  const packets: Packet[] = [];
  const reading = parser({ protocolVersion: version });
  reading.on('packet', (packet: Packet) => packets.push(packet));
  reading.on('error', (error: unknown) => {
    throw error;
  });
  const left = reading.parse(bytes);
  if (left > 0) throw new Error(`mqtt-packet wants more than these ${bytes.length} bytes`);
  return packets;
}
