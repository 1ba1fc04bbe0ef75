/**
 * `npm run smoke -- --api https://… [--endpoint mqtts://…] [--wss] [--ca file] [--operator-key …]`, or `--local` for a
 * running `npm start`: shows from outside that a service works, with a tenant of its own that is gone afterwards. One line a
 * step on standard output; exit code 0 when all of them went well, else 1.
 */
import { cleanUp, newTrial, type Step, stepsOf, type Trial } from './checks.js';
import { SmokeFailure } from './failure.js';
import { type Options, readOptions } from './options.js';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** A terminal and npm may both hand on the same Ctrl-C. */
const sameSignalMs = 500;

/** Whether it went well. */
async function runStep({ name, run }: Step, trial: Trial): Promise<boolean> {
  const startedAtMs = performance.now();
  const row = (mark: string, words: string): void => {
    const tookMs = Math.round(performance.now() - startedAtMs);
    say(`${mark.padEnd(4)} ${String(tookMs).padStart(6)} ms  ${name}: ${words}`);
  };
  try {
    row('ok', await run(trial));
    return true;
  } catch (error) {
    // What nobody has foreseen is shown with where it happened.
    row('FAIL', error instanceof SmokeFailure ? error.message : String((error as Error).stack));
    return false;
  }
}

async function smoke(options: Options): Promise<boolean> {
  const abort = new AbortController();
  const trial = newTrial(options, abort.signal);
  let firstSignalAtMs: number | undefined;
  const onSignal = (): void => {
    const nowMs = performance.now();
    firstSignalAtMs ??= nowMs;
    if (abort.signal.aborted) {
      if (nowMs - firstSignalAtMs < sameSignalMs) return;
      say(`smoke: stopped before the end of its cleaning up; tenant ${trial.tenant} may be left`);
      process.exit(1);
    }
    say('smoke: stopping; a second Ctrl-C does so without cleaning up');
    abort.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  const startedAtMs = performance.now();
  let passed = 0;
  const steps = stepsOf(options);
  for (const step of steps) {
    if (abort.signal.aborted || !(await runStep(step, trial))) break;
    passed++;
  }
  const isClean = await runStep(cleanUp, trial);
  if (!isClean) say(`smoke: tenant ${trial.tenant} is left; DELETE /v1/tenants/${trial.tenant} removes it`);
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  say(`smoke: ${passed} of ${steps.length} steps passed in ${seconds} s`);
  return isClean && passed === steps.length;
}

try {
  const options = readOptions(process.argv.slice(2));
  if ('help' in options) say(options.help.trimEnd());
  else process.exitCode = (await smoke(options)) ? 0 : 1;
} catch (error) {
  if (!(error instanceof SmokeFailure)) throw error;
  process.stderr.write(`smoke: ${error.message}\n`);
  process.exitCode = 1;
}
