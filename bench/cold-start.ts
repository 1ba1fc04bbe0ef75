/**
 * `npm run bench:cold-start -- [--rounds 10] [--json]`: what a cold start of the tenant API's Lambda costs, measured from
 * the bundle that is deployed, and what is in it. Each round is a Node.js process of its own that does what the
 * runtime of AWS does: import the bundle, then hand it an event. The database is embedded, on this machine.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { eventOf } from '../test/support/api-gateway.js';
import { startDynalite } from '../test/support/dynalite.js';

const root = join(import.meta.dirname, '..');
const bundle = join(root, 'dist/tenants-api-lambda/index.mjs');

/** Runs in the measured process: plain JavaScript, without a loader in between. */
const program = `
  const atStart = performance.now();
  const { handler } = await import(process.env.BUNDLE);
  const initialised = performance.now();
  const rssBytes = process.memoryUsage().rss;
  const took = [];
  for (const event of JSON.parse(process.env.EVENTS)) {
    const before = performance.now();
    const { statusCode, body } = await handler(event);
    took.push(performance.now() - before);
    if (statusCode >= 300) throw new Error(event.rawPath + ' answered ' + statusCode + ' ' + body);
  }
  console.error(JSON.stringify({ bootMs: atStart, initMs: initialised - atStart, rssBytes, took }));
  process.exit(0);
`;

interface Round {
  /** From the start of the process to its first line. */
  readonly bootMs: number;
  /** The import of the bundle: what AWS reports as Init Duration, without the runtime's own part. */
  readonly initMs: number;
  readonly rssBytes: number;
  /** Each event in turn. */
  readonly took: readonly number[];
}

async function measure(env: NodeJS.ProcessEnv): Promise<Round> {
  const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], { env });
  return JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as Round;
}

async function measureAll(rounds: number): Promise<Round[]> {
  const dynalite = await startDynalite();
  const dynamo = await dynalite.open();
  const measured: Round[] = [];
  for (let n = 0; n <= rounds; n++) {
    const sourceIp = '203.0.113.1';
    const signUp = (name: string) =>
      eventOf({
        method: 'POST',
        target: '/v1/tenants',
        headers: [['Content-Type', 'application/json']],
        body: Buffer.from(JSON.stringify({ name })),
        sourceIp,
      });
    const round = await measure({
      AWS_REGION: 'eu-central-1',
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
      SHOAL_DYNAMODB_ENDPOINT: dynalite.endpoint,
      SHOAL_TABLE_PREFIX: dynamo.tableName('tenants').replace(/tenants$/, ''),
      SHOAL_ENDPOINTS: '{"api":"https://api.example.com"}',
      SHOAL_OPERATOR_KEY: 'operator-key-of-the-bench',
      SHOAL_SIGN_UPS_PER_MINUTE: '1000',
      BUNDLE: pathToFileURL(bundle).href,
      EVENTS: JSON.stringify([signUp(`cold-${n}`), signUp(`warm-${n}`)]),
    });
    // The first one reads the bundle from the disk, which AWS has done before.
    if (n > 0) measured.push(round);
  }
  await dynalite.stop();
  return measured;
}

interface Meta {
  readonly outputs: Readonly<Record<string, { readonly inputs: Readonly<Record<string, { bytesInOutput: number }>> }>>;
}

/** Bytes of the bundle by package; our own code under one name. */
function contents(): [name: string, bytes: number][] {
  const meta = JSON.parse(readFileSync(join(root, 'dist/tenants-api-lambda.meta.json'), 'utf8')) as Meta;
  const sizes = new Map<string, number>();
  for (const { inputs } of Object.values(meta.outputs))
    for (const [input, { bytesInOutput }] of Object.entries(inputs)) {
      const found = /node_modules\/(?:(@[^/]+)\/[^/]+|([^/]+))/.exec(input);
      const name = found?.[1] ?? found?.[2] ?? 'Shoal';
      sizes.set(name, (sizes.get(name) ?? 0) + bytesInOutput);
    }
  return [...sizes].sort((a, b) => b[1] - a[1]);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

function print(rounds: readonly Round[]): void {
  const docs = join(root, 'dist/tenants-api-lambda/docs');
  const docsBytes = readdirSync(docs).reduce((sum, file) => sum + statSync(join(docs, file)).size, 0);
  const code = readFileSync(bundle);
  const kB = (bytes: number): string => `${(bytes / 1000).toFixed(0)} kB`;
  const row = (name: string, pick: (round: Round) => number): void => {
    const values = rounds.map(pick);
    const [median, low, high] = [quantile(values, 0.5), quantile(values, 0), quantile(values, 1)];
    console.log(`${name.padEnd(34)} ${median.toFixed(1).padStart(7)}  [${low.toFixed(1)} to ${high.toFixed(1)}]`);
  };
  console.log(`Node.js ${process.versions.node}, ${rounds.length} cold starts: median [range]\n`);
  row('boot of Node.js, ms', ({ bootMs }) => bootMs);
  row('init: import of the bundle, ms', ({ initMs }) => initMs);
  row('first invocation (sign-up), ms', ({ took }) => took[0] ?? NaN);
  row('second invocation (sign-up), ms', ({ took }) => took[1] ?? NaN);
  row('RSS after init, MB', ({ rssBytes }) => rssBytes / 1e6);
  console.log(
    `\nindex.mjs ${kB(code.length)} (${kB(gzipSync(code).length)} compressed), /docs ${kB(docsBytes)}; in index.mjs:`,
  );
  for (const [name, bytes] of contents().slice(0, 8)) console.log(`${name.padEnd(34)} ${kB(bytes).padStart(10)}`);
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '10' }, json: { type: 'boolean' } } });
execFileSync(process.execPath, ['services/local/bundle.mjs'], { cwd: root, stdio: 'inherit' });
const rounds = await measureAll(Number(values.rounds));
if (values.json) console.log(JSON.stringify(rounds));
else print(rounds);
