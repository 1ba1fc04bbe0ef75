import { describe, expect, test } from 'vitest';
import { StartFailure } from '../../../services/local/failure.js';
import npmPackage from '../../../package.json' with { type: 'json' };
import { tuning } from '../../../services/broker/config.js';
import { brokerVariables, readSettings, type Settings } from '../../../services/local/settings.js';

function read(args: readonly string[], env: Record<string, string> = {}): Settings {
  const settings = readSettings({ args, env, cwd: '/home/someone' });
  if ('help' in settings) throw new Error('help was not asked for');
  return settings;
}

test('the defaults are those of the documentation', () => {
  expect(read([])).toEqual({
    dataFolder: '/home/someone/.shoal',
    dataFolderGiven: false,
    ephemeral: false,
    host: '127.0.0.1',
    publicHost: undefined,
    ports: { mqtt: 1883, mqtts: 8883, ws: 8083, wss: 8084, api: 8080 },
    operatorKey: undefined,
    brokers: 1,
    clusterPreview: undefined,
    trustProxy: undefined,
    logLevel: 'warn',
    brokerEnv: {},
  });
});

const choices: readonly [
  flag: string,
  variable: string,
  value: string,
  pick: (s: Settings) => unknown,
  seen: unknown,
][] = [
  ['--data', 'SHOAL_DATA', '/srv/shoal', (s) => s.dataFolder, '/srv/shoal'],
  ['--data', 'SHOAL_DATA', 'here', (s) => s.dataFolder, '/home/someone/here'],
  ['--host', 'SHOAL_HOST', '0.0.0.0', (s) => s.host, '0.0.0.0'],
  ['--public-host', 'SHOAL_PUBLIC_HOST', 'mqtt.example.org', (s) => s.publicHost, 'mqtt.example.org'],
  ['--public-host', 'SHOAL_PUBLIC_HOST', '2001:db8::1', (s) => s.publicHost, '2001:db8::1'],
  ['--mqtt-port', 'SHOAL_MQTT_PORT', '0', (s) => s.ports.mqtt, 0],
  ['--mqtts-port', 'SHOAL_MQTTS_PORT', '1', (s) => s.ports.mqtts, 1],
  ['--ws-port', 'SHOAL_WS_PORT', '65535', (s) => s.ports.ws, 65_535],
  ['--wss-port', 'SHOAL_WSS_PORT', '9001', (s) => s.ports.wss, 9001],
  ['--api-port', 'SHOAL_API_PORT', '9002', (s) => s.ports.api, 9002],
  ['--brokers', 'SHOAL_BROKERS', '3', (s) => s.brokers, 3],
  ['--operator-key', 'SHOAL_OPERATOR_KEY', 'a key of my very own', (s) => s.operatorKey, 'a key of my very own'],
  ['--trust-proxy', 'SHOAL_TRUST_PROXY', '10.0.0.0/8,::1', (s) => s.trustProxy, '10.0.0.0/8,::1'],
  ['--log-level', 'SHOAL_LOG_LEVEL', 'debug', (s) => s.logLevel, 'debug'],
];

describe.each(choices)('%s and %s %s', (flag, variable, value, pick, seen) => {
  test('flag', () => expect(pick(read([flag, value]))).toEqual(seen));
  test('flag with =', () => expect(pick(read([`${flag}=${value}`]))).toEqual(seen));
  test('variable', () => expect(pick(read([], { [variable]: value }))).toEqual(seen));
  test('the flag wins', () => expect(pick(read([flag, value], { [variable]: '7' }))).toEqual(seen));
  test('an empty variable is absent', () => expect(read([], { [variable]: '' })).toEqual(read([])));
});

test.each([
  ['1', true],
  ['true', true],
  ['0', false],
  ['false', false],
  ['', false],
])('SHOAL_EPHEMERAL=%s', (value, ephemeral) => {
  expect(read([], { SHOAL_EPHEMERAL: value }).ephemeral).toBe(ephemeral);
  expect(read(['--ephemeral'], { SHOAL_EPHEMERAL: value }).ephemeral).toBe(true);
});

