import { appendFileSync, copyFileSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Checkpoint, Verdict } from '../../../shared/audit.ts';
import { foldEvent } from '../../../shared/events.ts';
import { append, draft, eraseAt, readAll, T0, upTo } from '../conformance/kit.ts';
import { type ChainedRow, canonicalJson, GENESIS, payloadHash, rowHash } from '../integrity/canonical.ts';
import { verifyChain, verifyStep } from '../integrity/chain.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';
import { SqliteChain } from './integrity.ts';
import { openSqliteLog } from './log.ts';
import { migrations } from './schema.ts';
import { verifySqliteFile } from './verify-file.ts';

/**
 * A log with a file that another program has changed. Each test changes the file while no server runs, then verifies the file
 * and a server that opens it.
 */

type Db = DatabaseSyncInstance;

async function newPath(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'runwire-verify-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, 'runwire.db');
}

async function open(path: string, options: { now?: () => number } = {}) {
  const damage: { seq: number }[] = [];
  const log = await openSqliteLog({ path, fold: foldEvent, onDamage: (found) => damage.push(found), ...options });
  onTestFinished(() => log.close());
  return Object.assign(log, { damage });
}

const ROWS = 300;

type Made = { path: string; checkpoints: Checkpoint[] };
const made = new Map<boolean, Promise<Made>>();
afterAll(async () => {
  for (const { path } of await Promise.all(made.values())) await rm(join(path, '..'), { recursive: true });
});

/** A closed log of 300 events of three runs; with `isWorn`, 20 are trimmed and two erased. */
async function makeLog({ isWorn = false } = {}): Promise<Made> {
  let original = made.get(isWorn);
  if (!original) {
    original = makeOnce(isWorn);
    made.set(isWorn, original);
  }
  const { path, checkpoints } = await original;
  const copy = await newPath();
  for (const name of ['runwire.db', 'audit.key']) copyFileSync(join(path, '..', name), join(copy, '..', name));
  return { path: copy, checkpoints };
}

async function makeOnce(isWorn: boolean): Promise<Made> {
  const path = join(await mkdtemp(join(tmpdir(), 'runwire-verify-')), 'runwire.db');
  let now = T0;
  const log = await openSqliteLog({ path, fold: foldEvent, now: () => now });
  const checkpoints: Checkpoint[] = [];
  for (let from = 1; from <= ROWS; from += 10) {
    now += 10_000;
    const drafts = Array.from({ length: 10 }, (_, index) => {
      const message = `message ${from + index}`;
      return draft('stage.progress', { runId: `r${(from + index) % 3}`, stageId: 'a', message, progress: index });
    });
    await append(log, ...drafts);
    if (from % 100 === 41) checkpoints.push((await log.integrity.checkpoint()).checkpoint);
  }
  if (isWorn) {
    await log.trim(T0 + 20_500);
    for (const seq of [40, 41]) await eraseAt(log, seq);
  }
  expect(await log.integrity.verify()).toMatchObject({ ok: true, to: ROWS });
  await log.close();
  return { path, checkpoints };
}

