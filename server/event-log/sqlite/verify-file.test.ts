import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { foldOf } from '../../../shared/event-table.ts';
import { runwireEvents } from '../../../shared/events.ts';
import { temporaryFolder } from '../../../tests/support/harness.ts';
import { append, created, draft, upTo } from '../conformance/kit.ts';
import { openSqlite } from './driver.ts';
import { openSqliteLog } from './log.ts';
import { openReadOnly, verifySqliteFile } from './verify-file.ts';

function setUp() {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  const path = join(folder.path, 'runwire.db');
  return {
    path,
    copy: join(folder.path, 'copy.db'),
    open: () => openSqliteLog({ path, fold: foldOf(runwireEvents) as never }),
  };
}

test('[V21] a file that was copied without the WAL of its server is unproven; a closed one, and one with its WAL, verify', async () => {
  const { path, copy, open } = setUp();
  let log = await open();
  await append(log, created());
  await log.close();
  copyFileSync(path, `${copy}.closed`);
  for (const closed of [path, `${copy}.closed`])
    expect(verifySqliteFile(closed, {})).toMatchObject({ ok: true, to: 1 });
  log = await open();
  await append(log, created(), created());
  expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, to: 3 });
  copyFileSync(path, copy);
  expect(verifySqliteFile(copy, {})).toEqual({ ok: false, seq: 2, reason: 'wal' });
  copyFileSync(`${path}-wal`, `${copy}-wal`);
  expect(verifySqliteFile(copy, {})).toMatchObject({ ok: true, to: 3 });
  await log.close();
  expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, to: 3 });
});

test('[X20] [V3] the file of a running server is not read as immutable while its WAL is empty', async () => {
  const { path, open } = setUp();
  const log = await open();
  onTestFinished(() => log.close());
  await append(log, created());
  const other = openSqlite(path);
  other.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  other.close();
  expect(statSync(`${path}-wal`).size).toBe(0);
  const db = openReadOnly(path);
  onTestFinished(() => db.close());
  const count = db.prepare('SELECT count(*) AS count FROM events');
  expect(count.get()).toEqual({ count: 1 });
  await append(log, created());
  expect(count.get()).toEqual({ count: 2 });
});

test('[V21] a damaged page is named by the first and the last row that cannot be read', async () => {
  const { path, open } = setUp();
  const log = await open();
  const progress = (n: number) => draft('stage.progress', { stageId: 's', message: `marker-${n}-${'x'.repeat(200)}` });
  await append(log, ...upTo(500).map(progress));
  await log.close();
  const bytes = readFileSync(path);
  const page = Math.floor(bytes.lastIndexOf('marker-250-') / 4_096);
  bytes.fill(0xee, page * 4_096, (page + 1) * 4_096);
  writeFileSync(path, bytes);
  const verdict = verifySqliteFile(path, {});
  expect(verdict).toMatchObject({ ok: false, reason: 'unreadable' });
  const { seq, to } = verdict as { seq: number; to: number };
  expect(seq).toBeLessThanOrEqual(250);
  expect(to).toBeGreaterThanOrEqual(250);
  expect(to - seq).toBeLessThan(30);
});