test.each<[args: string[], env: Record<string, string>, named: string]>([
  [['--mqt-port', '1'], {}, "'--mqt-port' (Did you mean --mqtt-port?)"],
  [['--mqtt-port'], {}, '--mqtt-port'],
  [['--mqtt-port', 'abc'], {}, '--mqtt-port abc'],
  [['--mqtt-port', '65536'], {}, '--mqtt-port 65536'],
  [['--mqtt-port=-1'], {}, '--mqtt-port -1'],
  [['--mqtt-port='], {}, '--mqtt-port'],
  [['--api-port', '1e3'], {}, '--api-port 1e3'],
  [[], { SHOAL_WS_PORT: 'x' }, 'SHOAL_WS_PORT x'],
  [['--ws-port', '1883'], {}, '--mqtt-port and --ws-port are both 1883'],
  [['--data='], {}, '--data'],
  [['--public-host', 'https://example.org'], {}, '--public-host https://example.org'],
  [['--public-host', 'example.org:8883'], {}, '--public-host example.org:8883'],
  [['--public-host', '0.0.0.0'], {}, '--public-host 0.0.0.0'],
  [['--public-host', '1.2.3'], {}, '--public-host 1.2.3'],
  [['--operator-key', ' '], {}, '--operator-key'],
  [['--operator-key', 'fifteen letters'], {}, '--operator-key is too short'],
  [[], { SHOAL_OPERATOR_KEY: `short${' '.repeat(20)}` }, 'SHOAL_OPERATOR_KEY is too short'],
  [['--brokers', '0'], {}, '--brokers 0 is not a number of brokers; use 1 to 8'],
  [['--brokers', '1.5'], {}, '--brokers 1.5'],
  [['--brokers', 'abc'], {}, '--brokers abc'],
  [['--brokers', '100'], {}, '--brokers 100'],
  [['--brokers=-1'], {}, '--brokers -1'],
  [[], { SHOAL_BROKERS: '9' }, 'SHOAL_BROKERS 9'],
  [['--brokers', '2', '--trust-proxy', '::1'], {}, '--trust-proxy is for a load balancer in front of one broker'],
  [[], { SHOAL_CLUSTER_PREVIEW: 'true' }, 'SHOAL_CLUSTER_PREVIEW is for several brokers'],
  [['--log-level', 'loud'], {}, '--log-level loud'],
  [[], { SHOAL_EPHEMERAL: 'perhaps' }, 'SHOAL_EPHEMERAL perhaps'],
  [['extra'], {}, 'argument'],
  [['18883'], {}, '(put flags after `npm start --`)'],
])('%j %j is refused in one line that names it', (args, env, named) => {
  let failure: unknown;
  try {
    read(args, env);
  } catch (error) {
    failure = error;
  }
  expect(failure).toBeInstanceOf(StartFailure);
  expect((failure as StartFailure).message).toContain(named);
  expect((failure as StartFailure).message).not.toContain('\n');
});

describe('what tunes the broker', () => {
  test('is handed on as it was given', () => {
    const env = { SHOAL_PERSIST_DELAY_MS: '7', SHOAL_IN_FLIGHT_MAX: 'many', SHOAL_UNSAFE_MB_MAX: '' };
    expect(read([], env).brokerEnv).toEqual({ SHOAL_PERSIST_DELAY_MS: '7', SHOAL_IN_FLIGHT_MAX: 'many' });
  });

  test('is what the broker itself knows', () => {
    expect(brokerVariables).toEqual(Object.keys(tuning));
  });
});

test('the preview is handed on to several brokers as it was given', () => {
  const env = { SHOAL_CLUSTER_PREVIEW: 'perhaps' };
  expect(read(['--brokers', '2'], env).clusterPreview).toBe('perhaps');
  expect(read(['--brokers', '2'], { SHOAL_CLUSTER_PREVIEW: '' }).clusterPreview).toBeUndefined();
});

describe('a variable that nothing reads', () => {
  test.each([
    ['SHOAL_PERSIST_DELAY', 'SHOAL_PERSIST_DELAY_MS'],
    ['SHOAL_INFLIGHT_MAX', 'SHOAL_IN_FLIGHT_MAX'],
    ['SHOAL_MQTT_PROT', 'SHOAL_MQTT_PORT'],
    ['SHOAL_OPERATORKEY', 'SHOAL_OPERATOR_KEY'],
  ])('%s is refused, and %s is suggested', (written, meant) => {
    expect(() => read([], { [written]: '1' })).toThrow(`${written} is not a setting; did you mean ${meant}?`);
  });

  test('is refused without a guess where none is near', () => {
    expect(() => read([], { SHOAL_COFFEE: 'black' })).toThrow(/^SHOAL_COFFEE is not a setting$/);
  });

  test('is left alone when it is of the banner or of the tests', () => {
    expect(read([], { SHOAL_API_KEY: 'x', SHOAL_PASSWORD: 'y', SHOAL_TEST_SEED: '7', OTHER: '1' })).toEqual(read([]));
  });
});

test('--help names every flag and its variable', () => {
  const settings = readSettings({ args: ['--help'], env: {}, cwd: '/' });
  const help = 'help' in settings ? settings.help : '';
  for (const [flag, variable] of choices) {
    expect(help).toContain(flag);
    expect(help).toContain(variable);
  }
  expect(help).toContain('--ephemeral');
  for (const variable of brokerVariables) expect(help).toContain(variable);
});

test('--version is that of the package', () => {
  expect(readSettings({ args: ['--version'], env: {}, cwd: '/' })).toEqual({ help: `${npmPackage.version}\n` });
});
