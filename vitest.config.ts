import { defineConfig } from 'vitest/config';

/** Tests that start no process of their own, and so need no bundles. */
const alone = ['test/unit/**/*.test.ts', 'test/contract/broker/**/*.test.ts', 'test/architecture/**/*.test.ts'];

/** Templates, made in one process; they look at the bundles of what is deployed. */
const infra = ['test/infra/**/*.test.ts'];

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'unit', include: alone } },
      {
        extends: true,
        // To load the CDK takes longer than all these tests, so their files share it.
        test: { name: 'infra', include: infra, globalSetup: ['test/bundle.ts'], isolate: false, maxWorkers: 1 },
      },
      {
        extends: true,
        test: {
          name: 'processes',
          include: ['test/**/*.test.ts'],
          exclude: [...alone, ...infra],
          globalSetup: ['test/bundle.ts'],
        },
      },
    ],
    env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    // Many tests start processes and open sockets; on a small machine they share two cores.
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
