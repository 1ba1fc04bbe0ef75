/** Starts `floor-main.ts` with a fast database of its own. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { cores } from '../measure.js';
import { pin } from '../proc.js';
import type { Broker } from './broker.js';
import { forked } from './forked.js';

const database = fileURLToPath(new URL('../database/database-main.ts', import.meta.url));

export const floor: Broker = {
  unavailable: () => undefined,
  start: async (options) => {
    const child = fork(database, ['', '0', '0'], { execArgv: ['--import', 'tsx'] });
    const [{ port }] = (await once(child, 'message')) as [{ port: number }];
    if (cores) pin(child.pid!, cores.load);
    const running = await forked('floor-main.ts', true, { FLOOR_DATABASE_PORT: String(port) }).start(options);
    return { ...running, stop: () => running.stop().finally(() => child.disconnect()) };
  },
};
