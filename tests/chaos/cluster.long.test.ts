import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasHaproxy } from '../support/cluster.ts';
import { postgresPrograms } from '../support/postgres.ts';
import { hasRedis } from '../support/redis.ts';
import { runCluster } from './cluster.ts';
import { bundleServer } from './server.ts';

/** Two short rounds of `npm run chaos -- --cluster`; in one of them a node is broken on purpose. */

let bundle: Awaited<ReturnType<typeof bundleServer>>;
beforeAll(async () => {
  bundle = await bundleServer();
});
afterAll(() => bundle[Symbol.dispose]());

const hasAll = postgresPrograms !== undefined && hasRedis && hasHaproxy;
describe.skipIf(!hasAll)('three nodes under faults (PostgreSQL, Redis, HAProxy)', () => {
  test('[W30] [W31] [W32] every reader receives the log once and in order, every node works again after each fault, and a restart is no storm', {
    timeout: 600_000,
  }, async () => {
    const { problems, items, recoveries } = await runCluster({ script: bundle.path, seed: 1, isShort: true });
    expect(problems).toEqual([]);
    expect(items).toBeGreaterThan(1_000);
    expect(recoveries).toHaveLength(5);
  });

  test('[W30] the checker detects one node of three that skips one event in a thousand', {
    timeout: 600_000,
  }, async () => {
    const { problems } = await runCluster({ script: bundle.path, seed: 2, isShort: true, sabotage: 'skip' });
    expect(problems.map(({ kind }) => kind)).toContain('lost');
  });
});
