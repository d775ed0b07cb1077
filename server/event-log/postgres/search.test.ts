import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { append, draft, eraseAt, fillForSearch, matching, readAll, searchAll, seqs, T0 } from '../conformance/kit.ts';
import type { EventLog } from '../contract/store.ts';
import { openPostgresLog } from './log.ts';

/** Search on logs that are open on several nodes. */

const server = inject('postgres') as string;

async function newDatabase(): Promise<string> {
  const url = await createDatabase(server);
  onTestFinished(() => dropDatabase(server, url));
  return url;
}

async function open(url: string, options: { now?: () => number } = {}): Promise<EventLog> {
  const log = await openPostgresLog({ url, fold: foldEvent, ...options });
  onTestFinished(() => log.close());
  return log;
}

describe.skipIf(server === undefined)('search in PostgreSQL', () => {
  test('[R65] [R66] every node finds every event while nodes with the lease of the index close', async () => {
    const url = await newDatabase();
    const logs = [await open(url), await open(url), await open(url)] as [EventLog, EventLog, EventLog];
    await fillForSearch(logs[1], 6_000, () => undefined);
    const texts = ['needle', '"no space"', 'n5999'];
    for (const [round, log] of logs.entries()) {
      await append(log, draft('stage.progress', { stageId: 'a', message: `needle fail round ${round}` }));
      for (const reader of logs.slice(round)) {
        expect(await reader.reached(log.head, 10_000)).toBe(true);
        const records = await readAll(reader);
        for (const text of texts) {
          for (const projects of ['all', ['q', 'z']] as const) {
            const asked = { projects, text };
            expect(seqs((await searchAll(reader, { ...asked, limit: 500 })).records)).toEqual(
              seqs(matching(records, asked)),
            );
          }
        }
      }
      if (round < 2) await log.close();
    }
    await expect.poll(() => logs[2].search.lag).toBe(0);
  });

  test('[R6] [R67] once erase has resolved on one node, no node finds the text, and each finds the tombstone', async () => {
    const url = await newDatabase();
    const logs = [await open(url), await open(url), await open(url)] as [EventLog, EventLog, EventLog];
    await fillForSearch(logs[0], 3_000, () => undefined);
    const [receipt] = await append(logs[1], draft('stage.progress', { stageId: 'a', message: 'zebrasecret' }));
    const seq = receipt?.seq as number;
    for (const log of logs) {
      await log.reached(seq, 10_000);
      expect(seqs((await searchAll(log, { projects: 'all', text: 'zebrasecret' })).records)).toEqual([seq]);
    }
    await expect.poll(() => logs.map(({ search }) => search.lag)).toEqual([0, 0, 0]);
    await eraseAt(logs[2], seq);
    await eraseAt(logs[2], 17);
    for (const log of logs) {
      expect((await searchAll(log, { projects: 'all', text: 'zebrasecret' })).records).toEqual([]);
      expect(seqs((await searchAll(log, { projects: 'all', text: 'erased' })).records)).toEqual([seq, 17]);
    }
  });

  test('[R6] [R67] a trim by one node is a trim of the search of every node', async () => {
    const url = await newDatabase();
    let now = T0;
    const logs = [await open(url, { now: () => now }), await open(url, { now: () => now })] as [EventLog, EventLog];
    await fillForSearch(logs[0], 5_000, () => {
      now += 1_000;
    });
    await logs[1].trim(T0 + 30_000);
    for (const log of logs) {
      await expect.poll(() => log.oldest).toBeGreaterThan(2_000);
      const kept = await readAll(log, { after: log.oldest - 1 });
      for (const text of [undefined, 'fail', 'needle']) {
        const asked = { projects: 'all' as const, text };
        expect(seqs((await searchAll(log, asked)).records)).toEqual(seqs(matching(kept, asked)));
      }
    }
  });
});
