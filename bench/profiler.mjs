/**
 * Preloaded into Shoal's processes by `--profile`: profiles the broker's and writes the profile when it ends. Plain
 * JavaScript, because it runs inside the process that is measured; NODE_OPTIONS does not take `--cpu-prof` on Node 20.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';

const folder = process.env['BENCH_PROFILE_FOLDER'];

if (folder !== undefined && process.argv[1]?.endsWith('broker.js')) {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.start');
  process.once('exit', () => {
    // Answered before `post` returns: this session and the profiler share one thread.
    session.post('Profiler.stop', (error, result) => {
      if (error) throw error;
      writeFileSync(join(folder, `${process.pid}.cpuprofile`), JSON.stringify(result.profile));
    });
  });
}