function change(path: string, work: (db: Db) => void): void {
  const db = openSqlite(path);
  try {
    work(db);
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
}

/** Verdicts of the file, and of a server that opens it, before and after its first event. */
async function verdictsOf(path: string, checkpoints?: Checkpoint[]): Promise<Verdict[]> {
  const verdicts = [verifySqliteFile(path, { checkpoints })];
  const log = await open(path);
  verdicts.push(await log.integrity.verify({ checkpoints }));
  await append(log, draft('run.started'), draft('run.started'));
  verdicts.push(await log.integrity.verify({ checkpoints }));
  await log.close();
  verdicts.push(verifySqliteFile(path, { checkpoints }));
  return verdicts;
}

async function expectBroken(path: string, seq: number, reason: string, checkpoints?: Checkpoint[]): Promise<void> {
  const verdicts = await verdictsOf(path, checkpoints);
  expect(verdicts.map((verdict) => (verdict.ok ? 'ok' : [verdict.seq, verdict.reason]))).toEqual(
    Array(verdicts.length).fill([seq, reason]),
  );
}

const column = (db: Db, name: string, seq: number): unknown =>
  (db.prepare(`SELECT ${name} AS value FROM events WHERE seq = ?`).get(seq) as { value: unknown }).value;
const setColumn = (db: Db, name: string, seq: number, value: unknown) =>
  db.prepare(`UPDATE events SET ${name} = ? WHERE seq = ?`).run(value as never, seq);

/** Flips one bit; a text stays valid text. */
function flipped(value: unknown, place: number): unknown {
  if (typeof value === 'number') return value ^ (1 << (place % 3));
  const bytes = Buffer.from(value as Uint8Array);
  const index = place % bytes.length;
  bytes[index] = (bytes[index] as number) ^ 1;
  return typeof value === 'string' ? bytes.toString() : bytes;
}

describe('one changed bit is found', () => {
  const columns = [
    'run_row',
    'run_seq',
    'project_id',
    'type',
    'event_id',
    'actor',
    'recorded_at_ms',
    'payload',
    'salt',
  ];
  columns.push('payload_hash', 'prev_hash');
  for (const [where, seq] of Object.entries({ first: 1, middle: 150, last: ROWS })) {
    test.each(columns)(`[V2] [V3] [V4] of %s of the ${where} row`, async (name) => {
      const { path } = await makeLog();
      const reason = { payload: 'payload', salt: 'payload', payload_hash: 'payload' }[name] ?? 'row';
      change(path, (db) => setColumn(db, name, seq, flipped(column(db, name, seq), 11)));
      const isBeginning = name === 'prev_hash' && seq === 1;
      await expectBroken(path, seq, isBeginning ? 'row' : reason);
    });
  }

  test('[V2] [V3] in the position of the first, a middle and the last row', async () => {
    for (const seq of [1, 150, ROWS]) {
      const { path } = await makeLog();
      change(path, (db) => db.prepare('UPDATE events SET seq = ? WHERE seq = ?').run(seq ^ 1024, seq));
      await expectBroken(path, seq, seq === 1 ? 'beginning' : 'missing');
    }
  });

  test('[V2] anywhere in a payload', async () => {
    const { path } = await makeLog();
    const payload = await new Promise<string>((resolve) =>
      change(path, (db) => resolve(column(db, 'payload', 7) as string)),
    );
    for (let place = 0; place < payload.length; place++) {
      change(path, (db) => setColumn(db, 'payload', 7, flipped(payload, place)));
      expect(verifySqliteFile(path, {}), `${place}`).toEqual({ ok: false, seq: 7, reason: 'payload' });
    }
  });

  test('[V2] in the type of a value, or in a number outside the safe range', async () => {
    const { path } = await makeLog();
    const values = { actor: Buffer.from('ci'), run_seq: 2n ** 60n, recorded_at_ms: -(2n ** 62n), run_row: 2n ** 62n };
    const others = {
      payload: Buffer.from('{}'),
      salt: 'salt',
      payload_hash: 'hash',
      prev_hash: 'hash',
      type: Buffer.alloc(0),
    };
    for (const [name, value] of Object.entries({ ...values, ...others })) {
      let before: unknown;
      change(path, (db) => {
        before = column(db, name, 9);
        setColumn(db, name, 9, value);
      });
      const verdict = verifySqliteFile(path, {});
      expect(verdict, name).toMatchObject({ ok: false, seq: 9 });
      change(path, (db) => setColumn(db, name, 9, before));
      expect(verifySqliteFile(path, {}), name).toMatchObject({ ok: true });
    }
  });

  test('[V2] in the id of a run, which all its events have', async () => {
    const { path } = await makeLog();
    change(path, (db) => db.exec(`UPDATE runs SET run_id = 'r3' WHERE run_id = 'r2'`));
    await expectBroken(path, 2, 'row');
  });

  test('[V2] in the project of a run, and of an event moved to the run of that id in another project', async () => {
    const path = await newPath();
    const log = await open(path);
    for (const projectId of ['p', 'q']) await append(log, draft('run.created', { projectId, runId: 'r', name: 'n' }));
    await append(log, ...['p', 'q'].map((projectId) => draft('run.started', { projectId, runId: 'r' })));
    await log.close();
    const rows = `(SELECT run_row FROM events WHERE seq = 2)`;
    change(path, (db) => db.exec(`UPDATE events SET run_row = ${rows} WHERE seq = 3`));
    await expectBroken(path, 3, 'row');
    change(path, (db) =>
      db.exec(`UPDATE events SET run_row = (SELECT run_row FROM events WHERE seq = 1) WHERE seq = 3`),
    );
    change(path, (db) => db.exec(`UPDATE runs SET project_id = 'o' WHERE project_id = 'q'`));
    await expectBroken(path, 2, 'row');
  });

  test('[V2] [V13] in a payload that is erased later: its record states it', async () => {
    const { path } = await makeLog();
    change(path, (db) => setColumn(db, 'payload', 9, String(column(db, 'payload', 9)).replace('"ci"', '"me"')));
    const log = await open(path);
    expect(await eraseAt(log, 9)).toMatchObject({ seq: 9, altered: true });
    expect(await eraseAt(log, 10)).not.toHaveProperty('altered');
    expect(await log.integrity.verify()).toEqual({ ok: false, seq: 9, reason: 'payload' });
    await log.close();
    await expectBroken(path, 9, 'payload');
  });

  test('[V2] in a tombstone, its record, or the record of trimming', async () => {
    for (const [sql, seq, reason] of [
      [`UPDATE events SET payload = replace(payload, 'erased":true', 'erased":tru') WHERE seq = 40`, 40, 'erasure'],
      [`UPDATE events SET payload = replace(payload, '"ci"', '"me"') WHERE seq = 40`, 40, 'erasure'],
      [`UPDATE events SET salt = x'00' WHERE seq = 40`, 40, 'erasure'],
      [`UPDATE events SET payload_hash = zeroblob(32) WHERE seq = 40`, 40, 'erasure'],
      [`UPDATE events SET actor = 'me' WHERE seq = 41`, 41, 'row'],
      [`UPDATE erasures SET erasure = replace(erasure, '"ada"', '"eve"') WHERE seq = 40`, 40, 'erasure'],
      [`UPDATE erasures SET erasure = replace(erasure, 'asked', 'axked') WHERE seq = 41`, 41, 'erasure'],
      [`DELETE FROM erasures WHERE seq = 41`, 41, 'erasure'],
      [`UPDATE erasures SET seq = 42 WHERE seq = 41`, 41, 'erasure'],
      [`INSERT INTO erasures SELECT 30, erasure FROM erasures WHERE seq = 40`, 30, 'erasure'],
      [`INSERT INTO erasures SELECT 9000, erasure FROM erasures WHERE seq = 40`, ROWS + 1, 'checkpoint'],
      [`UPDATE meta SET value = replace(value, '"seq":20', '"seq":21') WHERE key = 'trimming'`, 21, 'beginning'],
      [`UPDATE meta SET value = 'x' WHERE key = 'trimming'`, 21, 'beginning'],
      [`DELETE FROM meta WHERE key = 'trimming'`, 1, 'beginning'],
      [
        `UPDATE checkpoints SET checkpoint = replace(checkpoint, '"hash":"', '"hash":"0') WHERE seq = 150`,
        150,
        'checkpoint',
      ],
    ] as const) {
      const { path } = await makeLog({ isWorn: true });
      change(path, (db) => db.exec(sql));
      expect([sql, verifySqliteFile(path, {})]).toEqual([sql, { ok: false, seq, reason }]);
    }
  });

  test('[V3] [V4] in the stored head', async () => {
    for (const [sql, seq, reason] of [
      ['UPDATE log_head SET seq = seq + 1', ROWS + 1, 'missing'],
      ['UPDATE log_head SET seq = seq - 1, hash = (SELECT prev_hash FROM events WHERE seq = 300)', ROWS, 'head'],
      ['UPDATE log_head SET hash = zeroblob(32)', ROWS, 'head'],
      ['DELETE FROM log_head', ROWS, 'head'],
      ['UPDATE log_head SET seq = 1 << 60', ROWS, 'head'],
    ] as const) {
      const { path } = await makeLog();
      change(path, (db) => db.exec(sql));
      expect([sql, verifySqliteFile(path, {})]).toEqual([sql, { ok: false, seq, reason }]);
      const log = await open(path);
      expect(log.damage).toHaveLength(1);
      await append(log, draft('run.started'));
      await append(log, draft('run.started'));
      expect(await log.integrity.verify(), sql).toMatchObject({ ok: false });
      await log.close();
      expect(verifySqliteFile(path, {}), sql).toMatchObject({ ok: false });
    }
  });
});

describe('changed rows are found', () => {
  test('[V2] one row is deleted', async () => {
    for (const seq of [2, 17, 150, ROWS - 1]) {
      const { path } = await makeLog();
      change(path, (db) => db.prepare('DELETE FROM events WHERE seq = ?').run(seq));
      await expectBroken(path, seq, 'missing');
    }
  });

  test('[V3] the first rows are deleted', async () => {
    const fresh = await makeLog();
    change(fresh.path, (db) => db.exec('DELETE FROM events WHERE seq <= 50'));
    await expectBroken(fresh.path, 1, 'beginning');
    const worn = await makeLog({ isWorn: true });
    change(worn.path, (db) => db.exec('DELETE FROM events WHERE seq <= 50'));
    await expectBroken(worn.path, 21, 'beginning');
    // With a record of trimming that fits, but without a signature.
    const forged = await makeLog({ isWorn: true });
    change(forged.path, (db) => {
      const hash = Buffer.from(column(db, 'prev_hash', 51) as Uint8Array).toString('hex');
      db.exec(`DELETE FROM events WHERE seq <= 50; UPDATE meta SET value = json_set(value, '$.seq', 50, '$.hash', '${hash}')
        WHERE key = 'trimming'`);
    });
    await expectBroken(forged.path, 51, 'beginning');
  });

  test('[V2] a trimmed row is inserted again', async () => {
    const { path } = await makeLog({ isWorn: true });
    change(path, (db) =>
      db.exec(`INSERT INTO events SELECT 5, run_row, run_seq, project_id, type, 'x', actor,
      recorded_at_ms, payload, salt, payload_hash, prev_hash FROM events WHERE seq = 60`),
    );
    await expectBroken(path, 5, 'beginning');
  });

  /** All columns of a row except its position. */
  const ofRow =
    'run_row, run_seq, project_id, type, event_id, actor, recorded_at_ms, payload, salt, payload_hash, prev_hash';
  const swap = (db: Db, [a, b]: readonly [number, number], columns: string) => {
    const read = (seq: number) =>
      Object.values(db.prepare(`SELECT ${columns} FROM events WHERE seq = ?`).get(seq) as object);
    const rows = [read(a), read(b)] as const;
    const names = columns.split(', ');
    // Ids are unique, during the change too.
    db.exec(`UPDATE events SET event_id = 'away' || seq WHERE seq IN (${a}, ${b})`);
    const write = db.prepare(`UPDATE events SET ${names.map((name) => `${name} = ?`).join(', ')} WHERE seq = ?`);
    write.run(...(rows[1] as never[]), a);
    write.run(...(rows[0] as never[]), b);
  };
  /** Sets the position in the payload, and the hash of the payload. */
  const renumber = (db: Db, seq: number) => {
    const event = { ...JSON.parse(column(db, 'payload', seq) as string), seq };
    const payload = canonicalJson(event);
    setColumn(db, 'payload', seq, payload);
    setColumn(db, 'payload_hash', seq, payloadHash(column(db, 'salt', seq) as Uint8Array, payload));
  };
  const pairs = [
    [100, 200],
    [100, 101],
    [1, 2],
    [ROWS - 1, ROWS],
    [1, ROWS],
  ] as const;

  test.each(pairs)('[V2] the payloads of %i and %i are swapped', async (...pair) => {
    const alone = await makeLog();
    change(alone.path, (db) => {
      const [a, b] = pair.map((seq) => column(db, 'payload', seq));
      setColumn(db, 'payload', pair[0], b);
      setColumn(db, 'payload', pair[1], a);
    });
    await expectBroken(alone.path, pair[0], 'payload');
    const withHash = await makeLog();
    change(withHash.path, (db) => {
      const ids = pair.map((seq) => column(db, 'event_id', seq));
      swap(db, pair, 'payload, salt, payload_hash');
      for (const [index, seq] of pair.entries()) setColumn(db, 'event_id', seq, ids[index]);
    });
    await expectBroken(withHash.path, pair[0], 'order');
  });

  test.each(pairs)('[V2] the rows %i and %i are swapped, as they are and renumbered', async (...pair) => {
    const plain = await makeLog();
    change(plain.path, (db) => swap(db, pair, ofRow));
    await expectBroken(plain.path, pair[0], 'order');
    const renumbered = await makeLog();
    change(renumbered.path, (db) => {
      swap(db, pair, ofRow);
      for (const seq of pair) renumber(db, seq);
    });
    await expectBroken(renumbered.path, pair[0], 'order');
  });

  test('[V2] a payload is changed together with its hash', async () => {
    for (const seq of [1, 151, ROWS]) {
      const { path } = await makeLog();
      change(path, (db) => {
        const event = { ...JSON.parse(column(db, 'payload', seq) as string), message: 'all is well' };
        const payload = canonicalJson(event);
        setColumn(db, 'payload', seq, payload);
        setColumn(db, 'payload_hash', seq, payloadHash(column(db, 'salt', seq) as Uint8Array, payload));
      });
      const verdict = verifySqliteFile(path, {});
      expect(verdict).toEqual({ ok: false, seq, reason: seq === ROWS ? 'head' : 'row' });
      const [, , , later] = await verdictsOf(path);
      expect(later).toEqual({ ok: false, seq, reason: 'row' });
    }
  });

  test('[V2] [V4] rows are added after the last', async () => {
    const { path } = await makeLog();
    change(path, (db) => chain(db, ROWS, (seq) => seq <= ROWS + 3, true));
    const verdicts = await verdictsOf(path);
    expect(verdicts.map((verdict) => !verdict.ok && verdict.seq)).toEqual(Array(4).fill(ROWS + 1));
  });

  test('[V2] [V3] [V4] the last 100 rows are deleted, and their positions are not used again', async () => {
    const { path } = await makeLog();
    change(path, (db) => db.exec(`DELETE FROM events WHERE seq > ${ROWS - 100}`));
    const log = await open(path);
    expect({ head: log.head, damage: log.damage }).toEqual({ head: ROWS, damage: [{ seq: ROWS }] });
    expect(await append(log, draft('run.started'))).toMatchObject([{ seq: ROWS + 1 }]);
    expect((await readAll(log)).length).toBe(ROWS - 99);
    await log.close();
    await expectBroken(path, ROWS - 99, 'missing');
  });

  test('[V3] all rows are deleted', async () => {
    const { path } = await makeLog();
    change(path, (db) => db.exec('DELETE FROM events'));
    await expectBroken(path, 1, 'beginning');
  });
});

/** Hashes the rows after a position again, as the log would; `isNew` adds copies of the last row. */
function chain(db: Db, after: number, holds: (seq: number) => boolean, isNew = false): Buffer {
  const read = db.prepare(
    `SELECT seq, e.project_id AS projectId, run_id AS runId, run_seq AS runSeq, type, event_id AS eventId, actor,
       recorded_at_ms AS recordedAtMs, payload, salt, payload_hash AS payloadHash, prev_hash AS prevHash
     FROM events e JOIN runs ON row_id = run_row WHERE seq = ?`,
  );
  let prevHash = after === 0 ? GENESIS : rowHash(read.get(after) as ChainedRow);
  for (let seq = after + 1; holds(seq); seq++) {
    if (isNew) {
      db.prepare(
        `INSERT INTO events SELECT ?1, run_row, run_seq + ?1, project_id, type, 'new' || ?1, actor, recorded_at_ms, payload, salt,
           payload_hash, prev_hash FROM events WHERE seq = ?2`,
      ).run(seq, after);
    }
    const row = read.get(seq) as ChainedRow & { payload: string; salt: Uint8Array };
    const said = { seq, runSeq: row.runSeq, eventId: row.eventId };
    const payload = canonicalJson({ ...JSON.parse(row.payload), ...said });
    const hashed = payloadHash(row.salt, payload);
    db.prepare('UPDATE events SET payload = ?, payload_hash = ?, prev_hash = ? WHERE seq = ?').run(
      payload,
      hashed,
      prevHash,
      seq,
    );
    prevHash = rowHash({ ...row, payloadHash: hashed, prevHash });
  }
  return prevHash;
}

describe('checkpoints kept elsewhere', () => {
  test('[V6] show that a log was cut, with a stored head that fits', async () => {
    const { path, checkpoints } = await makeLog();
    change(path, (db) => {
      const hash = column(db, 'prev_hash', 201);
      db.exec('DELETE FROM events WHERE seq > 200; DELETE FROM checkpoints WHERE seq > 200');
      db.prepare('UPDATE log_head SET seq = 200, hash = ?').run(hash as never);
    });
    expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, to: 200 });
    expect(verifySqliteFile(path, { checkpoints })).toEqual({ ok: false, seq: 201, reason: 'checkpoint' });
    // Also after further events.
    const log = await open(path);
    for (let index = 0; index < 100; index++) await append(log, draft('run.started'));
    expect(await log.integrity.verify()).toMatchObject({ ok: true, to: 300 });
    expect(await log.integrity.verify({ checkpoints })).toEqual({ ok: false, seq: 250, reason: 'checkpoint' });
  });

  test('[V6] show that a log was hashed again, as do its own checkpoints if they were left', async () => {
    const { path, checkpoints } = await makeLog();
    change(path, (db) => {
      setColumn(db, 'payload', 77, (column(db, 'payload', 77) as string).replace('message 77', 'all is well'));
      const hash = chain(db, 0, (seq) => seq <= ROWS);
      db.prepare('UPDATE log_head SET hash = ?').run(hash);
    });
    await expectBroken(path, 150, 'checkpoint');
    change(path, (db) => db.exec('DELETE FROM checkpoints'));
    expect(verifySqliteFile(path, {})).toMatchObject({ ok: true });
    await expectBroken(path, 150, 'checkpoint', checkpoints);
  });

  test('[V3] [V6] are not needed for a log that was hashed again in part', async () => {
    const { path } = await makeLog();
    change(path, (db) => {
      setColumn(db, 'payload', 77, (column(db, 'payload', 77) as string).replace('message 77', 'all is well'));
      db.exec('DELETE FROM checkpoints');
      chain(db, 76, (seq) => seq <= ROWS);
    });
    expect(verifySqliteFile(path, {})).toEqual({ ok: false, seq: ROWS, reason: 'head' });
    const other = await makeLog();
    change(other.path, (db) => {
      setColumn(db, 'payload', 77, (column(db, 'payload', 77) as string).replace('message 77', 'all is well'));
      chain(db, 76, (seq) => seq <= 90);
    });
    expect(verifySqliteFile(other.path, {})).toEqual({ ok: false, seq: 90, reason: 'row' });
  });
});

