/** The strict decoder of the test client refuses what a broker must not send: else it would show nothing. */
import { expect, test } from 'vitest';
import { bytes } from '../support/packet-bytes.js';
import { BrokerFault, decode, frameBytes, type ProtocolLevel } from '../support/packet-codec.js';
import type { PacketName } from '../support/packet-tables.js';

/** What the complaint says, the packet, its flags, its body in hexadecimal. */
test.each<[string, ProtocolLevel, PacketName, number, string]>([
  ['reserved flags 1', 5, 'pingresp', 1, ''],
  ['CONNACK flags 2', 4, 'connack', 0, '0200'],
  ['session present', 5, 'connack', 0, '018600'],
  ['reason 0x1 in connack', 5, 'connack', 0, '000100'],
  ['reason 0x6 in connack', 4, 'connack', 0, '0006'],
  ['receiveMaximum twice', 5, 'connack', 0, '000006210001210001'],
  ['sessionExpiryInterval on disconnect', 5, 'disconnect', 0, '82051100000001'],
  ['payloadFormatIndicator on puback', 5, 'puback', 0, '000100020101'],
  ['unknown property 5', 5, 'puback', 0, '000100020501'],
  ['receiveMaximum is 0', 5, 'connack', 0, '000003210000'],
  ['retainAvailable is 2', 5, 'connack', 0, '0000022502'],
  ['QoS 3', 4, 'publish', 6, '0001610001'],
  ['DUP on a QoS 0', 4, 'publish', 8, '000161'],
  ['packet identifier 0', 4, 'publish', 2, '0001610000'],
  ['packet identifier 0', 4, 'puback', 0, '0000'],
  ['wildcard', 4, 'publish', 0, '00012b'],
  ['without a topic', 5, 'publish', 0, '000000'],
  ['ill-formed UTF-8', 4, 'publish', 0, '0002c328'],
  ['U+0000', 4, 'publish', 0, '000100'],
  ['1 bytes too many', 4, 'pingresp', 0, '00'],
  ['1 bytes early', 4, 'puback', 0, '01'],
  ['longer than it needs', 5, 'connack', 0, '00008000'],
  ['reason 0x1 in puback', 5, 'puback', 0, '000101'],
  ['reason 0x3 in suback', 4, 'suback', 0, '000103'],
  ['never sends disconnect in MQTT 3', 4, 'disconnect', 0, ''],
  ['reason 0x4 in disconnect', 5, 'disconnect', 0, '04'],
  ['never sends pingreq', 5, 'pingreq', 0, ''],
])('complains about %s', (complaint, level, cmd, flags, body) => {
  const packet = bytes.packet(cmd, flags, Buffer.from(body, 'hex'));
  expect(() => decode(packet, level)).toThrow(BrokerFault);
  expect(() => decode(packet, level)).toThrow(complaint);
});

test('complains about a remaining length of surplus or too many bytes, or one that does not fit', () => {
  expect(() => frameBytes(Buffer.from('d08000', 'hex'))).toThrow(BrokerFault);
  expect(() => frameBytes(Buffer.from('30ffffffff7f', 'hex'))).toThrow(BrokerFault);
  expect(() => decode(Buffer.from('40030001', 'hex'), 4)).toThrow(BrokerFault);
});

test('reads what a broker may send', () => {
  const connack = decode(Buffer.from('2006010003210005', 'hex'), 5);
  expect(connack).toMatchObject({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
  expect(connack.properties).toEqual({ receiveMaximum: 5 });
  const userProperties: [string, string][] = [
    ['b', '1'],
    ['a', '2'],
    ['b', '3'],
  ];
  const parts = [bytes.utf8('t'), bytes.u16(10), bytes.properties({ userProperties }), Buffer.from('payload')];
  const publish = decode(bytes.packet('publish', 10, ...parts), 5);
  expect(publish).toMatchObject({ topic: 't', qos: 1, dup: true, retain: false, packetId: 10 });
  expect(publish.properties.userProperties).toEqual(userProperties);
  expect(String(publish.payload)).toBe('payload');
});
