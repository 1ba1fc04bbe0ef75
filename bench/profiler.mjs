/**
 * Preloaded into Shoal's processes by `--profile`. The broker's is profiled between two SIGUSR2, which the load sends when
 * it begins and ends to measure; beside the profile it writes when the event loop did not come round. Plain JavaScript,
 * because it runs inside the process that is measured; NODE_OPTIONS does not take `--cpu-prof` on Node 20, which would
 * show the start as well.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';

const folder = process.env['BENCH_PROFILE_FOLDER'];
const samplingUs = 200;
/** Of CPU time between two rounds of a timer of 1 ms: others have waited for it. What others on the core have taken does not count. */
const lateMs = 3;

if (folder !== undefined && process.argv[1]?.endsWith('broker.js')) {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: samplingUs });
  let runs = 0;
  let watch;
  process.on('SIGUSR2', () => {
    if (!watch) {
      watch = watchLoop();
      return session.post('Profiler.start');
    }
    const pauses = watch();
    watch = undefined;
    // Answered before `post` returns: this session and the profiler share one thread.
    session.post('Profiler.stop', (error, result) => {
      if (error) throw error;
      const file = join(folder, `${process.pid}-${runs++}.cpuprofile`);
      writeFileSync(file, JSON.stringify({ ...result.profile, pauses }));
    });
  });
}

/** Returns what ends it, and says from when to when the event loop was busy with one thing (microseconds of the profile's clock), and for how long. */
function watchLoop() {
  const pauses = [];
  let last = { us: nowUs(), cpuUs: cpuUs() };
  const timer = setInterval(() => {
    const now = { us: nowUs(), cpuUs: cpuUs() };
    if (now.cpuUs - last.cpuUs > lateMs * 1000) pauses.push([last.us, now.us, now.cpuUs - last.cpuUs]);
    last = now;
  }, 1);
  return () => {
    clearInterval(timer);
    return pauses;
  };
}

function nowUs() {
  return Number(process.hrtime.bigint() / 1000n);
}

/** Of this thread; of the whole process before Node 24. */
function cpuUs() {
  const { user, system } = (process.threadCpuUsage ?? process.cpuUsage).call(process);
  return user + system;
}
