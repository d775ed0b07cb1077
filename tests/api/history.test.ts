import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeCursor } from '../../server/event-log/cursor.ts';
import type { StreamSignal } from '../../shared/protocol.ts';
import { created, everyone, openServer, progress, take, temporaryFolder } from '../support/harness.ts';

/** Cursors against a log after its file was replaced by an older copy. The copy has the same epoch. */

const isSignal = (item: object) => 'type' in item && String(item.type).startsWith('stream.');
const isLive = (item: object) => 'type' in item && item.type === 'stream.live';
const publisher = { actor: 'ci' };

type Server = Awaited<ReturnType<typeof openServer>>;
const callerOf = (server: Server) => server.router.createCaller({ principal: everyone });

/** Publishes 10 events, keeps a copy of the log, publishes 5 more, and calls `use`. Then puts the copy back. */
async function restoreCopy(folder: string, use: (server: Server) => Promise<void>): Promise<() => Promise<Server>> {
  const path = join(folder, 'runwire.db');
  const open = () => openServer({ databaseUrl: `file:${path}` });
  let server = await open();
  await server.bus.publish([created('r1'), ...values(9).map((value) => progress('r1', value))], publisher);
  await server.close();
  copyFileSync(path, `${path}.copy`);
  server = await open();
  await server.bus.publish([created('r2'), ...values(4).map((value) => progress('r2', value))], publisher);
  await use(server);
  await server.close();
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  rmSync(join(folder, 'checkpoints.ndjson'), { force: true }); // The cursors alone must show the difference.
  copyFileSync(`${path}.copy`, path);
  return open;
}
const values = (count: number) => Array.from({ length: count }, (_, index) => index);

describe('[D19] after an older copy of the database was put back', () => {
  test('each cursor beyond it is a gap, and each cursor within it goes on without loss', async () => {
    using folder = temporaryFolder();
    const cursors: string[] = [];
    const known: string[] = [];
    const open = await restoreCopy(folder.path, async (server) => {
      const caller = callerOf(server);
      const all = await take(await caller.onEvent({ from: 'start' }), isLive);
      known.push(...all.cursors.slice(0, 10));
      cursors.push(...all.cursors.slice(10));
      const live = await take(await caller.onRunEvent({ runId: 'r1' }), isLive);
      const gap = await take(await caller.onEvent({ lastEventId: 'f0f0.5' }), isSignal);
      const headers = await take(await caller.onRunSummary({ from: 'start' }), isLive);
      known.push(headers.cursors[0] as string);
      const { cursor } = await caller.run.get({ runId: 'r1' });
      const { position } = await caller.run.list({});
      cursors.push(...live.cursors, ...gap.cursors, ...headers.cursors.slice(1), cursor, position);
    });
    expect(cursors.map((cursor) => decodeCursor(cursor).seq)).toEqual([
      ...[11, 12, 13, 14, 15, 15, 15, 15, 15, 15, 15, 15],
    ]);
    await using server = await open();
    await server.bus.publish([created('r3'), ...values(9).map((value) => progress('r3', value))], publisher);
    const caller = callerOf(server);
    for (const lastEventId of cursors) {
      for (const stream of [await caller.onEvent({ lastEventId }), await caller.onRunSummary({ lastEventId })]) {
        const { items } = await take<object>(stream, isSignal);
        expect(items).toEqual([{ type: 'stream.gap', reason: 'epoch_changed', fromSeq: 1, toSeq: 20 }]);
      }
    }
    for (const lastEventId of known) {
      const { items } = await take(await caller.onEvent({ lastEventId }), isLive);
      const { seq } = decodeCursor(lastEventId);
      expect(items.map((item) => 'seq' in item && item.seq)).toEqual([
        ...values(20 - seq).map((index) => seq + 1 + index),
        20,
      ]);
    }
  });

  test('the cursor of a page is CURSOR_INVALID', async () => {
    using folder = temporaryFolder();
    const next: Record<string, string | undefined> = {};
    const open = await restoreCopy(folder.path, async (server) => {
      const caller = callerOf(server);
      next['run.history'] = (await caller.run.history({ runId: 'r2', limit: 2 })).nextCursor;
      next['event.search'] = (await caller.event.search({ runId: 'r2', limit: 2 })).nextCursor;
    });
    await using server = await open();
    await server.bus.publish([created('r2'), ...values(9).map((value) => progress('r2', value))], publisher);
    const caller = callerOf(server);
    const invalid = expect.objectContaining({ code: 'CURSOR_INVALID', path: 'cursor' });
    await expect(caller.run.history({ runId: 'r2', limit: 2, cursor: next['run.history'] })).rejects.toMatchObject({
      cause: invalid,
    });
    await expect(caller.event.search({ runId: 'r2', limit: 2, cursor: next['event.search'] })).rejects.toMatchObject({
      cause: invalid,
    });
  });
});

test('[D19] a cursor without a hash prefix, of an earlier release, resumes by its epoch', async () => {
  await using server = await openServer();
  await server.bus.publish([created('r1'), progress('r1', 1)], publisher);
  const { items } = await take(await callerOf(server).onEvent({ lastEventId: `${server.log.epoch}.1` }), isLive);
  expect(items).toMatchObject([{ seq: 2 }, { type: 'stream.live', seq: 2 } satisfies StreamSignal]);
});
