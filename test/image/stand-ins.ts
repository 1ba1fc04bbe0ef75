/**
 * The images that the Dockerfile begins with, assembled from this machine: Node.js in the version that it names, as its
 * makers have built it, and the few libraries that Node.js needs. There is no registry of images where these tests run.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { npmPackageFolder } from '../support/npm-package.js';
import type { Buildah } from './buildah.js';

const nodeVersion = '24.21.0';
const nodeOf: Readonly<Record<string, string>> = {
  x64: '3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
};

const authorities = '/etc/ssl/certs/ca-certificates.crt';

/** Makes them under the names of the two `FROM` of the Dockerfile, and nothing else: another name there fails the build. */
export async function makeStandIns(buildah: Buildah, dockerfile: string): Promise<void> {
  const [node = '', system = '', ...more] = [...readFileSync(dockerfile, 'utf8').matchAll(/^FROM (\S+)/gm)].map(
    ([, name]) => name,
  );
  if (!node.includes(`/node:${nodeVersion}-`) || !system.includes('/distroless/cc-') || more.length > 0)
    throw new Error(`there are no stand-ins for ${[node, system, ...more].join(', ')}: see test/image/stand-ins.ts`);
  const program = await nodeProgram();
  buildah.make(node, {}, (root) => {
    mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
    copyFileSync(program, join(root, 'usr/local/bin/node'));
    writeFileSync(join(root, 'usr/local/LICENSE'), 'the licence of Node.js\n');
  });
  const config = { user: '65532', env: ['PATH=/usr/local/bin:/usr/bin:/bin', `SSL_CERT_FILE=${authorities}`] };
  buildah.make(system, config, (root) => fillSystem(root, librariesOf(program)));
}

async function nodeProgram(): Promise<string> {
  const sha512 = nodeOf[process.arch];
  if (sha512 === undefined) throw new Error(`there is no Node.js for ${process.arch} among the stand-ins`);
  const name = `node-linux-${process.arch}`;
  return join(await npmPackageFolder({ name, version: nodeVersion, sha512, folder: 'bin' }), 'node');
}

/** The loader included; where this machine has them. */
function librariesOf(program: string): readonly string[] {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!);
}

/** Like the real one it has no shell and no tools, a folder of the user and one for everybody. */
function fillSystem(root: string, libraries: readonly string[]): void {
  for (const folder of ['proc', 'dev', 'etc', 'tmp', 'home/nonroot'])
    mkdirSync(join(root, folder), { recursive: true });
  chownSync(join(root, 'home/nonroot'), 65532, 65532);
  chmodSync(join(root, 'tmp'), 0o1777);
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532::/home/nonroot:\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nnonroot:x:65532:\n');
  for (const path of [...libraries, ...(existsSync(authorities) ? [authorities] : [])]) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(path, join(root, path)); // Also what a link leads to.
  }
}
