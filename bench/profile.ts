/** Prints the functions in which a V8 CPU profile spent its own time: `tsx bench/profile.ts <file.cpuprofile> [rows]`. */
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

export function topFunctions(file: string, rows: number): string {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile;
  const selfUs = new Map<string, number>();
  const nameOf = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameFrame(callFrame)]));
  let busyUs = 0;
  profile.samples.forEach((id, index) => {
    const name = nameOf.get(id)!;
    if (name === '(idle)') return;
    const us = profile.timeDeltas[index] ?? 0;
    busyUs += us;
    selfUs.set(name, (selfUs.get(name) ?? 0) + us);
  });
  const top = [...selfUs].sort(([, a], [, b]) => b - a).slice(0, rows);
  const lines = top.map(([name, us]) => `${((us / busyUs) * 100).toFixed(1).padStart(5)} %  ${name}`);
  return [`${file}: ${(busyUs / 1e6).toFixed(2)} s busy`, ...lines].join('\n');
}

function nameFrame({ functionName, url, lineNumber }: CallFrame): string {
  const place = url === '' ? '' : `  ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
  return `${functionName || '(anonymous)'}${place}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [, , file, rows = '25'] = process.argv;
  if (file === undefined) throw new Error('usage: tsx bench/profile.ts <file.cpuprofile> [rows]');
  console.log(topFunctions(file, Number(rows)));
}
