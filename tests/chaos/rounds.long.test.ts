import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Problem } from './checker.ts';
import { runRound } from './round.ts';
import { bundleServer } from './server.ts';
import { soak } from './soak.ts';

/** Three rounds and two short soaks of `npm run chaos`; one round runs against a server that is broken on purpose. */

let bundle: Awaited<ReturnType<typeof bundleServer>>;
beforeAll(async () => {
  bundle = await bundleServer();
});
afterAll(() => bundle[Symbol.dispose]());

describe.concurrent('rounds of faults', () => {
  test.for([1, 19])(
    '[W14] every reader receives the log once and in order, or a gap with a reason (--seed %i)',
    async (seed) => {
      const { problems, items } = await runRound({ script: bundle.path, seed });
      expect(problems).toEqual([]);
      expect(items).toBeGreaterThan(0);
    },
  );

  test('[W14] the checker detects a server that skips one event in a thousand', async () => {
    let found: Problem[] = [];
    for (let seed = 7; !found.some(({ kind }) => kind === 'lost') && seed < 17; seed++) {
      found = (await runRound({ script: bundle.path, seed, sabotage: 'skip' })).problems;
    }
    expect(found.map(({ kind }) => kind)).toContain('lost');
  });

  test.for(['direct', 'iterator'] as const)(
    '[W15] after 300 connections, ended in every way, the server holds no more than before (%s)',
    async (delivery) => {
      expect(await soak({ script: bundle.path, connects: 300, delivery }, () => undefined)).toEqual([]);
    },
  );
});
