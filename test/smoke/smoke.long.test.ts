/** `npm run smoke` against what `npm start` starts: passes when all is well, fails with the reason when it is not. */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Endpoints } from '../../services/local/endpoints.js';
import { ensureCertificates } from '../../services/local/certificates.js';
import { until } from '../support/until.js';
import { call, endpointsIn, freePorts, Workshop } from '../local/shoal.js';
import { type Run, smoke } from './smoke.js';

const workshop = new Workshop();
let folder: string;
let endpoints: Endpoints;
beforeAll(async () => {
  folder = workshop.folder();
  await workshop.start([...freePorts, '--data', folder]).ready();
  endpoints = endpointsIn(folder);
}, 60_000);
afterAll(() => workshop.clean());

/** The step that failed, and why. */
const failureOf = ({ lines }: Run): string => lines.find((line) => line.startsWith('FAIL')) ?? '';

async function expectCleanedUp({ lines }: Run): Promise<void> {
  const tenant = /tenant (smoke-[0-9a-f]{12}) is deleted/.exec(lines.at(-2) ?? '')?.[1];
  expect(tenant, lines.join('\n')).toBeDefined();
  const { status } = await call(`${endpoints.api.url}/v1/tenants/${tenant}`, { key: endpoints.operatorKey });
  expect(status).toBe(404);
}

describe('a service that works', () => {
  test('passes, over TLS and WebSocket, and leaves nothing', async () => {
    const run = await smoke(['--local', folder, '--wss']);
    expect(run.stderr).toBe('');
    expect(run.lines.at(-1)).toMatch(/^smoke: 13 of 13 steps passed in /);
    expect(run.code).toBe(0);
    for (const line of run.lines.slice(0, -1)) expect(line).toMatch(/^ok +\d+ ms {2}\w/);
    await expectCleanedUp(run);
  });

  test('passes with URLs and a CA, as for a service elsewhere', async () => {
    const args = ['--api', endpoints.api.url, '--endpoint', endpoints.mqtts.url, '--ca', endpoints.caFile];
    const run = await smoke(args);
    expect([run.code, run.lines.at(-1)]).toEqual([0, expect.stringMatching(/^smoke: 12 of 12 steps passed/)]);
    expect(run.lines.join('\n')).not.toContain(endpoints.operatorKey);
  });
});

describe('what users get wrong is told, and nothing is left', () => {
  test('the CA of something else', async () => {
    const { caFile } = await ensureCertificates(workshop.folder(), ['127.0.0.1'], Date.now());
    const run = await smoke(['--local', folder, '--ca', caFile]);
    expect(run.code).toBe(1);
    expect(failureOf(run)).toMatch(/connect over TLS: .*neither of the authority in .* is it the right CA\?/);
    await expectCleanedUp(run);
  });

  test('no CA', async () => {
    const run = await smoke(['--api', endpoints.api.url]);
    expect(run.code).toBe(1);
    expect(failureOf(run)).toMatch(/connect over TLS: .*give its CA with --ca/);
    await expectCleanedUp(run);
  });

  test.each([
    ['of the plain listener', () => endpoints.mqtt.port, /is it the port of a TLS listener\?|does not speak TLS/],
    ['of the API', () => endpoints.api.port, /does not speak TLS/],
    ['of a WebSocket listener', () => endpoints.wss.port, /is it the port of an MQTT listener\?/],
    ['that nobody listens on', () => 1, /nothing listens there/],
  ])('a port %s', async (_, port, words) => {
    const run = await smoke(['--local', folder, '--endpoint', `mqtts://127.0.0.1:${port()}`, '--timeout', '5']);
    expect(run.code).toBe(1);
    expect(failureOf(run)).toMatch(/connect over TLS/);
    expect(failureOf(run)).toMatch(words);
    await expectCleanedUp(run);
  });

  test('an API that is out of reach', async () => {
    const run = await smoke(['--api', 'http://127.0.0.1:1']);
    expect([run.code, failureOf(run)]).toEqual([
      1,
      expect.stringMatching(/reach the API: .*127.0.0.1:1: nothing listens/),
    ]);
  });

  test('an API that is a web site', async () => {
    const site = createServer((_request, response) => {
      response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not found</h1>');
    });
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void site.close());
    const run = await smoke(['--api', `http://127.0.0.1:${(site.address() as AddressInfo).port}`]);
    expect([run.code, failureOf(run)]).toEqual([1, expect.stringMatching(/is not a Shoal tenant API; check --api/)]);
  });

  test.each([
    [[], /^smoke: tell which service: --api/],
    [['--api', 'mqtts://here'], /--api mqtts:\/\/here is not a URL that begins with https:\/\//],
    [['--api', 'https://x', '--endpoint', 'here:8883'], /--endpoint here:8883 is not a URL that begins with mqtts:/],
    [['--api', 'https://x', '--ca', '/nowhere'], /--ca \/nowhere cannot be read: ENOENT/],
    [['--local', '/nowhere'], /nothing runs with the data folder \/nowhere/],
    [['--apis', 'https://x'], /unknown option '--apis'/],
  ])('arguments that cannot be used: %j', async (args, words) => {
    const run = await smoke(args);
    expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(words)]);
    expect(run.stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  test('a file that is no certificate', async () => {
    const file = join(workshop.folder(), 'ca.pem');
    writeFileSync(file, 'a key, perhaps');
    const run = await smoke(['--local', folder, '--ca', file]);
    expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(/is not a certificate in PEM form/)]);
  });
});

