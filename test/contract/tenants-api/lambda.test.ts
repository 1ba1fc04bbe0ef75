/** What is special about the deployed bundle: its events, its start, its secret, and what is in it. */
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { isBuiltin } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import { brokersPartition } from '../../../services/tenancy/tenancy.js';
import { eventOf, type GatewayRequest } from '../../support/api-gateway.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { Lambda } from '../../support/lambda.js';
import { until } from '../../support/until.js';
import { operatorKey } from './api.js';
import { lambdaBundle, lambdaEnv } from './entries.js';
import { atStage, binary, plain, withEverything, withNulls } from './events.js';

let dynalite: Dynalite;
let dynamo: Dynamo;
beforeAll(async () => {
  dynalite = await startDynalite();
  dynamo = await dynalite.open();
});
afterAll(() => dynalite.stop());

async function start(change: Readonly<Record<string, string>> = {}): Promise<Lambda> {
  const env = { ...lambdaEnv({ endpoint: dynalite.endpoint, dynamo }), ...change };
  const lambda = await Lambda.start({ file: lambdaBundle, env, nowMs: Date.now });
  onTestFinished(() => lambda.stop());
  return lambda;
}

const codeOf = ({ body }: APIGatewayProxyStructuredResultV2): unknown =>
  (JSON.parse(body ?? '') as { code?: unknown }).code;

