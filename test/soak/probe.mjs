/**
 * Loaded into every process of the machine with NODE_OPTIONS, so that the product needs no switch: on SIGUSR2 it collects
 * garbage and writes what the process holds to `SOAK_DIR/<pid>.json`. With a file `SOAK_DIR/snapshot` it writes a heap
 * snapshot as well. Plain JavaScript, because it is loaded before anything is compiled.
 */
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString, writeHeapSnapshot } from 'node:v8';
import { runInNewContext } from 'node:vm';

const folder = process.env['SOAK_DIR'];

if (folder !== undefined) {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc');
  let snapshots = 0;
  process.on('SIGUSR2', async () => {
    // What finalizers and the background sweep of array buffers let go needs turns of the event loop.
    for (let i = 0; i < 4; i++) {
      gc();
      await sleep(50);
    }
    const { heapUsed, external, rss } = process.memoryUsage();
    const resources = {};
    for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
    const file = join(folder, `${process.pid}.json`);
    writeFileSync(`${file}.new`, JSON.stringify({ heapUsed, external, rss, resources }));
    renameSync(`${file}.new`, file);
    if (existsSync(join(folder, 'snapshot')))
      writeHeapSnapshot(join(folder, `${process.pid}-${++snapshots}.heapsnapshot`));
  });
}
