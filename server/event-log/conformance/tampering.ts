import { describe, expect, test } from 'vitest';
import type { Checkpoint, Verdict } from '../../../shared/audit.ts';
import type { EventLog } from '../contract/store.ts';
import { type ChainedRow, canonicalJson, GENESIS, payloadHash, rowHash } from '../integrity/canonical.ts';
import { append, draft, eraseAt, readAll, T0 } from './kit.ts';

/**
 * Tests of a log that another program has changed. Each test changes the tables while no server runs, then verifies them
 * without a server and with one that opens them.
 */

/** Number of events of the log of {@link fillLog}. */
export const ROWS = 300;

type Value = number | string | Uint8Array | null;

/** A closed log of {@link fillLog}, which a test may change. */
export type AlteredLog = {
  checkpoints: Checkpoint[];
  /** The columns of the table `events`, without `seq`. */
  columns: readonly string[];
  /** Name of the table with the stored head. */
  headTable: string;
  /** Runs statements that SQLite and PostgreSQL both have. */
  exec(sql: string): Promise<void>;
  rows(columns: string, seq: number): Promise<Record<string, Value>>;
  set(column: string, seq: number, value: Value): Promise<void>;
  setHead(head: { seq?: number; hash?: Uint8Array }): Promise<void>;
  /** Verifies the tables without a server. */
  verify(checkpoints?: Checkpoint[]): Promise<Verdict>;
  open(): Promise<EventLog & { damage: { seq: number }[] }>;
};

