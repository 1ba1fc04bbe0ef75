/**
 * `npm run bench:hot-path -- [--against ../shoal-before] [--only 1to1-qos0,…] [--rounds 5] [--profile folder]`: what the
 * broker's own code takes for a message, from the bytes of a read to the bytes of a write. The kernel, whose part is as large and
 * varies by a fifth, is left out. `hot-path/hot-path-main.ts` is what is measured, bundled with each checkout as the broker is.
 *
 * A round is a process for each checkout. They take turns of some milliseconds, so what else the machine does meets both.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build, type Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..');
const main = join(import.meta.dirname, 'hot-path/hot-path-main.ts');
const windowMs = 25;
const windowsOfRound = 40;
/** Where an earlier checkout has what has moved since. */
const before: Readonly<Record<string, string>> = {
  'services/broker/outbox/flusher.ts': 'services/broker/transport/flusher.ts',
};

const { values } = parseArgs({
  options: {
    against: { type: 'string' },
    only: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    profile: { type: 'string' },
  },
});

/** The measured program with the code of this checkout; returns the bundle's path. */
async function bundled(checkout: string, outfile: string): Promise<string> {
  const fromCheckout: Plugin = {
    name: 'from-checkout',
    setup(builder) {
      builder.onResolve({ filter: /^\.\.\// }, ({ path, importer, resolveDir }) => {
        if (importer !== main) return undefined;
        const wanted = relative(root, join(resolveDir, path)).replace(/\.js$/, '.ts');
        const found = [wanted, before[wanted] ?? wanted].map((file) => join(checkout, file)).find(existsSync);
        return found === undefined ? { errors: [{ text: `${checkout} has no ${wanted}` }] } : { path: found };
      });
    },
  };
  const options = { bundle: true, platform: 'node', target: 'node22', format: 'esm', logLevel: 'error' } as const;
  const banner = { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" };
  await build({ ...options, banner, entryPoints: [main], outfile, plugins: [fromCheckout] });
  return outfile;
}

/** A process that measures when it is asked to. */
class Measured {
  readonly #child: ChildProcess;
  #answered: (answer: unknown) => void = () => undefined;

  constructor(bundle: string) {
    const execArgv = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${values.profile}`] : [];
    this.#child = fork(bundle, { execArgv });
    this.#child.on('message', (answer) => this.#answered(answer));
    this.#child.on('exit', (code) => {
      if (code !== 0) throw new Error('a measured process has failed');
    });
  }

  async answer(): Promise<unknown> {
    return new Promise((resolve) => (this.#answered = resolve));
  }

  ask(wanted: string | number): Promise<number> {
    this.#child.send(wanted);
    return this.answer() as Promise<number>;
  }

  end(): void {
    this.#child.disconnect();
  }
}

/** Of each bundle the nanoseconds of a message, window by window. */
async function round(bundles: readonly string[], shape: string): Promise<number[][]> {
  const processes = bundles.map((bundle) => new Measured(bundle));
  await Promise.all(processes.map((one) => one.answer()));
  for (const one of processes) await one.ask(shape);
  const took: number[][] = processes.map(() => []);
  for (let i = 0; i < windowsOfRound; i++)
    for (const [n, one] of processes.entries()) took[n]!.push(await one.ask(windowMs));
  for (const one of processes) one.end();
  return took;
}

async function shapesOf(bundle: string): Promise<string[]> {
  const one = new Measured(bundle);
  const shapes = (await one.answer()) as string[];
  one.end();
  return shapes;
}

const median = (of: readonly number[]): number => of.toSorted((a, b) => a - b)[Math.floor(of.length / 2)]!;
const figures = (ns: readonly number[]): string =>
  `${Math.min(...ns).toFixed(0)} (${median(ns).toFixed(0)})`.padEnd(13);
const percent = (ratio: number): string => `${((ratio - 1) * 100).toFixed(1)} %`;

const folder = mkdtempSync(join(tmpdir(), 'shoal-hot-path-'));
try {
  const bundles = [await bundled(root, join(folder, 'now.mjs'))];
  if (values.against !== undefined) bundles.unshift(await bundled(resolve(values.against), join(folder, 'then.mjs')));
  console.log(`Node.js ${process.versions.node}: CPU ns a message, of the least window (of the median one)\n`);
  for (const shape of values.only?.split(',') ?? (await shapesOf(bundles[0]!))) {
    const took: number[][] = bundles.map(() => []);
    for (let n = 0; n < Number(values.rounds); n++)
      for (const [i, ns] of (await round(bundles, shape)).entries()) took[i]!.push(...ns);
    const [now, then] = took.toReversed() as [number[], number[] | undefined];
    if (!then) console.log(`${shape.padEnd(16)} ${figures(now)}`);
    else {
      const ratios = median(now.map((ns, i) => ns / then[i]!));
      const least = Math.min(...now) / Math.min(...then);
      console.log(
        `${shape.padEnd(16)} before ${figures(then)} now ${figures(now)} ${percent(least)}, window by window ${percent(ratios)}`,
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
