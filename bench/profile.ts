/** Prints the functions in which V8 CPU profiles spent their own time: `tsx bench/profile.ts <file.cpuprofile…>`. */
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
  /** From, to, and CPU time, in microseconds: the event loop did not come round (`profiler.mjs`). */
  readonly pauses?: readonly (readonly [number, number, number])[];
}

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

interface Sample {
  readonly atUs: number;
  readonly us: number;
  readonly name: string;
}

const rowsPrinted = 30;
const pausesPrinted = 8;
const rowsOfPause = 4;

export function topFunctions(files: readonly string[]): string {
  const profiles = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as CpuProfile);
  const samples = profiles.map(samplesOf);
  const { lines, busyUs } = top(samples.flat(), rowsPrinted);
  const longest = profiles
    .flatMap(({ pauses = [] }, n) => pauses.map(([from, to, us]) => ({ from, to, us, samples: samples[n]! })))
    .sort((a, b) => b.us - a.us);
  return [
    `${(busyUs / 1e6).toFixed(2)} s busy in ${files.join(', ')}`,
    ...lines,
    ...(longest.length > 0
      ? [`the event loop was busy with one thing ${longest.length} times; the longest (CPU time), and what it did:`]
      : []),
    ...longest.slice(0, pausesPrinted).flatMap(({ from, to, us, samples }) => {
      const within = samples.filter(({ atUs }) => atUs > from && atUs <= to);
      return [`  ${(us / 1000).toFixed(1)} ms`, ...top(within, rowsOfPause).lines.map((line) => `  ${line}`)];
    }),
  ].join('\n');
}

function top(samples: readonly Sample[], rows: number): { lines: string[]; busyUs: number } {
  const selfUs = new Map<string, number>();
  for (const { name, us } of samples) if (name !== '(idle)') selfUs.set(name, (selfUs.get(name) ?? 0) + us);
  const busyUs = [...selfUs.values()].reduce((sum, us) => sum + us, 0);
  const sorted = [...selfUs].sort(([, a], [, b]) => b - a).slice(0, rows);
  return { busyUs, lines: sorted.map(([name, us]) => `${((us / busyUs) * 100).toFixed(1).padStart(5)} %  ${name}`) };
}

function samplesOf({ nodes, samples, timeDeltas, startTime }: CpuProfile): Sample[] {
  const nameOf = new Map(nodes.map(({ id, callFrame }) => [id, nameFrame(callFrame)]));
  let atUs = startTime;
  return samples.map((id, index) => {
    const us = timeDeltas[index] ?? 0;
    return { atUs: (atUs += us), us, name: nameOf.get(id)! };
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
