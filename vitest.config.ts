import { availableParallelism } from 'node:os';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { chromium, hasChromium } from './tests/browser/chromium.ts';
import { postgresPrograms } from './tests/support/postgres.ts';

/** Bounds for a test that hangs. They are long, because tests run beside others on machines with few cores. */
const bounds = { testTimeout: 300_000, hookTimeout: 300_000, expect: { poll: { timeout: 60_000 } } };

/** Tests that need the servers of `tests/cluster/servers.ts`. */
const onServers = [
  'server/event-log/postgres/**/*.test.ts',
  'server/backplane/**/*.test.ts',
  'tests/cluster/**/*.test.ts',
];

/** Suites of delivery, governance and audit that run on one server, and in the project `cluster` on three that share a log. */
const onThreeServers = [
  'tests/api/{subscriptions,approvals}.test.ts',
  'tests/audit/*.test.ts',
  'tests/auth/revocation.test.ts',
];

const inBrowser: TestProjectInlineConfiguration = {
  // Listed in advance: vite reloads the page when it discovers a dependency during a test.
  optimizeDeps: {
    include: [
      '@tanstack/react-query',
      '@trpc/client',
      '@trpc/react-query',
      '@trpc/tanstack-react-query',
      '@trpc/server',
      '@trpc/server/observable',
      'react',
      'react-dom',
      'react-dom/client',
      'react-dom/server',
      'react/jsx-dev-runtime',
      'react/jsx-runtime',
      'vitest-browser-react',
      'zod',
    ],
  },
  test: {
    name: 'browser',
    include: ['{client,tests}/**/*.browser.test.tsx'],
    globalSetup: './tests/browser/control.ts',
    ...bounds,
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({ launchOptions: chromium }),
      instances: [{ browser: 'chromium' }],
    },
  },
};

/** Begins with the long tests, so that none of them runs alone at the end. Those of a package build an app each. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => /\.long\.test\.|\/tests\/(docs|examples)\//.test(moduleId);
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

/**
 * Five projects: `node`, `cluster` (with real PostgreSQL and Redis servers), `examples` (the packed package in copies of
 * `examples/`) and `browser` are `npm test`; `long` holds soaks and repetitions in files named `*.long.test.ts`, run by
 * `npm run test:long`.
 */
export default defineConfig({
  test: {
    // Two at least. Three on two cores save a twentieth of the time, and tests with a page then wait for the processor.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Servers under test log the errors that the tests cause.
    silent: 'passed-only',
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          name: 'node',
          include: ['{shared,server,client,tests}/**/*.test.ts'],
          exclude: [
            '**/*.browser.test.*',
            '**/*.long.test.ts',
            '**/node_modules/**',
            'tests/examples/**',
            ...onServers,
            ...(hasChromium ? [] : ['tests/browser/!(chromium).test.ts']),
          ],
          ...bounds,
          typecheck: { enabled: true, include: ['**/*.test-d.ts', '**/*.test-d.tsx'], tsconfig: './tsconfig.json' },
        },
      },
      {
        test: {
          name: 'cluster',
          include: [...onServers, ...(postgresPrograms === undefined ? [] : onThreeServers)],
          exclude: ['**/*.long.test.ts'],
          globalSetup: './tests/cluster/servers.ts',
          setupFiles: './tests/cluster/as-one.setup.ts',
          ...bounds,
        },
      },
      {
        test: {
          name: 'examples',
          include: ['tests/examples/*.test.ts'],
          exclude: hasChromium ? [] : ['tests/examples/{react,next}.test.ts'],
          globalSetup: './tests/examples/pack.setup.ts',
          // They install packages, and one builds an app of Next.js.
          ...{ ...bounds, testTimeout: 600_000, hookTimeout: 600_000 },
        },
      },
      ...(hasChromium ? [inBrowser] : []),
      {
        test: {
          name: 'long',
          include: ['{server,client,tests}/**/*.long.test.ts'],
          globalSetup: './tests/cluster/servers.ts',
          ...bounds,
        },
      },
    ],
  },
});
