/**
 * Buildah, which builds images from Dockerfiles without a daemon: the real one, with a store of its own in a folder that is
 * thrown away. Nothing is pulled.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Undefined: it can be run here. Otherwise why not. */
export const buildahMissing = ['/usr/bin', '/usr/local/bin'].some((folder) => existsSync(join(folder, 'buildah')))
  ? undefined
  : 'buildah is not installed (Debian: apt-get install buildah)';

/** What the image says about how it is to be run. */
export interface ImageConfig {
  readonly User: string;
  readonly WorkingDir: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[] | null;
  readonly StopSignal: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly ExposedPorts: Readonly<Record<string, unknown>>;
  readonly Healthcheck: { readonly Test: readonly string[] };
}

export class Buildah {
  readonly #store: readonly string[];
  readonly #mounted: string[] = [];

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    const [root, runroot] = [join(folder, 'root'), join(folder, 'run')];
    this.#store = ['--root', root, '--runroot', runroot, '--storage-driver', 'vfs'];
  }

  /** An image of what `fill` writes into its root folder. */
  make(
    name: string,
    { user, env = [] }: { user?: string; env?: readonly string[] },
    fill: (root: string) => void,
  ): void {
    const container = this.#run('from', 'scratch');
    fill(this.#run('mount', container));
    this.#run('umount', container);
    const settings = [...(user === undefined ? [] : ['--user', user]), ...env.flatMap((one) => ['--env', one])];
    if (settings.length > 0) this.#run('config', ...settings, container);
    this.#run('commit', '--quiet', '--rm', container, name);
  }

  /** In the form of Docker: that of OCI has no health check. */
  build(name: string, dockerfile: string, context: string): void {
    const how = ['--isolation', 'chroot', '--pull-never', '--format', 'docker', '--quiet'];
    this.#run('build', ...how, '--file', dockerfile, '--tag', name, context);
  }

  config(name: string): ImageConfig {
    const { Docker } = JSON.parse(this.#run('inspect', '--type', 'image', name)) as { Docker: { config: ImageConfig } };
    return Docker.config;
  }

  /** The root folder of a container made from it. */
  mount(name: string): string {
    const container = this.#run('from', '--pull-never', name);
    this.#mounted.push(container);
    return this.#run('mount', container);
  }

  close(): void {
    for (const container of this.#mounted.splice(0)) this.#run('umount', container);
  }

  #run(command: string, ...args: readonly string[]): string {
    return execFileSync('buildah', [...this.#store, command, ...args], { encoding: 'utf8' }).trim();
  }
}
