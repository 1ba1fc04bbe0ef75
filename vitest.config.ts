import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { Progress } from './test/support/progress.js';

/** Tests that start no process of their own, and so need no bundles. */
const alone = ['test/unit/**/*.test.ts', 'test/contract/broker/**/*.test.ts', 'test/architecture/**/*.test.ts'];

/** What takes minutes, or programs that not every machine has: `npm run test:long`. */
const long = ['test/**/*.long.test.ts'];

/** Packages that tests install for themselves have tests of their own. */
const foreign = ['**/node_modules/**'];

/** Templates, made in one process; they look at the bundles of what is deployed. */
const infra = ['test/infra/**/*.test.ts'];

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'unit', include: alone, exclude: [...long, ...foreign] } },
      {
        extends: true,
        // To load the CDK takes longer than all these tests, so the files of a worker share it.
        test: { name: 'infra', include: infra, globalSetup: ['test/bundle.ts'], isolate: false },
      },
      {
        extends: true,
        test: {
          name: 'processes',
          include: ['test/**/*.test.ts'],
          exclude: [...alone, ...infra, ...long, ...foreign],
          globalSetup: ['test/bundle.ts'],
        },
      },
      { extends: true, test: { name: 'long', include: long, exclude: foreign, globalSetup: ['test/bundle.ts'] } },
    ],
    reporters: ['default', new Progress()],
    // Half of the time they wait for processes and leases. Two at once need no more than two cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    // Many tests start processes and open sockets; on a small machine they share two cores.
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
