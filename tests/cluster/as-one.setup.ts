/** Read by `tests/support/harness.ts`: suites that were written for one server run on three in the project `cluster`. */
Object.assign(globalThis, { runwireServers: 3 });
