import { inject } from 'vitest';

/** Suites that were written for one server run on three servers in the project `cluster`. */
if (inject('postgres') !== undefined) {
  Object.assign(globalThis, { runwireServers: 3 }); // Before the harness reads it.
  const { opening } = await import('../support/harness.ts');
  const { openAsOne } = await import('../support/shared-log.ts');
  opening.inMemory = openAsOne;
}
