import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { isSignal } from '../../shared/protocol.ts';
import { created, everyone, openServer, progress, take } from '../support/harness.ts';
import { createDatabase, dropDatabase, postgresPrograms } from '../support/postgres.ts';

/** A log in PostgreSQL that is dumped and restored, as docs/guide/operations.md describes. */

const postgres = inject('postgres');

async function newDatabase(): Promise<string> {
  const url = await createDatabase(postgres as string);
  onTestFinished(() => dropDatabase(postgres as string, url));
  return url;
}

describe.skipIf(postgres === undefined)('a restore of PostgreSQL', () => {
  test('[D19] a log that was dumped and restored goes on, and a client from after the dump gets a gap', async () => {
    const programs = postgresPrograms as string;
    const [url, restored] = [await newDatabase(), await newDatabase()];
    const before = await openServer({ databaseUrl: url });
    await before.bus.publish([created('r1'), progress('r1', 1)], { actor: 'ci' });
    const dump = execFileSync(join(programs, 'pg_dump'), ['--no-owner', '-d', url], { maxBuffer: 1e8 });
    const known = before.router.createCaller({ principal: everyone });
    const from = async (caller: typeof known, lastEventId?: string) =>
      caller.onRunEvent({ runId: 'r1', projectId: 'demo', ...(lastEventId ? { lastEventId } : { from: 'start' }) });
    const old = await take(await from(known), (_, items) => items.length === 2);
    await before.bus.publish([progress('r1', 2), progress('r1', 3)], { actor: 'ci' });
    const late = await take(await from(known), (_, items) => items.length === 4);
    await before.close();

    execFileSync(join(programs, 'psql'), ['-q', '-v', 'ON_ERROR_STOP=1', '-d', restored], {
      input: dump,
      stdio: 'pipe',
    });
    const after = await openServer({ databaseUrl: restored });
    onTestFinished(() => after.close());
    const caller = after.router.createCaller({ principal: everyone });
    expect(await caller.audit.verify({})).toMatchObject({ ok: true, to: 2 });
    // The client is ahead of the restored log, then at a position that has another event.
    for (const reason of ['ahead', 'epoch_changed']) {
      const { items } = await take(await from(caller, late.cursors.at(-1)), (item) => isSignal(item));
      expect(items[0]).toMatchObject({ type: 'stream.gap', reason });
      await after.bus.publish([progress('r1', 7), progress('r1', 8), progress('r1', 9)], { actor: 'ci' });
    }
    // A client from before the dump goes on without a gap.
    const { items } = await take(await from(caller, old.cursors.at(-1)), (_, all) => all.length === 3);
    expect(items.map((item) => (isSignal(item) ? item.type : (item as { progress?: number }).progress))).toEqual([
      7, 8, 9,
    ]);
    expect(await caller.audit.verify({})).toMatchObject({ ok: true, to: 8 });
  });
});
