/**
 * What is deployed, outside of this repository and so without its packages: the bundle of the broker, and the Lambda's behind
 * a gateway. They share a database and nothing else, and pass the smoke test.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureCertificates } from '../../services/local/certificates.js';
import { cleanEnv, Workshop } from '../local/shoal.js';
import { serveGateway } from '../support/api-gateway.js';
import { type Dynalite, startDynalite } from '../support/dynalite.js';
import { Lambda } from '../support/lambda.js';
import { smoke } from './smoke.js';

interface Ports {
  readonly mqtts: number;
  readonly wss: number;
}

/** Far above what it takes, on a machine that does other things as well. */
const startedWithinMs = 5000;

const dist = join(import.meta.dirname, '../../dist');
const workshop = new Workshop();
const common = { AWS_REGION: 'eu-central-1', AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' };
let dynalite: Dynalite;
let broker: ChildProcess;
let lambda: Lambda;
let gateway: { url: string; close(): void };
let caFile: string;
let startedInMs: number;

beforeAll(async () => {
  const folder = workshop.folder();
  cpSync(join(dist, 'broker.mjs'), join(folder, 'broker.mjs'));
  cpSync(join(dist, 'tenants-api-lambda'), join(folder, 'lambda'), { recursive: true });
  mkdirSync(join(folder, 'data'));
  const certificates = await ensureCertificates(join(folder, 'data'), ['127.0.0.1'], Date.now());
  ({ caFile } = certificates);
  dynalite = await startDynalite();
  await dynalite.open({ tablePrefix: 'deployed-' });
  const tables = { ...common, SHOAL_DYNAMODB_ENDPOINT: dynalite.endpoint, SHOAL_TABLE_PREFIX: 'deployed-' };

  const startedAtMs = performance.now();
  broker = fork(join(folder, 'broker.mjs'), [], {
    cwd: folder,
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      ...cleanEnv(),
      ...tables,
      SHOAL_MQTTS_PORT: '0',
      SHOAL_WSS_PORT: '0',
      SHOAL_HEALTH_PORT: '0',
      SHOAL_TLS_CERT_FILE: certificates.certFile,
      SHOAL_TLS_KEY_FILE: certificates.keyFile,
      SHOAL_LOG_LEVEL: 'error',
    },
  });
  const ports = await new Promise<Ports>((resolve, reject) => {
    broker.on('message', (message: { type: string; ports: Ports }) => {
      if (message.type === 'ready') resolve(message.ports);
    });
    broker.once('exit', (code) => reject(new Error(`the broker ended with ${code}`)));
  });
  startedInMs = performance.now() - startedAtMs;

  gateway = await serveGateway((event) => lambda.invoke(event));
  const endpoints = {
    mqtts: `mqtts://127.0.0.1:${ports.mqtts}`,
    wss: `wss://127.0.0.1:${ports.wss}/mqtt`,
    api: gateway.url,
  };
  const env = { ...tables, SHOAL_ENDPOINTS: JSON.stringify(endpoints), SHOAL_OPERATOR_KEY: 'operator-key' };
  lambda = await Lambda.start({ file: join(folder, 'lambda/index.mjs'), env, nowMs: Date.now });
}, 60_000);

afterAll(async () => {
  gateway?.close();
  broker?.kill('SIGKILL');
  await lambda?.stop();
  await dynalite?.stop();
  await workshop.clean();
});

test('the broker starts at once', () => {
  expect(startedInMs).toBeLessThan(startedWithinMs);
});

test('broker and Lambda pass the smoke test', async () => {
  const run = await smoke(['--api', gateway.url, '--ca', caFile, '--wss']);
  expect([run.code, run.lines.at(-1)], run.lines.join('\n')).toEqual([0, expect.stringContaining('13 of 13 steps')]);
});

test('the Lambda has the page of the docs with it', async () => {
  const page = await (await fetch(`${gateway.url}/docs`)).text();
  for (const [, link = ''] of page.matchAll(/(?:src|href)="([^"]+)"/g))
    expect((await fetch(`${gateway.url}${link}`)).status, link).toBe(200);
});

test('the broker stops when it is asked to', async () => {
  const exited = new Promise((resolve) => broker.once('exit', (code, signal) => resolve(code ?? signal)));
  broker.kill('SIGTERM');
  expect(await exited).toBe(0);
});
