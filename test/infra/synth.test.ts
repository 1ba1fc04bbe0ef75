/** The command itself, as an operator types it: with nothing in the environment that says who or where one is, and no Docker. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { stageNames } from './synthesis.js';

const folder = mkdtempSync(join(tmpdir(), 'shoal-synth-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function synth(stage: string): Promise<string> {
  const out = join(folder, stage);
  await promisify(execFile)(
    'node_modules/.bin/cdk',
    ['synth', '--quiet', '--no-notices', '-c', `stage=${stage}`, '-o', out],
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
  return out;
}

it('npx cdk synth needs no credentials, for any stage', { timeout: 90_000 }, async () => {
  const outs = await Promise.all(stageNames.map(synth));
  outs.forEach((out, i) => {
    const files = readdirSync(out);
    const stacks = files.filter((file) => file.endsWith('.template.json'));
    expect(stacks.toSorted()).toEqual(
      ['broker', 'data', 'network', 'observability', 'tenants-api'].map(
        (name) => `shoal-${stageNames[i]}-${name}.template.json`,
      ),
    );
    const [image] = files.filter((file) => existsSync(join(out, file, 'Dockerfile')));
    expect(readdirSync(join(out, image!)).toSorted()).toEqual(['.dockerignore', 'Dockerfile', 'LICENSE', 'dist']);
    // Where nothing has a fixed account, nothing was asked of one.
    expect(readFileSync(join(out, 'manifest.json'), 'utf8')).not.toContain('"missing"');
  });
});