/** Fills an empty log with 300 events of three runs; with `isWorn`, 20 are trimmed and two erased. */
export async function fillLog(log: EventLog, setNow: (ms: number) => void, isWorn: boolean): Promise<Checkpoint[]> {
  const checkpoints: Checkpoint[] = [];
  for (let from = 1; from <= ROWS; from += 10) {
    setNow(T0 + from * 1_000 + 9_000);
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
  return checkpoints;
}

const column = async (log: AlteredLog, name: string, seq: number): Promise<Value> =>
  (await log.rows(name, seq))[name] as Value;

/** Flips one bit; a text stays valid text. */
export function flipped(value: Value, place: number): Value {
  if (typeof value === 'number') return value ^ (1 << (place % 3));
  const bytes = Buffer.from(value as Uint8Array);
  const index = place % bytes.length;
  bytes[index] = (bytes[index] as number) ^ 1;
  return typeof value === 'string' ? bytes.toString() : bytes;
}

/** Verdicts of the tables, and of a server that opens them, before and after its first event. */
async function verdictsOf(altered: AlteredLog, checkpoints?: Checkpoint[]): Promise<Verdict[]> {
  const verdicts = [await altered.verify(checkpoints)];
  const log = await altered.open();
  verdicts.push(await log.integrity.verify({ checkpoints }));
  await append(log, draft('run.started'), draft('run.started'));
  verdicts.push(await log.integrity.verify({ checkpoints }));
  await log.close();
  verdicts.push(await altered.verify(checkpoints));
  return verdicts;
}

export async function expectBroken(
  altered: AlteredLog,
  seq: number,
  reason: string,
  checkpoints?: Checkpoint[],
): Promise<void> {
  const verdicts = await verdictsOf(altered, checkpoints);
  expect(verdicts.map((verdict) => (verdict.ok ? 'ok' : [verdict.seq, verdict.reason]))).toEqual(
    Array(verdicts.length).fill([seq, reason]),
  );
}

/** Replaces a part of a value. */
async function replace(altered: AlteredLog, name: string, seq: number, from: string, to: string): Promise<void> {
  const value = (await column(altered, name, seq)) as string;
  await altered.set(name, seq, value.replace(from, to));
}

/** Changes a payload together with its hash. */
async function rewrite(altered: AlteredLog, seq: number, change: object): Promise<void> {
  const payload = canonicalJson({ ...JSON.parse((await column(altered, 'payload', seq)) as string), ...change });
  await altered.set('payload', seq, payload);
  await altered.set('payload_hash', seq, payloadHash((await column(altered, 'salt', seq)) as Uint8Array, payload));
}

async function swap(altered: AlteredLog, [a, b]: readonly [number, number], columns: readonly string[]): Promise<void> {
  const [ofA, ofB] = [await altered.rows(columns.join(', '), a), await altered.rows(columns.join(', '), b)];
  // Ids may be unique, during the change too.
  await altered.exec(`UPDATE events SET event_id = 'away' || seq WHERE seq IN (${a}, ${b})`);
  for (const name of columns) {
    await altered.set(name, a, ofB[name] as Value);
    if (name === 'event_id') await altered.set(name, a, `of ${b}`);
    await altered.set(name, b, ofA[name] as Value);
    if (name === 'event_id') await altered.set(name, a, ofB[name] as Value);
  }
}

/** Hashes the rows after a position again, as the log would; `isNew` adds copies of the last row. */
async function chain(altered: AlteredLog, after: number, upTo: number, isNew = false): Promise<Buffer> {
  let prevHash = after === 0 ? GENESIS : rowHash(await chainedRow(altered, after));
  const others = altered.columns.filter((name) => !['event_id', 'run_seq'].includes(name)).join(', ');
  for (let seq = after + 1; seq <= upTo; seq++) {
    if (isNew) {
      await altered.exec(
        `INSERT INTO events (seq, run_seq, event_id, ${others})
          SELECT ${seq}, run_seq + ${seq}, 'new${seq}', ${others} FROM events WHERE seq = ${after}`,
      );
    }
    const row = await chainedRow(altered, seq);
    const { payload, salt } = await altered.rows('payload, salt', seq);
    const said = { seq, runSeq: row.runSeq, eventId: row.eventId };
    const text = canonicalJson({ ...JSON.parse(payload as string), ...said });
    const hashed = payloadHash(salt as Uint8Array, text);
    await altered.set('payload', seq, text);
    await altered.set('payload_hash', seq, hashed);
    await altered.set('prev_hash', seq, prevHash);
    prevHash = rowHash({ ...row, payloadHash: hashed, prevHash });
  }
  return prevHash;
}

async function chainedRow(altered: AlteredLog, seq: number): Promise<ChainedRow> {
  const names = 'run_seq, project_id, type, event_id, actor, recorded_at_ms, payload, payload_hash, prev_hash';
  const row = await altered.rows(names, seq);
  const { runId } = JSON.parse(row.payload as string) as { runId: string };
  const { run_seq: runSeq, project_id: projectId, event_id: eventId, recorded_at_ms: recordedAtMs, type, actor } = row;
  const hashes = { payloadHash: row.payload_hash, prevHash: row.prev_hash };
  return { seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs, ...hashes } as unknown as ChainedRow;
}

/** `columns`: those of the table `events`, without `seq`. */
export function describeTampering(
  columns: readonly string[],
  makeLog: (options?: { isWorn?: boolean }) => Promise<AlteredLog>,
): void {
  describe('one changed bit is found', () => {
    for (const [where, seq] of Object.entries({ first: 1, middle: 150, last: ROWS })) {
      test.each(columns)(`[V2] [V3] [V4] of %s of the ${where} row`, async (name) => {
        const altered = await makeLog();
        const reason = { payload: 'payload', salt: 'payload', payload_hash: 'payload' }[name] ?? 'row';
        await altered.set(name, seq, flipped(await column(altered, name, seq), 11));
        await expectBroken(altered, seq, reason);
      });
    }

    test('[V2] [V3] in the position of the first, a middle and the last row', async () => {
      for (const seq of [1, 150, ROWS]) {
        const altered = await makeLog();
        await altered.exec(`UPDATE events SET seq = ${seq ^ 1024} WHERE seq = ${seq}`);
        await expectBroken(altered, seq, seq === 1 ? 'beginning' : 'missing');
      }
    });

    test('[V2] in the id of a run, which all its events have', async () => {
      const altered = await makeLog();
      await altered.exec(`UPDATE runs SET run_id = 'r3' WHERE run_id = 'r2'`);
      await expectBroken(altered, 2, 'row');
    });

    test('[V2] [V13] in a payload that is erased later: its record states it', async () => {
      const altered = await makeLog();
      await replace(altered, 'payload', 9, '"ci"', '"me"');
      const log = await altered.open();
      expect(await eraseAt(log, 9)).toMatchObject({ seq: 9, altered: true });
      expect(await eraseAt(log, 10)).not.toHaveProperty('altered');
      expect(await log.integrity.verify()).toEqual({ ok: false, seq: 9, reason: 'payload' });
      await log.close();
      await expectBroken(altered, 9, 'payload');
    });

    test('[V2] in a tombstone, its record, or the record of trimming', async () => {
      const erasure = 'UPDATE erasures SET erasure = replace(erasure,';
      for (const [change, seq, reason] of [
        [`UPDATE events SET payload = replace(payload, 'erased":true', 'erased":tru') WHERE seq = 40`, 40, 'erasure'],
        [`UPDATE events SET payload = replace(payload, '"ci"', '"me"') WHERE seq = 40`, 40, 'erasure'],
        [(log: AlteredLog) => log.set('salt', 40, Buffer.alloc(1)), 40, 'erasure'],
        [(log: AlteredLog) => log.set('payload_hash', 40, Buffer.alloc(32)), 40, 'erasure'],
        [`UPDATE events SET actor = 'me' WHERE seq = 41`, 41, 'row'],
        [`${erasure} '"ada"', '"eve"') WHERE seq = 40`, 40, 'erasure'],
        [`${erasure} 'asked', 'axked') WHERE seq = 41`, 41, 'erasure'],
        [`DELETE FROM erasures WHERE seq = 41`, 41, 'erasure'],
        [`UPDATE erasures SET seq = 42 WHERE seq = 41`, 41, 'erasure'],
        [`UPDATE erasures SET seq = 30 WHERE seq = 40`, 30, 'erasure'],
        [`UPDATE erasures SET seq = 9000 WHERE seq = 41`, 41, 'erasure'],
        [`UPDATE checkpoints SET seq = 9000 WHERE seq = 150`, ROWS + 1, 'checkpoint'],
        [`UPDATE meta SET value = replace(value, '"seq":20', '"seq":21') WHERE key = 'trimming'`, 21, 'beginning'],
        [`UPDATE meta SET value = 'x' WHERE key = 'trimming'`, 21, 'beginning'],
        [`DELETE FROM meta WHERE key = 'trimming'`, 1, 'beginning'],
        [
          `UPDATE checkpoints SET checkpoint = replace(checkpoint, '"hash":"', '"hash":"0') WHERE seq = 150`,
          150,
          'checkpoint',
        ],
      ] as const) {
        const altered = await makeLog({ isWorn: true });
        await (typeof change === 'string' ? altered.exec(change) : change(altered));
        expect([String(change), await altered.verify()]).toEqual([String(change), { ok: false, seq, reason }]);
      }
    });

    test('[V3] [V4] in the stored head', async () => {
      for (const [change, seq, reason] of [
        [async (log: AlteredLog) => log.setHead({ seq: ROWS + 1 }), ROWS + 1, 'missing'],
        [
          async (log: AlteredLog) =>
            log.setHead({ seq: ROWS - 1, hash: (await column(log, 'prev_hash', ROWS)) as Uint8Array }),
          ROWS,
          'head',
        ],
        [async (log: AlteredLog) => log.setHead({ hash: Buffer.alloc(32) }), ROWS, 'head'],
        [async (log: AlteredLog) => log.exec(`DELETE FROM ${log.headTable}`), ROWS, 'head'],
        [async (log: AlteredLog) => log.setHead({ seq: 2 ** 60 }), ROWS, 'head'],
      ] as const) {
        const altered = await makeLog();
        await change(altered);
        expect([String(change), await altered.verify()]).toEqual([String(change), { ok: false, seq, reason }]);
        const log = await altered.open();
        expect(log.damage).toHaveLength(1);
        await append(log, draft('run.started'));
        await append(log, draft('run.started'));
        expect(await log.integrity.verify(), String(change)).toMatchObject({ ok: false });
        await log.close();
        expect(await altered.verify(), String(change)).toMatchObject({ ok: false });
      }
    });
  });

  describe('changed rows are found', () => {
    test('[V2] one row is deleted', async () => {
      for (const seq of [2, 17, 150, ROWS - 1]) {
        const altered = await makeLog();
        await altered.exec(`DELETE FROM events WHERE seq = ${seq}`);
        await expectBroken(altered, seq, 'missing');
      }
    });

    test('[V3] the first rows are deleted', async () => {
      const fresh = await makeLog();
      await fresh.exec('DELETE FROM events WHERE seq <= 50');
      await expectBroken(fresh, 1, 'beginning');
      const worn = await makeLog({ isWorn: true });
      await worn.exec('DELETE FROM events WHERE seq <= 50');
      await expectBroken(worn, 21, 'beginning');
      // With a record of trimming that fits, but without a signature.
      const forged = await makeLog({ isWorn: true });
      const hash = Buffer.from((await column(forged, 'prev_hash', 51)) as Uint8Array).toString('hex');
      await forged.exec('DELETE FROM events WHERE seq <= 50');
      await forged.exec(`UPDATE meta SET value = '{"seq":50,"hash":"${hash}"}' WHERE key = 'trimming'`);
      await expectBroken(forged, 51, 'beginning');
    });

    test('[V2] a trimmed row is inserted again', async () => {
      const altered = await makeLog({ isWorn: true });
      const others = columns.filter((name) => name !== 'event_id').join(', ');
      await altered.exec(
        `INSERT INTO events (seq, event_id, ${others}) SELECT 5, 'x', ${others} FROM events WHERE seq = 60`,
      );
      await expectBroken(altered, 5, 'beginning');
    });

    const pairs = [
      [100, 200],
      [100, 101],
      [1, 2],
      [ROWS - 1, ROWS],
      [1, ROWS],
    ] as const;

    test.each(pairs)('[V2] the payloads of %i and %i are swapped', async (...pair) => {
      const alone = await makeLog();
      const [a, b] = [await column(alone, 'payload', pair[0]), await column(alone, 'payload', pair[1])];
      await alone.set('payload', pair[0], b);
      await alone.set('payload', pair[1], a);
      await expectBroken(alone, pair[0], 'payload');
      const withHash = await makeLog();
      const ids = [await column(withHash, 'event_id', pair[0]), await column(withHash, 'event_id', pair[1])];
      await swap(withHash, pair, ['payload', 'salt', 'payload_hash']);
      for (const [index, seq] of pair.entries()) await withHash.set('event_id', seq, ids[index] as Value);
      await expectBroken(withHash, pair[0], 'order');
    });

    test.each(pairs)('[V2] the rows %i and %i are swapped, as they are and renumbered', async (...pair) => {
      const plain = await makeLog();
      await swap(plain, pair, columns);
      await expectBroken(plain, pair[0], 'order');
      const renumbered = await makeLog();
      await swap(renumbered, pair, columns);
      for (const seq of pair) await rewrite(renumbered, seq, { seq });
      await expectBroken(renumbered, pair[0], 'order');
    });

    test('[V2] a payload is changed together with its hash', async () => {
      for (const seq of [1, 151, ROWS]) {
        const altered = await makeLog();
        await rewrite(altered, seq, { message: 'all is well' });
        expect(await altered.verify()).toEqual({ ok: false, seq, reason: seq === ROWS ? 'head' : 'row' });
        const [, , , later] = await verdictsOf(altered);
        expect(later).toEqual({ ok: false, seq, reason: 'row' });
      }
    });

    test('[V2] [V4] rows are added after the last', async () => {
      const altered = await makeLog();
      await chain(altered, ROWS, ROWS + 3, true);
      const verdicts = await verdictsOf(altered);
      expect(verdicts.map((verdict) => !verdict.ok && verdict.seq)).toEqual(Array(4).fill(ROWS + 1));
    });

    test('[V2] [V3] [V4] the last 100 rows are deleted, and their positions are not used again', async () => {
      const altered = await makeLog();
      await altered.exec(`DELETE FROM events WHERE seq > ${ROWS - 100}`);
      const log = await altered.open();
      expect({ head: log.head, damage: log.damage }).toEqual({ head: ROWS, damage: [{ seq: ROWS }] });
      expect(await append(log, draft('run.started'))).toMatchObject([{ seq: ROWS + 1 }]);
      expect((await readAll(log)).length).toBe(ROWS - 99);
      await log.close();
      await expectBroken(altered, ROWS - 99, 'missing');
    });

    test('[V3] all rows are deleted', async () => {
      const altered = await makeLog();
      await altered.exec('DELETE FROM events');
      await expectBroken(altered, 1, 'beginning');
    });
  });

  describe('checkpoints kept elsewhere', () => {
    test('[V6] show that a log was cut, with a stored head that fits', async () => {
      const altered = await makeLog();
      const { checkpoints } = altered;
      const hash = (await column(altered, 'prev_hash', 201)) as Uint8Array;
      await altered.exec('DELETE FROM events WHERE seq > 200');
      await altered.exec('DELETE FROM checkpoints WHERE seq > 200');
      await altered.setHead({ seq: 200, hash });
      expect(await altered.verify()).toMatchObject({ ok: true, to: 200 });
      expect(await altered.verify(checkpoints)).toEqual({ ok: false, seq: 201, reason: 'checkpoint' });
      // Also after further events.
      const log = await altered.open();
      for (let index = 0; index < 100; index++) await append(log, draft('run.started'));
      expect(await log.integrity.verify()).toMatchObject({ ok: true, to: 300 });
      expect(await log.integrity.verify({ checkpoints })).toEqual({ ok: false, seq: 250, reason: 'checkpoint' });
      await log.close();
    });

    test('[V6] show that a log was hashed again, as do its own checkpoints if they were left', async () => {
      const altered = await makeLog();
      await replace(altered, 'payload', 77, 'message 77', 'all is well');
      await altered.setHead({ hash: await chain(altered, 0, ROWS) });
      await expectBroken(altered, 150, 'checkpoint');
      await altered.exec('DELETE FROM checkpoints');
      expect(await altered.verify()).toMatchObject({ ok: true });
      await expectBroken(altered, 150, 'checkpoint', altered.checkpoints);
    });

    test('[V3] [V6] are not needed for a log that was hashed again in part', async () => {
      const altered = await makeLog();
      await replace(altered, 'payload', 77, 'message 77', 'all is well');
      await altered.exec('DELETE FROM checkpoints');
      await chain(altered, 76, ROWS);
      expect(await altered.verify()).toEqual({ ok: false, seq: ROWS, reason: 'head' });
      const other = await makeLog();
      await replace(other, 'payload', 77, 'message 77', 'all is well');
      await chain(other, 76, 90);
      expect(await other.verify()).toEqual({ ok: false, seq: 90, reason: 'row' });
    });
  });
}
