/**
 * Runs an image as ECS would: its first process is number 1 of its own process table, as the image's user, with a root file
 * system that nobody can write to, no capabilities and no way to get any. The network is this machine's.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { until } from '../support/until.js';
import type { ImageConfig } from './buildah.js';

/** As root, in namespaces of its own: what is mounted here nobody else sees, and is gone with the process. */
const enter = `
set -e
root=$1 user=$2 group=$3 folder=$4
shift 4
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755,size=64k tmpfs "$root/dev"
for device in null zero random urandom; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro "$root"
mount -o remount,ro "$root/dev"
exec setpriv --no-new-privs --inh-caps=-all \\
  unshare --root="$root" --wd="$folder" --setgid="$group" --setuid="$user" -- "$@"
`;
const namespaces = ['--mount', '--pid', '--fork'];

/** Undefined: containers can be run here. Otherwise why not. */
export function containersMissing(): string | undefined {
  try {
    execFileSync('unshare', [...namespaces, 'mount', '--bind', '/', '/'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'namespaces cannot be made here (needs Linux, root and CAP_SYS_ADMIN)';
  }
}

export interface Image {
  /** The folder that is to be its root. */
  readonly root: string;
  readonly config: ImageConfig;
}

export class Container {
  stdout = '';
  stderr = '';
  readonly startedAtMs = performance.now();
  readonly exited: Promise<number | string>;
  readonly #process: ChildProcess;
  #hasExited = false;

  /** `env` comes on top of the image's own; `command` takes the place of its entrypoint. */
  constructor({ root, config }: Image, env: Readonly<Record<string, string>>, command = config.Entrypoint) {
    const [user = '', group = ''] = config.User.split(':');
    const ofImage = Object.fromEntries(config.Env.map((line) => /^([^=]*)=(.*)$/s.exec(line)!.slice(1)));
    const args = ['sh', '-c', enter, 'sh', root, user, group, config.WorkingDir, ...command];
    this.#process = spawn('/usr/bin/unshare', [...namespaces, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...ofImage, PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...env },
    });
    this.#process.stdout!.on('data', (data) => (this.stdout += String(data)));
    this.#process.stderr!.on('data', (data) => (this.stderr += String(data)));
    const killWithUs = (): void => this.kill();
    process.once('exit', killWithUs);
    this.exited = new Promise((resolve) =>
      this.#process.once('close', (code, signal) => {
        process.off('exit', killWithUs);
        this.#hasExited = true;
        resolve(code ?? signal ?? 'unknown');
      }),
    );
  }

  /** The first process, as it is known outside: the only child of the one that made the namespaces. */
  get pid(): number {
    const isChild = (pid: string): boolean => {
      try {
        return / \(.*\) \S (\d+) /s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] === String(this.#process.pid);
      } catch {
        return false; // it has ended meanwhile
      }
    };
    const [pid] = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isChild(name));
    if (pid === undefined) throw new Error(`the container has no process: ${this.stderr}`);
    return Number(pid);
  }

  /** A field of `/proc/<pid>/status` of the first process. */
  status(field: string): string {
    const text = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return new RegExp(`^${field}:[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.replaceAll('\t', ' ') ?? '';
  }

  /** Fails with what it wrote when it ends instead. */
  async until(condition: () => unknown, what: string, boundMs: number): Promise<void> {
    await until(async () => this.#hasExited || (await condition()), what, boundMs);
    if (this.#hasExited) throw new Error(`the container ended before ${what}: ${this.stderr}`);
  }

  /** The first process itself: the kernel forgets `--kill-child` where the user changes. */
  kill(): void {
    if (!this.#hasExited) process.kill(this.pid, 'SIGKILL');
  }
}