describe('a run that ends early', () => {
  test('cleans up after Ctrl-C', async () => {
    const onLine = (line: string, pid: number): void => {
      if (line.includes('create a credential')) process.kill(-pid, 'SIGINT');
    };
    const run = await smoke(['--local', folder], { onLine, npm: true });
    expect([run.code, run.lines.join('\n')]).toEqual([1, expect.stringContaining('smoke: stopping')]);
    await expectCleanedUp(run);
  });

  test('fails and cleans up when the broker is killed', async () => {
    const onLine = (line: string): void => {
      if (line.includes('connect over TLS')) process.kill(endpointsIn(folder).pids.broker, 'SIGKILL');
    };
    const run = await smoke(['--local', folder], { onLine });
    expect(run.code).toBe(1);
    expect(failureOf(run)).toMatch(/onnection (has ended|closed)|nothing listens there|cut at once/);
    await expectCleanedUp(run);
    await until(async () => (await fetch(`${endpoints.api.url}/healthz`)).ok, 'the next broker', 20_000);
  });
});

test('sign-up that is closed to this address needs the operator key', { timeout: 60_000 }, async () => {
  const signUp = async (n: number): Promise<number> =>
    (await call(`${endpoints.api.url}/v1/tenants`, { body: { name: `crowd-${n}` } })).status;
  /** Sign-ups are counted by the minute of the clock: one that ends in between opens them again. */
  const minute = (): number => Math.floor(Date.now() / 60_000);
  let closed: Run;
  let wrong: Run;
  let startedIn: number;
  let n = 0;
  do {
    startedIn = minute();
    while ((await signUp(n++)) !== 429) expect(n).toBeLessThan(200);
    closed = await smoke(['--local', folder]);
    wrong = await smoke(['--local', folder, '--operator-key', 'not-the-one']);
  } while (minute() !== startedIn);
  expect([closed.code, failureOf(closed)]).toEqual([
    1,
    expect.stringMatching(/sign up: .*429 too-many-sign-ups.* --operator-key or SHOAL_OPERATOR_KEY/),
  ]);
  expect([wrong.code, failureOf(wrong)]).toEqual([1, expect.stringMatching(/is it the right one\?/)]);
  const open = await smoke(['--local', folder], { env: { SHOAL_OPERATOR_KEY: endpoints.operatorKey } });
  expect([open.code, open.lines.at(-1)]).toEqual([0, expect.stringContaining('12 of 12')]);
});