describe('an event', () => {
  it('of each recorded kind is answered', async () => {
    const lambda = await start();
    expect(await lambda.invoke(plain)).toMatchObject({ statusCode: 200, isBase64Encoded: false });
    expect(await lambda.invoke(withNulls)).toMatchObject({ statusCode: 200 });
    expect(await lambda.invoke(withEverything)).toMatchObject({
      statusCode: 201,
      headers: { 'content-type': 'application/json', location: '/v1/tenants/all' },
    });
    const refused = await lambda.invoke(binary);
    expect([refused.statusCode, codeOf(refused)]).toEqual([415, 'not-json']);
    const kicked = await lambda.invoke({
      ...atStage,
      headers: { ...atStage.headers, authorization: `Bearer ${operatorKey}` },
    });
    expect([kicked.statusCode, codeOf(kicked)]).toEqual([404, 'tenant-not-found']);
    await until(() => lambda.lines.length === 3, 'a line a request but for health');
    const paths = lambda.lines.map((line) => JSON.parse(line) as { path: string; source: string });
    expect(paths.at(-1)).toMatchObject({ path: '/v1/tenants/acme/sessions/a/b', source: '198.51.100.20' });
  });

  it('with half a body, whatever length its header says, is answered like any other', async () => {
    const lambda = await start();
    const headers = [
      ['Content-Type', 'application/json'],
      ['Content-Length', '100'],
    ] as const;
    const asked = { method: 'POST', target: '/v1/tenants', headers, body: Buffer.from('{"name":') };
    const result = await lambda.invoke(eventOf({ ...asked, sourceIp: '192.0.2.1' }));
    expect([result.statusCode, codeOf(result)]).toEqual([400, 'malformed-json']);
    await until(() => lambda.lines.length > 0, 'the line of the access log');
    expect(lambda.lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual(['info']);
  });

  it('of another kind is refused, and the function goes on', async () => {
    const lambda = await start();
    for (const other of [{}, { version: '1.0', path: '/healthz', httpMethod: 'GET' }])
      await expect(lambda.invoke(other as unknown as APIGatewayProxyEventV2)).rejects.toThrow('payload format 2.0');
    expect((await lambda.invoke(plain)).statusCode).toBe(200);
  });

  it('comes from the address that the gateway saw, whatever its headers say', async () => {
    const lambda = await start({ SHOAL_SIGN_UPS_PER_MINUTE: '1' });
    const signUp = (sourceIp: string, name: string, forwarded: string): Promise<APIGatewayProxyStructuredResultV2> =>
      lambda.invoke(
        eventOf({
          method: 'POST',
          target: '/v1/tenants',
          headers: [
            ['Content-Type', 'application/json'],
            ['X-Forwarded-For', forwarded],
          ],
          body: Buffer.from(JSON.stringify({ name })),
          sourceIp,
        }),
      );
    const minute = new Date().getUTCMinutes();
    const answers = [
      await signUp('203.0.113.5', 'from-five', '10.0.0.1'),
      await signUp('203.0.113.5', 'from-five-too', '10.0.0.2'),
      await signUp('203.0.113.6', 'from-six', '10.0.0.1'),
    ];
    // A minute may end in between, so that all get through.
    const second = new Date().getUTCMinutes() === minute ? 429 : answers[1]!.statusCode;
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([201, second, 201]);
  });

  it('with bytes as its answer is answered in base64', async () => {
    const lambda = await start();
    const icon = await lambda.invoke({ ...plain, rawPath: '/docs/favicon-32x32.png' });
    expect(icon).toMatchObject({ statusCode: 200, isBase64Encoded: true });
    const file = join(lambdaBundle, '../docs/favicon-32x32.png');
    expect(Buffer.from(icon.body!, 'base64').equals(readFileSync(file))).toBe(true);
  });
});

describe('the gateway of these tests', () => {
  const request: GatewayRequest = {
    method: 'POST',
    target: '/v1/tenants?a=1&a=2&b=x%20y',
    headers: [
      ['Host', plain.requestContext.domainName],
      ['User-Agent', 'curl/8.5.0'],
      ['Accept', 'text/html'],
      ['ACCEPT', 'application/json'],
      ['Content-Length', '14'],
      ['Content-Type', 'application/json'],
      ['Cookie', 'theme=dark; seen=1'],
    ],
    body: Buffer.from('{"name":"all"}'),
    sourceIp: '198.51.100.20',
  };

  it('makes the event that is on record', () => {
    const { requestContext, ...made } = eventOf(request);
    const { requestContext: recorded, ...rest } = withEverything;
    expect(made).toEqual(rest);
    expect(requestContext.http).toEqual(recorded.http);
    expect(Object.keys(requestContext).sort()).toEqual(Object.keys(recorded).sort());
  });

  it.each([
    ['/a%2Fb%20c', '/a/b c'],
    ['/a%252Fb+c', '/a%2Fb+c'],
    ['/a%3Fb/c?d=%2F', '/a'],
    ['/%E6%9D%B1/100%/%FF', '/東/100%/%FF'],
  ])('decodes the path %s', (target, rawPath) => {
    expect(eventOf({ method: 'GET', target, sourceIp: '::1' }).rawPath).toBe(rawPath);
  });

  it.each([
    ['application/json; charset=utf-8', false],
    ['text/plain', false],
    ['application/x-www-form-urlencoded', true],
    ['application/problem+json', true],
    [undefined, true],
  ])('sends a body of type %s in base64: %s', (type, isBase64Encoded) => {
    const headers = type === undefined ? [] : ([['Content-Type', type]] as const);
    const event: APIGatewayProxyEventV2 = eventOf({ ...request, headers, body: Buffer.from('é') });
    expect(event).toMatchObject({ isBase64Encoded, body: isBase64Encoded ? 'w6k=' : 'é' });
  });
});

describe('the start', () => {
  it.each([
    [{ SHOAL_OPERATOR_KEY: '' }, 'neither SHOAL_OPERATOR_KEY_SECRET nor SHOAL_OPERATOR_KEY is set'],
    [{ SHOAL_ENDPOINTS: 'mqtts://here' }, 'SHOAL_ENDPOINTS is not JSON'],
    [{ SHOAL_SIGN_UPS_PER_MINUTE: 'few' }, 'SHOAL_SIGN_UPS_PER_MINUTE is few, not a number'],
    [{ SHOAL_DYNAMODB_ENDPOINT: 'localhost:8000' }, 'localhost:8000 is not a URL'],
  ])('fails without what is needed, and says what: %j', async (env, words) => {
    await expect((await start(env)).invoke(plain)).rejects.toThrow(words);
  });

  /** Secrets Manager, as far as this call goes: https://docs.aws.amazon.com/secretsmanager/latest/apireference/ */
  async function secrets(answer: object, status = 200): Promise<{ env: Record<string, string>; asked: string[] }> {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      request.on('data', (body) => asked.push(`${request.headers['x-amz-target']} ${body}`));
      request.on('end', () => response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }));
      request.on('end', () => response.end(JSON.stringify(answer)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const env = {
      SHOAL_OPERATOR_KEY: '',
      SHOAL_OPERATOR_KEY_SECRET: 'arn:of:the:key',
      AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      AWS_ACCESS_KEY_ID: 'id',
      AWS_SECRET_ACCESS_KEY: 'secret',
    };
    return { env, asked };
  }

  it('reads the operator key from its secret, once', async () => {
    const { env, asked } = await secrets({ SecretString: 'the-key-of-the-secret' });
    const lambda = await start(env);
    const read = (key: string): Promise<APIGatewayProxyStructuredResultV2> =>
      lambda.invoke({ ...atStage, headers: { ...atStage.headers, authorization: `Bearer ${key}` } });
    expect((await read('the-key-of-the-secret')).statusCode).toBe(404);
    expect((await read(operatorKey)).statusCode).toBe(401);
    expect(asked).toEqual(['secretsmanager.GetSecretValue {"SecretId":"arn:of:the:key"}']);
  });

  it('serves nothing over data of a release before, and says so', async () => {
    const before = await dynalite.open();
    await before.put('cluster', { pk: brokersPartition, sk: 'broker-1', leaseUntilMs: 1 });
    const lambda = await start(lambdaEnv({ endpoint: dynalite.endpoint, dynamo: before }));
    for (let twice = 0; twice < 2; twice++)
      await expect(lambda.invoke(plain)).rejects.toThrow(
        /^the tables hold data of layout 1, .*: start with new tables/,
      );
    await until(() => lambda.lines.some((line) => line.includes('the API cannot serve')), 'a line for the operator');
    expect(await (await start()).invoke(plain)).toMatchObject({ statusCode: 200 });
  });

  it('fails when the secret cannot be read', async () => {
    const { env } = await secrets({ __type: 'AccessDeniedException', Message: 'not allowed' }, 400);
    const failing = (await start(env)).invoke(plain);
    await expect(failing).rejects.toThrow('the secret arn:of:the:key of the operator key');
    await expect(failing).rejects.toThrow('AccessDeniedException');
  });
});

describe.each(['tenants-api-lambda', 'broker'])('the bundle %s', (name) => {
  const root = join(import.meta.dirname, '../../..');
  interface Meta {
    readonly inputs: Readonly<Record<string, unknown>>;
    readonly outputs: Readonly<Record<string, { bytes: number; imports: { path: string }[] }>>;
  }
  const meta = (): Meta => JSON.parse(readFileSync(join(root, `dist/${name}.meta.json`), 'utf8')) as Meta;

  it('has nothing of the packages that are for development', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { dev?: boolean }>;
    };
    const folders = Object.keys(meta().inputs)
      .map((input) => /node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0])
      .filter((folder) => folder !== undefined);
    expect(new Set(folders).size).toBeGreaterThan(10);
    for (const folder of new Set(folders)) expect(lock.packages[folder], folder).toBeDefined();
    for (const folder of new Set(folders)) expect(lock.packages[folder]?.dev, folder).toBeUndefined();
  });

  it('needs nothing but Node.js', () => {
    const outputs = Object.entries(meta().outputs).filter(([path]) => path.endsWith('.mjs'));
    expect(outputs).toHaveLength(1);
    const { imports, bytes } = outputs[0]![1];
    // `ws` works without these two, which are not installed.
    const optional = ['bufferutil', 'utf-8-validate'];
    const others = imports
      .map(({ path }) => path)
      .filter((path) => !isBuiltin(path) && !path.startsWith('node:') && !optional.includes(path));
    expect(others).toEqual([]);
    expect(bytes).toBeLessThan(1_600_000);
  });

  it.runIf(name === 'tenants-api-lambda')('is small and comes without its map', () => {
    expect(statSync(lambdaBundle).size).toBeLessThan(1_000_000);
    expect(readFileSync(lambdaBundle, 'utf8')).not.toContain('sourceMappingURL');
  });
});
