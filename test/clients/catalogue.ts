/** The client programs that run against Shoal: where each is found, and what it can do. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Transport, Version } from './program.js';

export const programFolder = join(import.meta.dirname, 'programs');

export interface Client {
  readonly name: string;
  /** Undefined when it is not installed here. */
  readonly release: string | undefined;
  /** What has to be installed for it. */
  readonly from: string;
  readonly command: readonly string[];
  /** How the program is made, for those that are compiled. */
  readonly build?: readonly string[];
  /** The last one is that of a stored session through a crash. */
  readonly runs: readonly (readonly [Version, Transport])[];
  /** Above it the library itself says no. */
  readonly qosMax?: 1;
}

const versions: readonly Version[] = [3, 4, 5];
const all: readonly Transport[] = ['mqtt', 'mqtts', 'ws', 'wss'];
const every = (which: readonly Version[], over: readonly Transport[] = all): (readonly [Version, Transport])[] =>
  which.flatMap((version) => over.map((transport) => [version, transport] as const));

export function npmRelease(name: string): string | undefined {
  const file = join(programFolder, 'node_modules', name, 'package.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version : undefined;
}

/** Of a Debian package, without what Debian adds to it. */
export function debianRelease(name: string): string | undefined {
  try {
    const query = ['-W', '-f', '${Version}', name];
    const full = execFileSync('dpkg-query', query, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return full === '' ? undefined : full.replace(/^\d+:/, '').replace(/-[^-]*$/, '');
  } catch {
    return undefined;
  }
}

const npm = (name: string): Pick<Client, 'release' | 'from'> => ({
  release: npmRelease(name),
  from: 'npm (test/clients/programs)',
});
const debian = (name: string): Pick<Client, 'release' | 'from'> => ({
  release: debianRelease(name),
  from: `Debian's ${name}`,
});
const node = (file: string, ...args: string[]): readonly string[] => [
  process.execPath,
  join(programFolder, file),
  ...args,
];

/** Where compiled programs go. */
const built = join(import.meta.dirname, '../../node_modules/.cache/shoal-clients');

function compiled(source: string, compiler: readonly string[], libraries: readonly string[]) {
  const program = join(built, source.replace('.', '-'));
  const flags = ['-O1', '-Wall', '-Wextra', '-Werror'];
  return {
    command: [program],
    build: [...compiler, ...flags, '-o', program, join(programFolder, source), ...libraries],
  };
}

export const clients: readonly Client[] = [
  {
    name: 'mosquitto_pub, mosquitto_sub',
    ...debian('mosquitto-clients'),
    command: node('mosquitto.mjs'),
    runs: every(versions, ['mqtt', 'mqtts']),
  },
  {
    name: 'MQTT.js 2',
    ...npm('mqtt2'),
    command: node('mqttjs.mjs', 'mqtt2'),
    runs: every([3, 4]),
  },
  {
    name: 'MQTT.js 4',
    ...npm('mqtt4'),
    command: node('mqttjs.mjs', 'mqtt4'),
    runs: every(versions),
  },
  {
    name: 'MQTT.js 5',
    ...npm('mqtt5'),
    command: node('mqttjs.mjs', 'mqtt5'),
    runs: every(versions),
  },
  {
    name: 'Paho Python',
    ...debian('python3-paho-mqtt'),
    command: ['/usr/bin/python3', join(programFolder, 'paho_python.py')],
    runs: every(versions),
  },
  {
    name: 'asyncio-mqtt (aiomqtt)',
    ...debian('python3-asyncio-mqtt'),
    command: ['/usr/bin/python3', join(programFolder, 'aiomqtt.py')],
    // Over TLS it reads one packet of a record, and the next when more comes: docs/clients.md.
    runs: every(versions, ['mqtt', 'ws']),
  },
  {
    name: 'Paho C',
    ...debian('libpaho-mqtt-dev'),
    ...compiled('paho_c.c', ['gcc'], ['-lpaho-mqtt3as']),
    runs: every(versions),
  },
  {
    name: 'Paho C++',
    ...debian('libpaho-mqttpp-dev'),
    ...compiled('paho_cpp.cpp', ['g++'], ['-lpaho-mqttpp3', '-lpaho-mqtt3as']),
    runs: every(versions),
  },
  {
    name: 'Paho JavaScript',
    ...npm('paho-mqtt'),
    command: node('paho_js.mjs'),
    runs: every([3, 4], ['ws', 'wss']),
  },
  {
    name: 'Node-RED',
    ...npm('node-red'),
    command: node('node_red.mjs'),
    // It takes seconds to start: each version and each transport, not all pairs of them.
    runs: [
      [3, 'mqtt'],
      [4, 'mqtts'],
      [4, 'ws'],
      [5, 'wss'],
      [5, 'mqtt'],
    ],
  },
  {
    name: 'AWS IoT Device SDK 1',
    ...npm('aws-iot-device-sdk'),
    command: node('aws_v1.mjs'),
    runs: every([4], ['mqtts', 'wss']),
  },
  {
    name: 'AWS IoT Device SDK 2',
    ...npm('aws-iot-device-sdk-v2'),
    command: node('aws_v2.mjs'),
    runs: [
      [4, 'mqtts'],
      [5, 'wss'],
      [5, 'mqtts'],
    ],
    qosMax: 1,
  },
];
