import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { expect, test } from 'vitest';
import { isSignal } from '../../shared/protocol.ts';
import { created, openServer, progress, startServer, temporaryFolder, Wire } from '../support/harness.ts';

const message = 'm'.repeat(1_000);

/** Fills a new database with events of the run `long`, and returns its URL. Then no server has them in memory. */
async function filled(path: string, batches: number, more: object = {}): Promise<string> {
  const databaseUrl = `file:${path}`;
  await using server = await openServer({ databaseUrl });
  for (let batch = 0; batch < batches; batch++) {
    await server.bus.publish(
      Array.from({ length: 50 }, () => progress('long', 1, { message, ...more })),
      { actor: 'ci' },
    );
  }
  await server.bus.publish([created('other')], { actor: 'ci' });
  return databaseUrl;
}

test('[L36] a damaged page ends the subscription that needs it; other subscriptions of the socket go on, and /readyz says it', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'runwire.db');
  const databaseUrl = await filled(path, 20);
  const db = new DatabaseSync(path);
  const { page } = db
    .prepare(
      `SELECT pageno AS page FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 9`,
    )
    .get() as { page: number };
  db.close();
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(4_096, 0xff), 0, 4_096, (page - 1) * 4_096);
  closeSync(file);

  await using server = await startServer({ databaseUrl });
  await using wire = await Wire.open(server.url);
  const good = wire.subscribe('onRunEvent', { runId: 'other' });
  const bad = wire.subscribe('onRunEvent', { runId: 'long', from: 'start' });
  expect(await bad.error()).toMatchObject({
    data: { runwireCode: 'INTERNAL' },
    message: 'a part of the log is damaged',
  });
  await server.bus.publish([progress('other', 5)], { actor: 'ci' });
  await good.until((item) => !isSignal(item) && item.type === 'stage.progress');
  const ready = await fetch(`${server.url}/readyz`);
  expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('database_damage')]);
});

test('[D12] a reader far behind reads pages that are little larger than what a socket takes at once', async () => {
  using folder = temporaryFolder();
  const audience = Array.from({ length: 150 }, (_, index) => `${index}`.padEnd(190, 'x'));
  const databaseUrl = await filled(join(folder.path, 'runwire.db'), 4, { audience });
  await using server = await startServer({ databaseUrl });
  const { log } = server;
  const read = log.read.bind(log);
  const pages: number[] = [];
  log.read = async (query) => {
    const page = await read(query);
    pages.push(page.records.reduce((sum, { json }) => sum + json.length, 0));
    return page;
  };
  await using wire = await Wire.open(server.url);
  await wire.subscribe('onRunEvent', { runId: 'long', from: 'start' }).until((item) => isSignal(item));
  expect(pages.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(4_000_000);
  // A full socket has taken 128 KiB at least, and the rest of the page is read again.
  expect(Math.max(...pages)).toBeLessThan((256 + 64) * 1024);
});
