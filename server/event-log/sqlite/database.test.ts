import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { transact } from './database.ts';
import { openSqlite } from './driver.ts';

test('[L6] after a transaction that could not begin, commits of events wait for the disk as before', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-sqlite-'));
  const [db, other] = [0, 1].map(() => openSqlite(join(folder, 'log.db'), { timeout: 0 }));
  onTestFinished(() => {
    db?.close();
    other?.close();
    rmSync(folder, { recursive: true });
  });
  db?.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (id INTEGER)');
  other?.exec('BEGIN IMMEDIATE');
  const insert = () => transact(db as never, 'NORMAL', () => db?.exec('INSERT INTO rows VALUES (1)'));

  expect(insert).toThrow('locked');
  expect(db?.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });

  other?.exec('COMMIT');
  insert();
  expect(db?.prepare('SELECT count(*) AS count FROM rows').get()).toEqual({ count: 1 });
  expect(db?.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
});
