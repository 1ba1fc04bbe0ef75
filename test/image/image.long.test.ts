/**
 * The image, built from the Dockerfile and run as it would be on AWS: without rights, with nothing to write to, against
 * DynamoDB Local, behind HAProxy set up like the load balancer, beside the API as its Lambda. On base images that are
 * assembled here under the names that the Dockerfile has: what is in the real ones cannot be seen from here.
 */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { brokerPorts, stopTimeoutSeconds } from '../../infra/constructs/broker-ports.js';
import { ensureCertificates } from '../../services/local/certificates.js';
import type { Endpoints } from '../../services/local/endpoints.js';
import { Workshop, call } from '../local/shoal.js';
import { smoke } from '../smoke/smoke.js';
import { serveGateway } from '../support/api-gateway.js';
import { startDynamodbLocal } from '../support/dynamodb-local.js';
import type { EmbeddedDynamo } from '../support/embedded.js';
import { Haproxy, haproxyMissing } from '../support/haproxy.js';
import { Lambda } from '../support/lambda.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/until.js';
import { Buildah, buildahMissing } from './buildah.js';
import { Container, containersMissing, type Image } from './container.js';
import { makeStandIns } from './stand-ins.js';

const root = join(import.meta.dirname, '../..');
const shuttingDown = 0x8b;
/** Far above what it takes (docs/image.md), on a machine that does other things as well. */
const startedWithinMs = 5000;
const drainSeconds = 3;

const missing = buildahMissing ?? haproxyMissing;
const cannotRun = containersMissing();
test.runIf(process.env['CI'] === 'true' && cannotRun === undefined)(
  'what builds and runs the image is installed',
  () => {
    expect(missing).toBeUndefined();
  },
);