describe('files', () => {
  test('[V8] verifying a file needs no server and writes nothing, with or without a WAL', async () => {
    const { path } = await makeLog({ isWorn: true });
    const folder = join(path, '..');
    const state = () => readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString('base64')]);
    const before = state();
    expect(verifySqliteFile(path, {})).toEqual({
      ...{ ok: true, from: 21, to: ROWS, events: ROWS - 20, erased: 2 },
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(state()).toEqual(before);
    const log = await open(path);
    await append(log, draft('run.started'));
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(0);
    expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, to: ROWS + 1 });
  });

  test('[V8] [V9] a file with signed records needs its key, and is invalid with another one', async () => {
    const { path } = await makeLog({ isWorn: true });
    const copy = join(await newPath(), '..', 'copy.db');
    copyFileSync(path, copy);
    expect(() => verifySqliteFile(copy, {})).toThrow('without the public key');
    expect(verifySqliteFile(copy, { keys: AuditKeys.make() })).toEqual({ ok: false, seq: 21, reason: 'beginning' });
    const { publicKey } = AuditKeys.inFile(join(path, '..', 'audit.key'));
    expect(verifySqliteFile(copy, { keys: new AuditKeys(publicKey) })).toMatchObject({ ok: true });
    const fresh = await makeLog();
    copyFileSync(fresh.path, copy);
    expect(verifySqliteFile(copy, {})).toMatchObject({ ok: true });
  });

  test('[V9] the key is created once with mode 0600; a replaced key is trusted while its public half is in the file', async () => {
    const { path } = await makeLog({ isWorn: true });
    const keyPath = join(path, '..', 'audit.key');
    const pem = readFileSync(keyPath, 'utf8');
    expect(pem).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    expect(statSync(keyPath).mode & 0o777).toBe(0o600);
    const former = new AuditKeys(pem);
    expect(AuditKeys.inFile(keyPath).publicKey).toBe(former.publicKey);

    rmSync(keyPath);
    const other = await open(path);
    expect(await other.integrity.verify()).toEqual({ ok: false, seq: 21, reason: 'beginning' });
    await other.close();
    appendFileSync(keyPath, former.publicKey);
    const log = await open(path);
    expect(log.integrity.publicKey).not.toBe(former.publicKey);
    await eraseAt(log, 50);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 3 });
  });

  test('[V9] an invalid key file is refused, and the error does not quote it', () => {
    for (const pem of ['', 'SECRET', '-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n']) {
      expect(() => new AuditKeys(pem)).toThrow('the key file must contain an Ed25519 key in PEM');
    }
  });

  test('[V16] a database of a release without a stored head is trusted once', async () => {
    const made = await makeLog();
    const path = await newPath();
    const before = migrations.slice(
      0,
      migrations.findIndex((migration) => typeof migration !== 'string'),
    );
    change(path, (db) => {
      for (const migration of before) db.exec(migration as string);
      db.exec(`PRAGMA application_id = 0x52576972; PRAGMA user_version = ${before.length}`);
      db.exec(`ATTACH '${made.path}' AS made; INSERT INTO meta SELECT * FROM made.meta WHERE key = 'epoch'`);
      for (const table of ['runs', 'stages', 'events']) db.exec(`INSERT INTO ${table} SELECT * FROM made.${table}`);
      db.exec('DELETE FROM events WHERE seq <= 20'); // As that release trimmed.
      setColumn(db, 'actor', 100, 'somebody else');
    });
    expect(() => verifySqliteFile(path, {})).toThrow('older or newer schema');
    const log = await open(path);
    expect(log.damage).toEqual([]);
    expect(await log.integrity.verify()).toEqual({ ok: false, seq: 100, reason: 'row' });
    await log.close();
    change(path, (db) => setColumn(db, 'actor', 100, 'ci'));
    const whole = await open(path);
    expect(await whole.integrity.verify()).toMatchObject({ ok: true, from: 21, to: ROWS });
    await whole.close();
    change(path, (db) => db.exec('DELETE FROM log_head'));
    const robbed = await open(path);
    expect(robbed.damage).toHaveLength(1);
    expect(await robbed.integrity.verify()).toMatchObject({ ok: false, reason: 'head' });
  });

  test('[V12] erased text is in no file of the database, during and after the run of the server', async () => {
    const path = await newPath();
    const folder = join(path, '..');
    const log = await open(path);
    const found = (text: string) =>
      readdirSync(folder).filter((name) => readFileSync(join(folder, name)).includes(text));
    const secrets: [number, string][] = [];
    // Rows of all sizes, written many times, so that SQLite moves them between pages.
    for (let index = 0; index < 600; index++) {
      const secret = `SECRET-${index}-OF-ONE`;
      const stageId = `s${(index * 7) % 50}`;
      const padding = 'x'.repeat((index * 131) % 1_700);
      const [receipt] = await append(
        log,
        draft('stage.progress', { stageId, message: `${secret} ${padding}`, audience: [secret] }),
        draft('artifact.created', { artifactId: `f${index % 40}`, name: 'n', uri: `https://x/${padding}` }),
      );
      if (index % 20 === 0) secrets.push([receipt?.seq as number, secret]);
    }
    expect(found(secrets[0]?.[1] as string)).not.toEqual([]);
    for (const [seq, secret] of secrets) {
      await eraseAt(log, seq);
      expect(found(secret)).toEqual([]);
    }
    await append(log, draft('run.completed'));
    await log.close();
    for (const [, secret] of secrets) expect(found(secret)).toEqual([]);
    expect(found('SECRET-1-OF-ONE')).toEqual(['runwire.db']);
    expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, erased: 30 });
  });

  test('[V12] copies that SQLite left when it moved or changed a row are overwritten', async () => {
    const path = await newPath();
    const found = () => readFileSync(path).includes('SECRET');
    const made = await open(path);
    await append(made, draft('stage.started', { stageId: 'a' }), draft('run.created', { name: 'SECRET' }));
    await made.close();
    // Without `secure_delete`, as in an earlier release: the old row stays in its page.
    change(path, (db) =>
      db.exec(`PRAGMA secure_delete = OFF; UPDATE stages SET state = json_set(state, '$.message', '${'x'.repeat(9_000)} SECRET');
        UPDATE stages SET state = json_remove(state, '$.message')`),
    );
    const log = await open(path);
    await eraseAt(log, 2);
    expect(found()).toBe(false);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
  });

  test('[V12] a file that another process has locked is cleaned once the lock is free', async () => {
    const path = await newPath();
    const found = () =>
      ['', '-wal'].some((end) => existsSync(`${path}${end}`) && readFileSync(`${path}${end}`).includes('SECRET'));
    const made = await open(path);
    await append(made, draft('stage.started', { stageId: 'a' }), draft('run.created', { name: 'SECRET' }));
    await made.close();
    change(path, (db) =>
      db.exec(`PRAGMA secure_delete = OFF; UPDATE stages SET state = json_set(state, '$.message', '${'x'.repeat(9_000)} SECRET');
        UPDATE stages SET state = json_remove(state, '$.message')`),
    );
    const log = await open(path);
    const other = openSqlite(path, { timeout: 0 });
    onTestFinished(() => other.close());
    log.integrity.onErased(() => other.exec('BEGIN IMMEDIATE')); // Between the transaction and the cleaning.
    await eraseAt(log, 2);
    expect(found()).toBe(true);
    other.exec('ROLLBACK');
    await expect.poll(found, { timeout: 10_000 }).toBe(false);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
  });

  test('[V12] a large file is rebuilt after the next start, by another process, while the log is in use', async () => {
    const path = await newPath();
    const found = () =>
      ['', '-wal'].some((end) => existsSync(`${path}${end}`) && readFileSync(`${path}${end}`).includes('SECRET'));
    const made = await open(path);
    await append(made, draft('stage.started', { stageId: 'a' }), draft('run.created', { name: 'SECRET' }));
    const message = 'm'.repeat(2_000);
    for (let batch = 0; batch < 9; batch++) {
      await append(made, ...upTo(1_000).map(() => draft('stage.progress', { stageId: 'b', message })));
    }
    await made.close();
    change(path, (db) =>
      db.exec(`PRAGMA secure_delete = OFF; UPDATE stages SET state = json_set(state, '$.message', '${'x'.repeat(9_000)} SECRET');
        UPDATE stages SET state = json_remove(state, '$.message')`),
    );
    let log = await open(path);
    await eraseAt(log, 2);
    await log.close();
    expect(statSync(path).size).toBeGreaterThan(16 * 1024 * 1024);
    expect(found()).toBe(true);
    log = await open(path);
    await append(log, draft('run.started'));
    await expect.poll(found, { timeout: 30_000, interval: 200 }).toBe(false);
    await append(log, draft('run.started'));
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
  });

  test('[V12] after a kill, or while another process reads, the files are cleaned as soon as possible', async () => {
    const path = await newPath();
    const folder = join(path, '..');
    const found = () => readdirSync(folder).filter((name) => readFileSync(join(folder, name)).includes('SECRET'));
    const log = await open(path);
    await append(log, draft('run.created', { name: 'SECRET' }));
    const reader = openSqlite(path, { readOnly: true });
    onTestFinished(() => {
      if (reader.isOpen) reader.close();
    });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM events').get();
    await eraseAt(log, 1);
    expect(found()).not.toEqual([]);
    // The state after a kill.
    const copy = await newPath();
    for (const end of ['', '-wal']) copyFileSync(`${path}${end}`, `${copy}${end}`);
    copyFileSync(join(folder, 'audit.key'), join(copy, '..', 'audit.key'));
    reader.exec('COMMIT');
    reader.close();
    await expect.poll(found, { timeout: 10_000 }).toEqual([]);
    expect(existsSync(`${copy}-wal`)).toBe(true);
    const later = await open(copy);
    expect(readFileSync(copy).includes('SECRET')).toBe(false);
    expect(readFileSync(`${copy}-wal`).includes('SECRET')).toBe(false);
    expect(await later.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
  });
});

