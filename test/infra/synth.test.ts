/** The command itself, as an operator types it: with nothing in the environment that says who or where one is, and no Docker. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'shoal-synth-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('npx cdk synth needs no credentials', { timeout: 90_000 }, async () => {
  const out = join(folder, 'out');
  // One stage: a start takes seconds of CPU. The other tests make both, in this process.
  await promisify(execFile)(
    'node_modules/.bin/cdk',
    ['synth', '--quiet', '--no-notices', '-c', 'stage=prod', '-o', out],
    {
      env: {
        PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
        HOME: folder,
        // Tests talk to nobody.
        CDK_DISABLE_VERSION_CHECK: '1',
        CDK_DISABLE_CLI_TELEMETRY: 'true',
        AWS_EC2_METADATA_DISABLED: 'true',
      },
    },
  );
  const files = readdirSync(out);
  expect(files.filter((file) => file.endsWith('.template.json')).toSorted()).toEqual(
    ['broker', 'data', 'network', 'observability', 'tenants-api'].map((name) => `shoal-prod-${name}.template.json`),
  );
  const [image] = files.filter((file) => existsSync(join(out, file, 'Dockerfile')));
  expect(readdirSync(join(out, image!)).toSorted()).toEqual(['.dockerignore', 'Dockerfile', 'LICENSE', 'dist']);
  // Where nothing has a fixed account, nothing was asked of one.
  expect(readFileSync(join(out, 'manifest.json'), 'utf8')).not.toContain('"missing"');
});
