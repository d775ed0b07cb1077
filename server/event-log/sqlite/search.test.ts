import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test, vi } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { append, draft, eraseAt, matching, readAll, searchAll, untilIndexed } from '../conformance/kit.ts';
import type { EventLog } from '../contract/store.ts';
import { IndexCandidates, TableCandidates } from '../search/candidates.ts';
import { SearchIndexer } from '../search/indexer.ts';
import { inSlices } from '../steps.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';
import { openSqliteLog } from './log.ts';
import { SqliteSearchTables } from './search.ts';
import { SqliteBlocks } from './search-index.ts';

/** Tests of the tables of the index and of the words in its files, which the conformance suite cannot see. */

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'runwire-search-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

async function open(path: string): Promise<EventLog> {
  const log = await openSqliteLog({ path, fold: foldEvent });
  onTestFinished(() => log.close());
  return log;
}

const progress = (message: string, projectId = 'p') => draft('stage.progress', { projectId, stageId: 'a', message });

/** Appends events, and waits for the index. */
async function fill(log: EventLog, count: number, message = (index: number) => `common w${index}`): Promise<void> {
  for (let from = 0; from < count; from += 500) {
    const batch = Array.from({ length: Math.min(500, count - from) }, (_, index) => progress(message(from + index)));
    await append(log, ...batch);
  }
  await untilIndexed(log);
}

/** Names of the tables, indexes and free pages that contain a text in the file, except the table of events. */
async function tablesWith(db: DatabaseSyncInstance, path: string, text: string): Promise<string[]> {
  const bytes = await readFile(path);
  const names = new Set<string>();
  for (let at = bytes.indexOf(text); at !== -1; at = bytes.indexOf(text, at + 1)) {
    const page = db.prepare('SELECT name FROM dbstat WHERE pageno = ?').get(Math.floor(at / 4_096) + 1);
    names.add((page as { name: string } | undefined)?.name ?? 'a free page');
  }
  names.delete('events');
  return [...names];
}

/** An index on another connection. */
function indexOf(db: DatabaseSyncInstance): SearchIndexer {
  const head = (db.prepare('SELECT max(seq) AS seq FROM events').get() as { seq: number }).seq;
  const index = new SearchIndexer({
    blocks: new SqliteBlocks(db),
    head: () => head,
    slice: async (work) => work(Number.POSITIVE_INFINITY),
    write: async (work) => work(Number.POSITIVE_INFINITY),
  });
  onTestFinished(() => index.close());
  return index;
}

test('[R6] the words of an erased event leave the index, both stored blocks and blocks in memory', async () => {
  const folder = await newFolder();
  const path = join(folder, 'runwire.db');
  const log = await open(path);
  // Messages of an earlier attempt are in no row of the stage: a copy in the file belongs to the index.
  await append(log, draft('stage.started', { stageId: 'a', attempt: 2 }));
  await fill(log, 2_000, (index) => (index === 7 ? 'common zebrasecret' : `common w${index}`));
  await append(log, progress('common zebrasecret'));
  await log.close();

  const db = openSqlite(path);
  const index = indexOf(db);
  await index.reached(2_002, 60_000);
  db.exec('PRAGMA secure_delete = ON');
  expect(await tablesWith(db, path, 'zebrasecret')).toEqual(['search_chunks']);
  for (const seq of [9, 2_002]) {
    db.exec('BEGIN IMMEDIATE');
    db.prepare(`UPDATE events SET payload = replace(payload, 'zebrasecret', '[erased]') WHERE seq = ?`).run(seq);
    index.erasing(seq);
    index.erasing(seq);
    db.exec('COMMIT');
    index.erased(seq);
    index.erased(seq);
  }
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  const { open: blocks } = await index.recent('all');
  const inMemory = blocks.flatMap((block) => block.encode().map(({ lines }) => lines));
  expect(inMemory.join()).toContain('erased');
  expect(inMemory.join()).not.toContain('zebrasecret');
  expect(await tablesWith(db, path, 'zebrasecret')).toEqual([]);
  db.close();

  const again = await open(path);
  const found = async (text: string) =>
    (await searchAll(again, { projects: 'all', text })).records.map(({ seq }) => seq);
  expect(await found('zebrasecret')).toEqual([]);
  expect(await found('erased')).toEqual([2_002, 9]);
  expect(await found('w8')).toContain(10);
});

