/** Prints the functions in which V8 CPU profiles spent their own time: `tsx bench/profile.ts <file.cpuprofile…>`. */
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

const rowsPrinted = 30;

export function topFunctions(files: readonly string[]): string {
  const selfUs = new Map<string, number>();
  for (const file of files) addSelfTimes(file, selfUs);
  const busyUs = [...selfUs.values()].reduce((sum, us) => sum + us, 0);
  const top = [...selfUs].sort(([, a], [, b]) => b - a).slice(0, rowsPrinted);
  const lines = top.map(([name, us]) => `${((us / busyUs) * 100).toFixed(1).padStart(5)} %  ${name}`);
  return [`${(busyUs / 1e6).toFixed(2)} s busy in ${files.join(', ')}`, ...lines].join('\n');
}

function addSelfTimes(file: string, selfUs: Map<string, number>): void {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile;
  const nameOf = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameFrame(callFrame)]));
  profile.samples.forEach((id, index) => {
    const name = nameOf.get(id)!;
    if (name !== '(idle)') selfUs.set(name, (selfUs.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0));
  });
}

function nameFrame({ functionName, url, lineNumber }: CallFrame): string {
  const place = url === '' ? '' : `  ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
  return `${functionName || '(anonymous)'}${place}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const files = process.argv.slice(2);
  if (files.length === 0) throw new Error('usage: tsx bench/profile.ts <file.cpuprofile…>');
  console.log(topFunctions(files));
}
