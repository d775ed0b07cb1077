import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundleServer } from '../chaos/server.ts';
import { fuzz } from './run.ts';

/** Twelve seconds of `npm run fuzz`, and 3,000 cases at least, with a fixed seed. */

describe('random input over both transports', () => {
  let bundle: Awaited<ReturnType<typeof bundleServer>>;
  beforeAll(async () => {
    bundle = await bundleServer();
  });
  afterAll(() => bundle[Symbol.dispose]());

  test('[W17] the server survives, answers every request, echoes nothing, and serves a bystander (--seed 1)', async () => {
    const report = await fuzz({ script: bundle.path, seed: 1, seconds: 12, cases: 3_000, say: () => undefined });
    expect(report.problems).toEqual([]);
    expect(report.coverage.size).toBeGreaterThan(150);
    expect(report.cases).toBeGreaterThan(report.coverage.size);
    expect(report.witnessed).toBeGreaterThan(5);
    const outcomes = new Set([...report.coverage.values()].flatMap((covered) => [...covered.outcomes.keys()]));
    for (const outcome of ['result', '200', '401', '403', '404', 'INVALID_INPUT', 'FORBIDDEN', 'closed 4401']) {
      expect(outcomes).toContain(outcome);
    }
  });
});
