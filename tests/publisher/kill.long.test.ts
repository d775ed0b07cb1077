import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'vitest';
import type { Dice } from '../chaos/random.ts';
import { bundleServer, ServerProcess } from '../chaos/server.ts';
import { bundleScript } from '../support/bundle-script.ts';
import { openServer, secret, temporaryFolder, tokenFor } from '../support/harness.ts';
import { judge, killPublishers, namesOf } from './kill.ts';

/** Run `npm run build` first. */

const kills = 30;

const killServer = async (server: ServerProcess, dice: Dice) => {
  await delay(dice.between(0, 300));
  await server.stop(dice.chance(0.7) ? 'SIGKILL' : 'SIGTERM');
  await delay(dice.between(0, 300));
  await server.start();
};

// Beside each other: both wait for processes most of the time.
test.concurrent.for([
  { title: 'a publisher', seed: 112, disturb: undefined },
  { title: 'a publisher and its server', seed: 113, disturb: killServer },
])(
  `[P13] ${kills} kills of $title lose no event that publish took, and repeat none`,
  { timeout: 600_000 },
  async ({ seed, disturb }, { expect, onTestFinished }) => {
    const folder = temporaryFolder();
    onTestFinished(() => folder[Symbol.dispose]());
    using script = await bundleScript('tests/publisher/process.ts');
    using bundle = await bundleServer();
    const path = join(folder.path, 'log.db');
    const options = { delivery: 'direct', clockMs: 0, heartbeatMs: 30_000, quietMs: 30_000 } as const;
    const server = new ServerProcess(bundle.path, { path, port: 0, secret, ...options });
    const { port } = await server.start();
    const target = { url: `http://127.0.0.1:${port}`, token: await tokenFor() };
    const { taken, failures } = await killPublishers({
      script: script.path,
      seed,
      kills,
      folder: folder.path,
      target: () => target,
      ...(disturb ? { disturb: (dice) => disturb(server, dice) } : {}),
    });
    await server.stop('SIGTERM');
    await using log = await openServer({ databaseUrl: `file:${path}` });
    const logged = await namesOf(log);
    const lives = new Set(taken.map((name) => name.split('-', 1)[0])).size;
    process.stderr.write(`${lives} killed publishers: ${taken.length} events taken, ${logged.length} logged\n`);
    expect(lives).toBe(kills);
    expect(failures).toEqual([]);
    expect(server.complaints).toEqual([]);
    expect(judge(taken, logged)).toEqual({ lost: [], repeated: [], isOrdered: true });
  },
);
