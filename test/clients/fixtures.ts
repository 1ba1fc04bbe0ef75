/**
 * What devices put on the wire that do not run here, byte for byte: made after the public sources and manuals of their
 * firmware. `sends` is one packet, `gets` all that the broker answers to it. User name and password are those of the test.
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
    // Keep alive 120 s. It waits for PUBACK before it forgets a message.
    name: 'ESP-IDF esp-mqtt',
    exchanges: [
      connect(account, { flags: 'ce', keepAlive: '0078', clientId: 'ESP32_a1B2c3', will: ['esp/status', 'lost'] }),
      subscribe('4e21', '00', 'esp/qos0'),
      subscribe('1f0c', '01', 'esp/qos1'),
      publish('esp/data', 'data_3', 0x32, '63a7', '400263a7'),
      {
        what: 'UNSUBSCRIBE',
        sends: packet(0xa2, '0b5d', string('esp/qos1')),
        gets: 'b0020b5d',
      },
      ping,
    ],
    published: ['1 0 esp/data data_3'],
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
      publish('stat/tasmota_4A5B6C/RESULT', '{"POWER":"ON"}'),
      ping,
    ],
    published: [
      '0 0 tele/tasmota_4A5B6C/LWT Online',
      '0 0 cmnd/tasmota_4A5B6C/POWER ',
      '0 0 stat/tasmota_4A5B6C/RESULT {"POWER":"ON"}',
    ],
    will: '1 0 tele/tasmota_4A5B6C/LWT Offline',
  },
  {
    // Keep alive 60 s, QoS 0 throughout; the will is retained.
    name: 'Shelly, first generation',
    exchanges: [
      connect(account, {
        flags: 'e6',
        keepAlive: '003c',
        clientId: 'shelly1-B929CC',
        will: ['shellies/shelly1-B929CC/online', 'false'],
      }),
      publish('shellies/shelly1-B929CC/online', 'true', 0x31),
      subscribe('0001', '00', 'shellies/command', 'shellies/shelly1-B929CC/command'),
      subscribe('0002', '00', 'shellies/shelly1-B929CC/relay/0/command'),
      publish('shellies/shelly1-B929CC/relay/0', 'off', 0x31),
      ping,
    ],
    published: ['0 0 shellies/shelly1-B929CC/online true', '0 0 shellies/shelly1-B929CC/relay/0 off'],
    will: '0 0 shellies/shelly1-B929CC/online false',
  },
];
