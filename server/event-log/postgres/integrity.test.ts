import { afterAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import type { Checkpoint } from '../../../shared/audit.ts';
import { foldEvent } from '../../../shared/events.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { append, created, draft, eraseAt, started, T0, upTo } from '../conformance/kit.ts';
import { type AlteredLog, describeTampering, fillLog } from '../conformance/tampering.ts';
import type { EventLog } from '../contract/store.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { PostgresDatabase } from './database.ts';
import { openPostgresLog, type PostgresOptions } from './log.ts';
import { verifyPostgresDatabase } from './verify-database.ts';

const server = inject('postgres') as string;

async function newDatabase(template?: string): Promise<string> {
  const url = await createDatabase(server, template);
  onTestFinished(() => dropDatabase(server, url));
  return url;
}

/** The logs that a test has opened. */
const opened: EventLog[] = [];

async function open(url: string, options: Partial<PostgresOptions> = {}) {
  const damage: { seq: number }[] = [];
  const onDamage = (found: { seq: number }) => damage.push(found);
  const log = await openPostgresLog({ url, fold: foldEvent, onDamage, ...options });
  onTestFinished(() => log.close());
  opened.push(log);
  return Object.assign(log, { damage });
}

const COLUMNS = [
  'run_row',
  'run_seq',
  'project_id',
  'run_id',
  'type',
  'event_id',
  'actor',
  'recorded_at_ms',
  'payload',
];
COLUMNS.push('salt', 'payload_hash', 'prev_hash');

describe.skipIf(server === undefined)('the record in PostgreSQL', () => {
  const made = new Map<boolean, Promise<{ url: string; checkpoints: Checkpoint[] }>>();
  afterAll(async () => {
    for (const { url } of await Promise.all(made.values())) await dropDatabase(server, url);
  });

  async function makeOnce(isWorn: boolean) {
    const url = await createDatabase(server);
    let now = T0;
    const log = await openPostgresLog({ url, fold: foldEvent, now: () => now });
    const setNow = (ms: number) => {
      now = ms;
    };
    const checkpoints = await fillLog(log, setNow, isWorn);
    await log.close();
    return { url, checkpoints };
  }

  /** A copy of a closed log, which a test may change. */
  async function makeAltered({ isWorn = false } = {}): Promise<AlteredLog & { url: string }> {
    const original = made.get(isWorn) ?? makeOnce(isWorn);
    made.set(isWorn, original);
    const { url: template, checkpoints } = await original;
    const url = await newDatabase(template);
    const database = new PostgresDatabase(url, () => undefined);
    onTestFinished(() => database.close());
    const run = (text: string, values: unknown[] = []) => database.run<never>({ text, values });
    return {
      url,
      checkpoints,
      columns: COLUMNS,
      headTable: 'head',
      exec: async (sql) => void (await run(sql)),
      rows: async (columns, seq) => (await run(`SELECT ${columns} FROM events WHERE seq = $1`, [seq]))[0] as never,
      set: async (name, seq, value) => void (await run(`UPDATE events SET ${name} = $2 WHERE seq = $1`, [seq, value])),
      setHead: async (head) => {
        for (const [name, value] of Object.entries(head)) await run(`UPDATE head SET ${name} = $1`, [value]);
      },
      verify: (kept) => verifyPostgresDatabase(url, { checkpoints: kept }),
      open: () => open(url),
    };
  }

  describeTampering(COLUMNS, makeAltered);

  test('[V33] a verification beside appends and a trim by other nodes ends with the head of its begin or later', async () => {
    const url = await newDatabase();
    let now = T0;
    const [a, b] = [await open(url, { now: () => now }), await open(url, { now: () => now })];
    for (let turn = 0; turn < 4; turn++) await append(a, ...upTo(400).map(() => started()));
    now += 60_000;
    const verifying = a.integrity.verify();
    for (let turn = 0; turn < 10; turn++) await append(b, created(), started());
    const trimming = b.trim(T0 + 1);
    const verdict = await verifying;
    await trimming;
    expect(verdict).toMatchObject({ ok: true });
    expect((verdict as { to: number }).to).toBeGreaterThanOrEqual(1_600);
    expect(await a.integrity.verify()).toMatchObject({ ok: true, from: 1_601, to: 1_620, events: 20 });
  });

  test('[V33] a database is verified without a server and without writing, and needs the key that is not in it', async () => {
    const url = await newDatabase();
    const auditKey = AuditKeys.newPem();
    const log = await open(url, { auditKey });
    await append(log, created(), started());
    await eraseAt(log, 1);
    const { checkpoint } = await log.integrity.checkpoint();
    await expect(verifyPostgresDatabase(url, {})).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    const keys = new AuditKeys(log.integrity.publicKey);
    let epoch = '';
    const check = (found: { epoch: string }) => {
      epoch = found.epoch;
    };
    const verdict = await verifyPostgresDatabase(url, { keys, checkpoints: [checkpoint], check });
    expect({ verdict, epoch }).toMatchObject({ verdict: { ok: true, to: 2, erased: 1 }, epoch: log.epoch });
    expect(await verifyPostgresDatabase(url, { keys: AuditKeys.make() })).toEqual({
      ok: false,
      seq: 1,
      reason: 'erasure',
    });
    await expect(verifyPostgresDatabase(await newDatabase(), { keys })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  test('[V34] nodes that take a checkpoint of one position at once get the same one, and one of them is new', async () => {
    const url = await newDatabase();
    const logs = [await open(url), await open(url), await open(url)];
    await append(logs[0] as never, created());
    const taken = await Promise.all(logs.flatMap((log) => [log.integrity.checkpoint(), log.integrity.checkpoint()]));
    expect(new Set(taken.map(({ checkpoint }) => checkpoint.signature)).size).toBe(1);
    expect(taken.filter(({ isNew }) => isNew)).toHaveLength(1);
    expect(await logs[1]?.integrity.compare((taken[0] as (typeof taken)[0]).checkpoint)).toBe('held');
  });

  test('[V35] an erasure resolves after every node has replaced the event, and no node writes the text again', async () => {
    const url = await newDatabase();
    const logs = [await open(url), await open(url)] as const;
    const [a, b] = logs;
    await append(a, created({ name: 'SECRET' }), draft('stage.started', { stageId: 's', name: 'SECRET' }));
    // Both nodes have the rows of the run in memory.
    await append(b, draft('stage.progress', { stageId: 's', progress: 1 }));
    await append(a, draft('stage.progress', { stageId: 's', progress: 2 }));
    const received: unknown[] = [];
    b.integrity.onErased(({ seq, json }) => received.push([seq, json.includes('SECRET')]));
    await eraseAt(a, 1);
    await eraseAt(a, 2);
    expect(received).toEqual([
      [1, false],
      [2, false],
    ]);
    expect([a.erasures, b.erasures]).toEqual([2, 2]);
    await append(b, draft('stage.progress', { stageId: 's', progress: 3 }));
    await append(a, draft('stage.progress', { stageId: 's', progress: 4 }));
    for (const log of logs) expect(JSON.stringify(await log.runs.get('p', 'r'))).not.toContain('SECRET');
    expect(await b.integrity.verify()).toMatchObject({ ok: true, erased: 2 });
  });

  test('[V35] after an erasure, no version of a row has the text', async () => {
    const url = await newDatabase();
    const log = await open(url);
    await append(log, created({ name: 'SECRET', audience: ['SECRET'] }), draft('stage.started', { stageId: 's' }));
    await eraseAt(log, 1);
    const database = new PostgresDatabase(url, () => undefined);
    onTestFinished(() => database.close());
    await database.run({ text: 'CREATE EXTENSION pageinspect' });
    for (const table of ['events', 'runs', 'event_users', 'stages']) {
      const text = `SELECT t_data FROM generate_series(0, pg_relation_size($1) / 8192 - 1) AS page,
        heap_page_items(get_raw_page($1::text, page)) WHERE position('SECRET'::bytea IN t_data) > 0`;
      // A read that was open kept the versions from the first cleaning. The next one follows after a minute.
      const versions = async () => [table, await database.run({ text, values: [table] })];
      await expect.poll(versions, { timeout: 90_000 }).toEqual([table, []]);
    }
  });

  test('[V36] a trim removes any number of events in transactions of at most 1,000, with their ids and users', async () => {
    const url = await newDatabase();
    let now = T0;
    const [a, b] = [await open(url, { now: () => now }), await open(url, { now: () => now })];
    for (let turn = 0; turn < 5; turn++) await append(a, ...upTo(500).map(() => created({ audience: ['u', 'v'] })));
    now += 60_000;
    await append(a, created({ runId: 's', audience: ['u'] }));
    const database = new PostgresDatabase(url, () => undefined);
    onTestFinished(() => database.close());
    expect(await b.trim(T0 + 30_000)).toEqual({ removed: 2_500 });
    expect(b.oldest).toBe(2_501);
    await expect.poll(() => a.oldest).toBe(2_501);
    for (const table of ['events', 'event_users']) {
      expect([table, await database.read({ text: `SELECT seq FROM ${table}` })]).toEqual([table, [{ seq: 2_501 }]]);
    }
    expect(await a.integrity.verify()).toMatchObject({ ok: true, from: 2_501, to: 2_501 });
  });

  test('[V37] two nodes that renew the epoch at once agree on one, and a running node takes it', async () => {
    const url = await newDatabase();
    const [a, b] = [await open(url), await open(url)];
    await append(a, created());
    const { epoch } = a;
    const renewed = await Promise.all([a.integrity.renewEpoch('test'), b.integrity.renewEpoch('test')]);
    expect(renewed[0]).not.toBe(epoch);
    expect([renewed[1], a.epoch, b.epoch]).toEqual([renewed[0], renewed[0], renewed[0]]);
    await append(b, started());
    expect(await a.integrity.verify()).toMatchObject({ ok: true, to: 2 });
  });

  test('[V37] a database that was restored while no server ran gets a new epoch, once, with an entry of access', async () => {
    const url = await newDatabase();
    let log = await open(url);
    await append(log, created());
    const { epoch } = log;
    const database = new PostgresDatabase(url, () => undefined);
    onTestFinished(() => database.close());
    // As after a restore: PostgreSQL is on another timeline than the one that the last start has noted.
    const restore = () => database.run({ text: `UPDATE meta SET value = '1/00000001' WHERE key = 'history'` });
    await restore();
    expect((await open(url)).epoch).toBe(epoch); // Another node runs, and has compared the history.
    await restore();
    for (const each of opened.splice(0)) await each.close();
    log = await open(url);
    expect(log.epoch).not.toBe(epoch);
    expect((await open(url)).epoch).toBe(log.epoch);
    const { entries } = await log.access.list({ projects: 'all', limit: 9 });
    expect(entries).toMatchObject([{ action: 'log.epoch', detail: 'restored' }]);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, to: 1 });
  });
});