test('[R6] a failed erasure changes no search result, and its error contains no text of the event', async () => {
  const path = join(await newFolder(), 'runwire.db');
  const failures: unknown[] = [];
  const log = await openSqliteLog({
    path,
    fold: foldEvent,
    health: { report: () => undefined, note: (_message, { err }) => failures.push(err) },
  });
  await append(log, progress('common zebrasecret'), progress('common lionsecret'));
  await untilIndexed(log);
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  db.exec(`CREATE TRIGGER full BEFORE INSERT ON meta BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END`);
  await expect(eraseAt(log, 1)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  const found = async (text: string) => (await searchAll(log, { projects: 'all', text })).records.map(({ seq }) => seq);
  expect([await found('zebrasecret'), await found('erased')]).toEqual([[1], []]);

  db.exec(`UPDATE events SET payload = 'zebrasecret ' || payload WHERE seq = 2`);
  const refusal = await eraseAt(log, 2).catch((error: Error) => error);
  expect(refusal).toMatchObject({ code: 'INTERNAL', path: 'seq' });
  expect(`${JSON.stringify(refusal)} ${String((refusal as Error).cause)} ${String(failures)}`).not.toContain('secret');
  await log.close();
});

test('[R6] the words of trimmed events are neither in the tables of the index nor in memory', async () => {
  const folder = await newFolder();
  const path = join(folder, 'runwire.db');
  let now = 1_000;
  const log = await openSqliteLog({ path, fold: foldEvent, now: () => now });
  await fill(log, 1_500, (index) => `common old${index}`);
  now = 2_000;
  await fill(log, 2_000, (index) => `common new${index}`);
  await log.trim(2_000);
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  const all = (sql: string) => JSON.stringify(db.prepare(sql).all());
  expect(all('SELECT firsts FROM search_blocks') + all('SELECT lines FROM search_chunks')).toContain('new');
  expect(all('SELECT firsts FROM search_blocks') + all('SELECT lines FROM search_chunks')).not.toMatch(/old\d/);
  const chunks =
    'SELECT count(*) AS count FROM search_chunks WHERE chunk / 65536 NOT IN (SELECT block FROM search_blocks)';
  expect(db.prepare(chunks).get()).toEqual({ count: 0 });
  await log.close();
});

/** Changes the stored blocks to those of a release with other words: runs of letters of any script, and no text after a time. */
function makeOutdated(path: string): void {
  const db = openSqlite(path);
  const blocks = new SqliteBlocks(db);
  const rows = db.prepare('SELECT seq, payload FROM events').all() as { seq: number; payload: string }[];
  const terms = new Map(
    rows.map(({ seq, payload }) => [
      seq,
      new Set(payload.replace(/"\d{4}-\d\d-\d\dT[^"]*"/g, '').match(/[\p{L}\p{M}\p{N}]+/gu)),
    ]),
  );
  for (const { block } of db.prepare('SELECT block FROM search_blocks').all() as { block: number }[]) {
    blocks.rewrite(block, (stored) => stored.replace(terms));
  }
  db.exec('UPDATE search_blocks SET terms_version = 1');
  db.close();
}

const outdatedIn = (db: DatabaseSyncInstance) =>
  (db.prepare('SELECT count(*) AS count FROM search_blocks WHERE terms_version < 3').get() as { count: number }).count;

test('[R18] an index of an earlier release is renewed behind the start, and is searched meanwhile', async () => {
  const path = join(await newFolder(), 'runwire.db');
  const log = await open(path);
  await fill(log, 5_000, (index) => {
    if (index === 11) return '2026-11-26T10:00:00Z disk-full';
    return index % 7 === 0 ? `common ระบบล้มเหลว w${index}` : `common w${index}`;
  });
  await log.close();
  makeOutdated(path);

  const again = await open(path);
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  const count = async (text: string) => (await searchAll(again, { projects: 'all', text })).records.length;
  const outdated = outdatedIn(db);
  expect(outdated).toBeGreaterThan(2);
  expect([await count('common'), await count('"w17"'), await count('w4999')]).toEqual([4_999, 1, 1]);
  while (outdatedIn(db) > 0) expect(await count('common')).toBe(4_999);
  expect([await count('ล้มเหลว'), await count('common'), await count('ร')]).toEqual([715, 4_999, 715]);
  expect(await count('disk full')).toBe(1);
  await again.close();
  const chunks = JSON.stringify(db.prepare('SELECT lines FROM search_chunks').all());
  expect(chunks).not.toContain('ระบบล้มเหลว');
});

test.each(['are read', 'are in memory'])(
  '[R18] a renewal is done in slices, and does not restore words that are erased or trimmed while its events %s',
  async (when) => {
    const path = join(await newFolder(), 'runwire.db');
    const log = await open(path);
    await fill(log, 3_000, (index) => `ระบบล้มเหลว secret${index}`);
    await log.close();
    makeOutdated(path);

    const db = openSqlite(path);
    onTestFinished(() => db.close());
    const newest = db.prepare('SELECT first_seq AS first FROM search_blocks ORDER BY block DESC').get();
    const { first } = newest as { first: number };
    const outdated = outdatedIn(db);
    const chunks = () => JSON.stringify(db.prepare('SELECT lines FROM search_chunks').all());
    let slices = 0;
    let isChanged = false;
    let cutting: Promise<void> | undefined;
    const change = () => {
      if (isChanged) return;
      isChanged = true;
      expect(outdatedIn(db)).toBe(outdated);
      db.prepare(`UPDATE events SET payload = replace(payload, 'secret', 'erased') WHERE seq = ?`).run(first + 2);
      index.erasing(first + 2);
      index.erased(first + 2);
      db.prepare('DELETE FROM events WHERE seq <= ?').run(first);
      index.trimmed(first);
      cutting = index.cut(first + 1);
    };
    const index: SearchIndexer = new SearchIndexer({
      blocks: new SqliteBlocks(db),
      head: () => 3_000,
      write: async (work) => {
        change();
        return work(Number.POSITIVE_INFINITY);
      },
      slice: async (work) => {
        // A slice without time reads one event. After ten of them, some events of the block have been read.
        if (++slices <= 20) return work(0);
        if (when === 'are read') change();
        return work(Number.POSITIVE_INFINITY);
      },
    });
    onTestFinished(() => index.close());
    const secrets = [first, first + 2].map((seq) => `secret${seq - 1}\\t`);
    expect(secrets.map((secret) => chunks().includes(secret))).toEqual([true, true]);
    await expect.poll(() => outdatedIn(db)).toBe(0);
    await cutting;
    expect(chunks()).toContain(`secret${first}\\t`);
    expect(secrets.map((secret) => chunks().includes(secret))).toEqual([false, false]);
  },
);

/** An index on another connection, and its calls of the store. */
function countingIndex(db: DatabaseSyncInstance, head: () => number) {
  const blocks = new SqliteBlocks(db);
  const eventsAfter = vi.spyOn(blocks, 'eventsAfter');
  let isFree: Promise<unknown> = Promise.resolve();
  const run = async <T>(work: (until: number) => T) => {
    await isFree;
    return work(Number.POSITIVE_INFINITY);
  };
  const hold = () => {
    let release = () => {};
    isFree = new Promise<void>((resolve) => {
      release = resolve;
    });
    return release;
  };
  const index = new SearchIndexer({ blocks, head, slice: run, write: run as never });
  onTestFinished(() => index.close());
  const stored = () =>
    eventsAfter.mock.results.flatMap(({ value }) => (value as { seq: number }[]).map(({ seq }) => seq));
  const words = async () => {
    const { open } = await index.recent('all');
    return open.flatMap((block) => block.encode().map(({ lines }) => lines)).join('');
  };
  return { index, stored, words, hold };
}

test('[R5] the index takes committed events from memory, and reads from the store those before the start and those that did not fit', async () => {
  const path = join(await newFolder(), 'runwire.db');
  const log = await open(path);
  await append(log, progress('early'));
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  const { index, stored, words, hold } = countingIndex(db, () => log.head);
  log.subscribe((records) => index.add(records));
  await append(log, progress('second'), progress('third'));
  expect(await words()).toMatch(/early[\s\S]*second[\s\S]*third/);
  expect(new Set(stored())).toEqual(new Set([1, 2, 3]));
  await append(log, progress('fourth'), progress('fifth'));
  expect(await words()).toMatch(/fifth[\s\S]*fourth/);
  expect(Math.max(...stored())).toBe(3);
  const release = hold();
  for (let count = 0; count < 7; count++) {
    await append(log, ...Array.from({ length: 400 }, () => progress('m '.repeat(999))));
  }
  await append(log, progress('last'));
  release();
  expect(await words()).toContain('last');
  const late = stored().filter((seq) => seq > 3);
  expect([Math.min(...late) > 1_000, late.includes(log.head)]).toEqual([true, true]);
});

test('[R6] words of events that are erased or trimmed between their commit and the index are not indexed', async () => {
  const path = join(await newFolder(), 'runwire.db');
  const log = await open(path);
  await append(log, progress('before'));
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  const { index, words } = countingIndex(db, () => log.head);
  await index.reached(1, 60_000);
  log.subscribe((records) => index.add(records));
  await append(log, progress('zebrasecret'), progress('common'));
  db.prepare(`UPDATE events SET payload = replace(payload, 'zebrasecret', '[erased]') WHERE seq = 2`).run();
  index.erasing(2);
  index.erased(2);
  expect(await words()).toMatch(/common[\s\S]*erased/);
  expect(await words()).not.toContain('zebrasecret');
  await append(log, progress('lionsecret'), progress('last'));
  db.exec('DELETE FROM events WHERE seq <= 4');
  index.trimmed(4);
  await index.cut(5);
  expect(await words()).toContain('last');
  expect(await words()).not.toMatch(/lionsecret|common/);
});

test('[R7] a search in many projects reads them over several slices, and misses no event', async () => {
  const path = join(await newFolder(), 'runwire.db');
  const log = await open(path);
  const projects = Array.from({ length: 300 }, (_, index) => `p${index}`);
  for (const projectId of ['p0', 'p299']) {
    for (let index = 0; index < 3; index++) {
      await append(log, ...Array.from({ length: 500 }, () => progress('common', projectId)));
    }
  }
  await untilIndexed(log);
  await log.close();
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  const index = indexOf(db);
  await index.reached(3_000, 60_000);
  const wanted = [{ terms: ['common'], isPrefix: false }];
  const before = 3_001;
  for (const candidates of [
    new IndexCandidates(index.blocks, await index.recent(projects), projects, wanted, { low: 1, before }),
    new TableCandidates(new SqliteSearchTables(db).sources(projects, undefined, 1), {}, before),
  ]) {
    const found: number[] = [];
    let slices = 0;
    // Each slice is without time, so it reads one project, or one block.
    const run = inSlices(async (work) => {
      slices++;
      return work(0);
    });
    for (let known = before; known > 0; ) ({ known } = await run(() => candidates.step(found)));
    expect(slices).toBeGreaterThanOrEqual(300);
    expect(found.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 3_000 }, (_, at) => at + 1));
  }
});