test('[V1] a log verifies when all its events of the start are trimmed during verification', async () => {
  const path = await newPath();
  let now = T0;
  const log = await open(path, { now: () => now });
  await append(log, ...Array.from({ length: 40 }, () => draft('run.started')));
  const db = openSqlite(path, { readOnly: true });
  const verifying = verifyChain({ keys: new AuditKeys(log.integrity.publicKey) });
  const chain = new SqliteChain(db, log.epoch);
  expect([verifyStep(verifying, chain), verifyStep(verifying, chain)]).toEqual([undefined, undefined]);
  await append(log, draft('run.started'), draft('run.started'));
  now += 1_000;
  await log.trim(now);
  expect(log.oldest).toBeGreaterThan(41);
  let verdict: Verdict | undefined;
  while (!verdict) verdict = verifyStep(verifying, chain);
  expect(verdict).toMatchObject({ ok: true, from: log.oldest });
  db.close();
});

test('[L31] a row with an earlier time than the row before it is named, unless a signed repair is stored between them', async () => {
  const path = await newPath();
  let now = T0 + 60_000;
  const log = await open(path, { now: () => now });
  await append(log, draft('run.started'), draft('run.started'));
  now = T0;
  await log.integrity.repairClock({ by: 'ada' });
  await append(log, draft('run.started'));
  await log.close();
  expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, events: 3 });
  for (const sql of [
    `UPDATE clock_repairs SET repair = json_set(repair, '$.by', 'eve')`,
    `UPDATE clock_repairs SET repair = json_set(repair, '$.signature', '')`,
    'UPDATE clock_repairs SET seq = 1',
    'DELETE FROM clock_repairs',
  ]) {
    const copy = await newPath();
    for (const name of ['runwire.db', 'audit.key']) copyFileSync(join(path, '..', name), join(copy, '..', name));
    change(copy, (db) => db.exec(sql));
    expect({ sql, verdict: verifySqliteFile(copy, {}) }).toEqual({
      sql,
      verdict: { ok: false, seq: 3, reason: 'row' },
    });
  }
});
