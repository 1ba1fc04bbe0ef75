/**
 * What devices put on the wire that do not run here. `sends` is one packet, `gets` all that the broker answers to it, byte
 * for byte. User name and password are those of the test. None of it is a recording; each is made from:
 *
 * - PubSubClient: its source (knolleary/pubsubclient, src/PubSubClient.cpp and .h): flags, keep alive, packet identifiers.
 *   Client id and topics are free.
 * - ESP-IDF: its source (espressif/esp-mqtt, lib/mqtt_msg.c, include/mqtt_config.h, platform_esp32_idf.c): packets, keep
 *   alive, the form of the client id. Packet identifiers are random there; topics are free.
 * - Tasmota: its source (arendst/Tasmota, xdrv_02_9_mqtt.ino, and its PubSubClient 2.8.13): flags, the will, and what it sends
 *   in which order after CONNACK; keep alive as in its default settings. The names of its topics are after its documentation.
 * - Shelly, first generation: its firmware is not public. Client id, topics and payloads are after what others quote of its documentation, as
 *   are keep alive, Clean Session, QoS 0 and no retained states, its defaults. Assumed are that will and `online` are
 *   retained, as in the second generation, and the packet identifiers and grouping of its subscriptions.
 */
export interface Exchange {
  readonly what: string;
  readonly sends: Buffer;
  /** Hexadecimal; empty where MQTT has no answer. */
  readonly gets: string;
}

export interface Device {
  readonly name: string;
  readonly exchanges: readonly Exchange[];
  /** What it leaves when its power is cut, as `QOS RETAIN TOPIC PAYLOAD`. */
  readonly will: string;
  /** All that others hear of it before, in the same form. */
  readonly published: readonly string[];
}

interface Account {
  readonly username: string;
  readonly password: string;
}

const string = (text: string): Buffer => {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
};

/** Remaining Length of at most two bytes, as none of these packets is longer. */
const packet = (first: number, ...parts: (Buffer | string)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'hex') : part)));
  const length = body.length < 128 ? [body.length] : [(body.length % 128) | 0x80, body.length >> 7];
  return Buffer.concat([Buffer.from([first, ...length]), body]);
};

/** MQTT 3.1.1; flags and keep alive as the device has them. */
const connect = (
  { username, password }: Account,
  { flags, keepAlive, clientId, will }: { flags: string; keepAlive: string; clientId: string; will: [string, string] },
): Exchange => ({
  what: 'CONNECT',
  sends: packet(0x10, '00044d51545404', flags, keepAlive, ...[clientId, ...will, username, password].map(string)),
  gets: '20020000',
});

const subscribe = (id: string, qos: string, ...filters: string[]): Exchange => ({
  what: `SUBSCRIBE ${filters.join(' ')}`,
  sends: packet(0x82, id, ...filters.flatMap((filter) => [string(filter), qos])),
  gets: packet(0x90, id, qos.repeat(filters.length)).toString('hex'),
});

const publish = (topic: string, payload: string, first = 0x30, id = '', gets = ''): Exchange => ({
  what: `PUBLISH ${topic}`,
  sends: packet(first, string(topic), id, Buffer.from(payload)),
  gets,
});

const ping: Exchange = { what: 'PINGREQ', sends: Buffer.from('c000', 'hex'), gets: 'd000' };

const tasmotaInfo = JSON.stringify({
  Info1: {
    Module: 'Generic',
    Version: '14.4.1(tasmota)',
    FallbackTopic: 'cmnd/DVES_4A5B6C_fb/',
    GroupTopic: 'cmnd/tasmotas/',
  },
});

const shellyAnnounce = JSON.stringify({
  ...{ id: 'shelly1-B929CC', model: 'SHSW-1', mac: '84CCA8B929CC', ip: '192.168.33.7' },
  ...{ new_fw: false, fw_ver: '20230913-112003/v1.14.0-gcb84623' },
});

