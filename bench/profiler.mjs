/**
 * Preloaded into Shoal's processes by `--profile`. The broker's is profiled between two SIGUSR2, which the load sends when
 * it begins and ends to measure. Plain JavaScript, because it runs inside the process that is measured; NODE_OPTIONS does
 * not take `--cpu-prof` on Node 20, which would show the start as well.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';

const folder = process.env['BENCH_PROFILE_FOLDER'];

if (folder !== undefined && process.argv[1]?.endsWith('broker.js')) {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  let runs = 0;
  let running = false;
  process.on('SIGUSR2', () => {
    running = !running;
    if (running) return session.post('Profiler.start');
    // Answered before `post` returns: this session and the profiler share one thread.
    session.post('Profiler.stop', (error, result) => {
      if (error) throw error;
      writeFileSync(join(folder, `${process.pid}-${runs++}.cpuprofile`), JSON.stringify(result.profile));
    });
  });
}