const leftOut = missing ?? cannotRun;
describe.skipIf(leftOut !== undefined)(`the image of the broker ${leftOut ? `(${leftOut})` : ''}`, () => {
  const workshop = new Workshop();
  const started: Container[] = [];
  let buildah: Buildah;
  let image: Image;
  let dynamo: EmbeddedDynamo;
  let tables: Readonly<Record<string, string>>;
  let data: string;
  let caFile: string;
  let ports: Readonly<Record<keyof typeof brokerPorts, number>>;
  let settings: Readonly<Record<string, string>>;
  let broker: Container;
  let startedInMs: number;

  const run = (env: Readonly<Record<string, string>>, command?: readonly string[]): Container => {
    const container = new Container(image, env, command);
    started.push(container);
    return container;
  };
  const node = (script: string, env: Readonly<Record<string, string>> = {}): Container =>
    run(env, ['/usr/local/bin/node', '--eval', script]);
  const health = (): Promise<number> =>
    fetch(`http://127.0.0.1:${ports.health}/healthz`).then(
      ({ status }) => status,
      () => 0,
    );

  async function startBroker(): Promise<{ broker: Container; startedInMs: number }> {
    const started = run(settings);
    await started.until(async () => (await health()) === 200, 'it takes clients', 30_000);
    return { broker: started, startedInMs: performance.now() - started.startedAtMs };
  }

  beforeAll(async () => {
    buildah = new Buildah(join(workshop.folder(), 'images'));
    await makeStandIns(buildah, join(root, 'Dockerfile'));
    buildah.build('shoal-broker', join(root, 'Dockerfile'), root);
    image = { root: buildah.mount('shoal-broker'), config: buildah.config('shoal-broker') };
    data = workshop.folder();
    const certificates = await ensureCertificates(data, ['127.0.0.1'], Date.now());
    ({ caFile } = certificates);
    dynamo = await startDynamodbLocal();
    await dynamo.open({ tablePrefix: 'image-' });
    tables = {
      AWS_REGION: 'eu-central-1',
      SHOAL_DYNAMODB_ENDPOINT: dynamo.endpoint,
      SHOAL_TABLE_PREFIX: 'image-',
    };
    ports = { mqtt: await freePort(), mqtts: await freePort(), ws: await freePort(), health: await freePort() };
    settings = {
      ...tables,
      AWS_ACCESS_KEY_ID: 'any',
      AWS_SECRET_ACCESS_KEY: 'any',
      SHOAL_HOST: '127.0.0.1',
      SHOAL_MQTT_PORT: String(ports.mqtt),
      SHOAL_MQTTS_PORT: String(ports.mqtts),
      SHOAL_WS_PORT: String(ports.ws),
      SHOAL_HEALTH_PORT: String(ports.health),
      // As ECS hands on a secret: there is no file to put it in.
      SHOAL_TLS_CERT: readFileSync(certificates.certFile, 'utf8'),
      SHOAL_TLS_KEY: readFileSync(certificates.keyFile, 'utf8'),
      SHOAL_TRUST_PROXY: '127.0.0.1/32',
      SHOAL_DRAIN_SECONDS: String(drainSeconds),
      SHOAL_METRICS_EMF: '1',
      SHOAL_STAGE: 'image',
    };
    ({ broker, startedInMs } = await startBroker());
  }, 180_000);

  afterAll(async () => {
    for (const container of started) container.kill();
    await Promise.all(started.map(({ exited }) => exited));
    await dynamo?.stop();
    buildah?.close();
    await workshop.clean();
  });

  test('says how it is to be run', () => {
    const { User, Entrypoint, Cmd, StopSignal, ExposedPorts, Labels, WorkingDir, Env } = image.config;
    expect(User).toBe('65532:65532');
    expect(Entrypoint).toEqual(['/usr/local/bin/node', '--enable-source-maps', '/app/broker.mjs']);
    expect([Cmd ?? [], WorkingDir, StopSignal]).toEqual([[], '/app', 'SIGTERM']);
    expect(Object.keys(ExposedPorts).sort()).toEqual(
      Object.values(brokerPorts)
        .map((port) => `${port}/tcp`)
        .sort(),
    );
    expect(Env).toContain(`SHOAL_HEALTH_PORT=${brokerPorts.health}`);
    const { version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, string>;
    expect(Labels).toMatchObject({
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.licenses': license,
    });
  });

  test('has the bundle, Node.js and what it began with, and nothing else', () => {
    const files = filesBelow(image.root);
    const ofSystem = /^(lib|lib64|usr\/lib|etc)\//;
    expect(files.filter((file) => !ofSystem.test(file))).toEqual([
      'app/LICENSE',
      'app/broker.cdx.json',
      'app/broker.mjs',
      'app/broker.mjs.map',
      'usr/local/bin/node',
      'usr/local/share/doc/node/LICENSE',
    ]);
    for (const file of files) {
      const { uid, mode } = lstatSync(join(image.root, file));
      expect([file, uid, mode & 0o022]).toEqual([file, 0, 0]);
    }
    for (const file of ['broker.mjs', 'broker.cdx.json'])
      expect(readFileSync(join(image.root, 'app', file)).equals(readFileSync(join(root, 'dist', file)))).toBe(true);
  });

  test('runs as nobody, who can do nothing', () => {
    expect(broker.status('NSpid').split(' ').at(-1)).toBe('1');
    expect(broker.status('Uid')).toBe('65532 65532 65532 65532');
    expect(broker.status('Gid')).toBe('65532 65532 65532 65532');
    expect(broker.status('Groups').trim()).toBe('');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) expect(broker.status(set)).toMatch(/^0+$/);
    expect(broker.status('NoNewPrivs')).toBe('1');
  });

  test('has nothing that can be written to', async () => {
    const folders = ['/', '/app', '/tmp', '/home/nonroot', '/dev', '/etc', '/usr/local/bin'];
    for (const folder of folders) if (folder !== '/dev') expect(existsSync(join(image.root, folder))).toBe(true);
    const attempt = node(`
      const { writeFileSync } = require('node:fs');
      for (const folder of ${JSON.stringify(folders)}) {
        try { writeFileSync(folder + '/new', ''); console.log(folder, 'written'); }
        catch ({ code }) { console.log(folder, code); }
      }`);
    expect([await attempt.exited, attempt.stderr]).toEqual([0, '']);
    expect(attempt.stdout.trimEnd().split('\n')).toEqual(folders.map((folder) => `${folder} EROFS`));
  });

  test('starts at once', async ({ annotate }) => {
    await annotate(`healthy after ${Math.round(startedInMs)} ms`);
    expect(startedInMs).toBeLessThan(startedWithinMs);
  });

  test('has the Node.js that its list of components names, and knows the lines of the sources', async () => {
    const { components } = JSON.parse(readFileSync(join(image.root, 'app/broker.cdx.json'), 'utf8')) as {
      components: { name: string; version: string }[];
    };
    const [program = '', flag = '', bundle = ''] = image.config.Entrypoint;
    const script = `
      const { findSourceMap } = require('node:module');
      process.on('exit', () => console.log(process.versions.node, findSourceMap('${bundle}').payload.sources.at(-1)));
      import('${bundle}');`;
    const { version } = components.find(({ name }) => name === 'node')!;
    const asked = run({}, [program, flag, '--eval', script]);
    await asked.exited;
    expect(asked.stdout).toBe(`${version} file:///services/broker/main.ts\n`);
  });

  test('knows whether it is healthy', async () => {
    const [kind, ...command] = image.config.Healthcheck.Test;
    expect(kind).toBe('CMD');
    const good = run({ SHOAL_HEALTH_PORT: String(ports.health) }, command);
    const nobody = run({ SHOAL_HEALTH_PORT: String(await freePort()) }, command);
    expect(await Promise.all([good.exited, nobody.exited])).toEqual([0, 1]);
  });

  test('says what is wrong with a setting', async () => {
    const misled = run({ SHOAL_MQTT_PORT: 'x' });
    expect(await misled.exited).toBe(1);
    expect(misled.stderr).toMatch(/^broker: SHOAL_MQTT_PORT=x is not a number.*\n$/);
  });

  describe('behind a load balancer', () => {
    let haproxy: Haproxy;
    let lambda: Lambda;
    let gateway: { url: string; close(): void };

    beforeAll(async () => {
      const at = (port: number): { port: number } => ({ port });
      const endpoints = {
        mqtt: at(ports.mqtt),
        mqtts: at(ports.mqtts),
        ws: at(ports.ws),
        broker: { healthUrl: `http://127.0.0.1:${ports.health}/healthz` },
      } as Endpoints;
      const folder = join(workshop.folder(), 'haproxy');
      mkdirSync(folder);
      haproxy = await Haproxy.start(endpoints, data, folder);
      gateway = await serveGateway((event) => lambda.invoke(event));
      const told = {
        mqtts: `mqtts://127.0.0.1:${haproxy.ports.mqtts}`,
        wss: `wss://127.0.0.1:${haproxy.ports.wss}/mqtt`,
        api: gateway.url,
      };
      const silent = { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' };
      const env = { ...tables, ...silent, SHOAL_ENDPOINTS: JSON.stringify(told), SHOAL_OPERATOR_KEY: 'operator-key' };
      lambda = await Lambda.start({
        file: join(root, 'dist/tenants-api-lambda/index.mjs'),
        env: { ...env, AWS_ACCESS_KEY_ID: 'any', AWS_SECRET_ACCESS_KEY: 'any' },
        nowMs: Date.now,
      });
    }, 60_000);
    afterAll(async () => {
      gateway?.close();
      haproxy?.stop();
      await lambda?.stop();
    });

    test('is found healthy', async () => {
      for (const backend of ['mqtts', 'wss', 'through'])
        await until(async () => (await haproxy.check(backend)) === 'UP L7OK/200', `${backend} to be up`, 10_000);
    });

    test('passes the smoke test, with TLS at the balancer and in the broker', async () => {
      for (const more of [['--wss'], ['--endpoint', `mqtts://127.0.0.1:${haproxy.ports.through}`]]) {
        const trial = await smoke(['--api', gateway.url, '--ca', caFile, ...more]);
        expect(trial.lines.at(-1), trial.lines.join('\n')).toMatch(/^smoke: (\d+) of \1 steps passed/);
        expect(trial.code).toBe(0);
      }
    }, 60_000);

    test('sends all clients away when it is asked to stop, and ends', async () => {
      const account = await signUp(gateway.url);
      const count = 20;
      const clients = await Promise.all(
        Array.from({ length: count }, (_, n) => connected(haproxy, caFile, account, `c${n}`, n % 2 === 0)),
      );
      const farewells = clients.map(({ client }) => farewell(client));
      const askedAtMs = performance.now();
      process.kill(broker.pid, image.config.StopSignal);
      expect(await Promise.all(farewells)).toEqual(Array.from({ length: count }, () => shuttingDown));
      expect(await broker.exited, broker.stderr).toBe(0);
      expect(performance.now() - askedAtMs).toBeLessThan((drainSeconds + 10) * 1000);
      expect(drainSeconds + 10).toBeLessThan(stopTimeoutSeconds);
      await until(async () => (await haproxy.check('mqtts')).startsWith('DOWN'), 'the balancer to notice', 10_000);
    }, 60_000);

    test('makes way for the next one, which does not have to wait for anything to run out', async ({ annotate }) => {
      const next = await startBroker();
      await annotate(`healthy after ${Math.round(next.startedInMs)} ms`);
      expect(next.startedInMs).toBeLessThan(startedWithinMs);
      await until(async () => (await haproxy.check('mqtts')) === 'UP L7OK/200', 'the balancer to notice', 10_000);
    }, 60_000);
  });
});

interface Account {
  readonly username: string;
  readonly password: string;
}

async function signUp(api: string): Promise<Account> {
  const tenant = await call(`${api}/v1/tenants`, { body: { name: 'image' } });
  const options = { key: String(tenant.body['apiKey']), body: { name: 'device' } };
  const { body } = await call(`${api}/v1/tenants/image/credentials`, options);
  return { username: 'device@image', password: String(body['password']) };
}

async function connected(
  haproxy: Haproxy,
  caFile: string,
  account: Account,
  clientId: string,
  isWebSocket: boolean,
): Promise<{ client: MqttClient }> {
  const { mqtts, wss } = haproxy.ports;
  const url = isWebSocket ? `wss://127.0.0.1:${wss}/mqtt` : `mqtts://127.0.0.1:${mqtts}`;
  const client = connect(url, {
    ...account,
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 0,
    ca: readFileSync(caFile),
  });
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('error', reject);
  });
  return { client };
}

/** The reason in the DISCONNECT that the broker sends; undefined when the connection ends without one. */
function farewell(client: MqttClient): Promise<number | undefined> {
  return new Promise((resolve) => {
    client.once('disconnect', ({ reasonCode }) => resolve(reasonCode));
    client.once('close', () => resolve(undefined));
  });
}

/** Files and links, relative, in the order of their names. */
function filesBelow(folder: string): string[] {
  const all = readdirSync(folder, { recursive: true, withFileTypes: true });
  return all
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}