export const devices = (account: Account): readonly Device[] => [
  {
    // Keep alive 15 s, clean session; packet identifiers begin at 2; it publishes with QoS 0 only.
    name: 'PubSubClient (Arduino)',
    exchanges: [
      connect(account, { flags: 'ee', keepAlive: '000f', clientId: 'arduinoClient', will: ['arduino/will', 'gone'] }),
      publish('arduino/out', 'hello world'),
      subscribe('0002', '00', 'arduino/in'),
      subscribe('0003', '01', 'arduino/in/1'),
      ping,
    ],
    published: ['0 0 arduino/out hello world'],
    will: '1 0 arduino/will gone',
  },
  {
    // Keep alive 120 s. Packet identifiers are random. It waits for PUBACK, or PUBCOMP, before it forgets a message.
    name: 'ESP-IDF esp-mqtt',
    exchanges: [
      connect(account, { flags: 'ce', keepAlive: '0078', clientId: 'ESP32_a1B2C3', will: ['esp/status', 'lost'] }),
      subscribe('4e21', '00', 'esp/qos0'),
      subscribe('1f0c', '01', 'esp/qos1'),
      publish('esp/data', 'data_3', 0x32, '63a7', '400263a7'),
      publish('esp/once', 'data_4', 0x34, '2b90', '50022b90'),
      { what: 'PUBREL', sends: packet(0x62, '2b90'), gets: '70022b90' },
      {
        what: 'UNSUBSCRIBE',
        sends: packet(0xa2, '0b5d', string('esp/qos1')),
        gets: 'b0020b5d',
      },
      ping,
    ],
    published: ['1 0 esp/data data_3', '2 0 esp/once data_4'],
    will: '1 0 esp/status lost',
  },
  {
    // Keep alive 30 s; its will is retained, and it says the opposite itself when it is in.
    name: 'Tasmota',
    exchanges: [
      connect(account, {
        flags: 'ee',
        keepAlive: '001e',
        clientId: 'DVES_4A5B6C',
        will: ['tele/tasmota_4A5B6C/LWT', 'Offline'],
      }),
      publish('tele/tasmota_4A5B6C/LWT', 'Online', 0x31),
      publish('cmnd/tasmota_4A5B6C/POWER', ''),
      subscribe('0002', '00', 'cmnd/tasmota_4A5B6C/#'),
      subscribe('0003', '00', 'cmnd/tasmotas/#'),
      subscribe('0004', '00', 'cmnd/DVES_4A5B6C_fb/#'),
      publish('tele/tasmota_4A5B6C/INFO1', tasmotaInfo),
      publish('stat/tasmota_4A5B6C/RESULT', '{"POWER":"ON"}'),
      publish('stat/tasmota_4A5B6C/POWER', 'ON'),
      ping,
    ],
    published: [
      '0 0 tele/tasmota_4A5B6C/LWT Online',
      '0 0 cmnd/tasmota_4A5B6C/POWER ',
      `0 0 tele/tasmota_4A5B6C/INFO1 ${tasmotaInfo}`,
      '0 0 stat/tasmota_4A5B6C/RESULT {"POWER":"ON"}',
      '0 0 stat/tasmota_4A5B6C/POWER ON',
    ],
    will: '1 0 tele/tasmota_4A5B6C/LWT Offline',
  },
  {
    // Keep alive 60 s, QoS 0 throughout. It announces itself when it is in; its states are not retained.
    name: 'Shelly, first generation',
    exchanges: [
      connect(account, {
        flags: 'e6',
        keepAlive: '003c',
        clientId: 'shelly1-B929CC',
        will: ['shellies/shelly1-B929CC/online', 'false'],
      }),
      publish('shellies/shelly1-B929CC/online', 'true', 0x31),
      publish('shellies/announce', shellyAnnounce),
      subscribe('0001', '00', 'shellies/command', 'shellies/shelly1-B929CC/command'),
      subscribe('0002', '00', 'shellies/shelly1-B929CC/relay/0/command'),
      publish('shellies/shelly1-B929CC/relay/0', 'off'),
      ping,
    ],
    published: [
      '0 0 shellies/shelly1-B929CC/online true',
      `0 0 shellies/announce ${shellyAnnounce}`,
      '0 0 shellies/shelly1-B929CC/relay/0 off',
    ],
    will: '0 0 shellies/shelly1-B929CC/online false',
  },
];