test('[R5] a quiet project does not hold back the position of the index', async () => {
  const folder = await newFolder();
  const path = join(folder, 'runwire.db');
  const log = await open(path);
  await append(log, progress('common quiet', 'quiet'));
  await fill(log, 20_000);
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  const position = db.prepare(`SELECT CAST(value AS INTEGER) AS value FROM meta WHERE key = 'search_position'`).get();
  expect((position as { value: number }).value).toBeGreaterThan(18_000);
  expect((await searchAll(log, { projects: ['quiet'], text: 'quiet' })).records.map(({ seq }) => seq)).toEqual([1]);
});

test('[R5] an unreadable event does not keep others from being found', async () => {
  const path = join(await newFolder(), 'runwire.db');
  const log = await open(path);
  await append(log, progress('common first'), progress('common last'));
  const db = openSqlite(path);
  db.exec(`UPDATE events SET payload = '{' WHERE seq = 1`);
  db.close();
  expect((await searchAll(log, { projects: 'all', text: 'common' })).records.map(({ seq }) => seq)).toEqual([2]);
});

test('[R5] [L6] the index is complete after the server was killed while it wrote the index', async () => {
  const folder = await newFolder();
  const path = join(folder, 'runwire.db');
  for (let round = 0; round < 3; round++) {
    const child = publisher(path);
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    let published = 0;
    for await (const line of lines) {
      published = Number(line);
      if (published >= 6_000 + round * 777) break;
    }
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    const log = await open(path);
    const records = await readAll(log);
    expect(records.length).toBeGreaterThanOrEqual(published);
    await untilIndexed(log);
    for (const text of ['common', 'w17', 'w5999', 'quiet']) {
      const asked = { projects: 'all' as const, text };
      expect((await searchAll(log, asked)).records.length).toBe(matching(records, asked).length);
    }
    await log.close();
  }
});

/** A process that publishes to a log until it is killed, and prints the head after each batch. */
function publisher(path: string): ChildProcess {
  const script = `
    import { openSqliteLog } from '${new URL('./log.ts', import.meta.url).pathname}';
    const log = await openSqliteLog({ path: ${JSON.stringify(path)}, fold: (await import('${new URL('../../../shared/events.ts', import.meta.url).pathname}')).foldEvent });
    for (let at = 0; ; at += 100) {
      const drafts = Array.from({ length: 100 }, (_, index) => ({
        type: 'stage.progress', projectId: index === 7 ? 'q' : 'p', runId: 'r', stageId: 'a', timestamp: '2026-01-01T00:00:00.000Z',
        eventId: crypto.randomUUID(), message: index === 7 ? 'quiet' : 'common w' + (at + index),
      }));
      await log.append({ actor: 'ci', drafts });
      console.log(log.head);
    }
  `;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: new URL('../../..', import.meta.url).pathname,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
}
