import { Client } from 'pg';
import { afterEach, describe, expect, inject, onTestFinished, test } from 'vitest';
import type { StoredEvent } from '../../server/event-log/contract/log.ts';
import type { Outbox } from '../../server/event-log/contract/outbox.ts';
import { PostgresDatabase } from '../../server/event-log/postgres/database.ts';
import { openPostgresLog } from '../../server/event-log/postgres/log.ts';
import { eraseFromOutbox } from '../../server/event-log/postgres/outbox.ts';
import { Health } from '../../server/health.ts';
import { createPhiGuard } from '../../server/phi/guard.ts';
import { EventBus } from '../../server/publishing/bus.ts';
import { OutboxMover, type OutboxMoverOptions } from '../../server/publishing/outbox-mover.ts';
import { RunwireError } from '../../shared/errors.ts';
import { foldOf } from '../../shared/event-table.ts';
import { runwireEvents } from '../../shared/events.ts';
import { blocksOf } from '../docs/blocks.ts';
import { keptLog } from '../support/harness.ts';
import { createDatabase, dropDatabase } from '../support/postgres.ts';

/** `runwire_publish` inside transactions of a program, and the mover that brings its drafts to a log. */

const postgres = inject('postgres');
const started = (runId: string, more: object = {}) => ({ type: 'run.started', projectId: 'demo', runId, ...more });
const textOf = (runId: string, message: string) => ({
  ...{ type: 'stage.progress', projectId: 'demo', runId, stageId: 's1', message },
});
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** One node, which has every lease. */
const alone: OutboxMoverOptions['nodes'] = {
  lease: (_name, onChange) => {
    const lease = { isHeld: false, release: () => Promise.resolve() };
    queueMicrotask(() => {
      lease.isHeld = true;
      onChange(true);
    });
    return lease;
  },
};

async function place() {
  const url = await createDatabase(postgres as string);
  closers.push(() => dropDatabase(postgres as string, url));
  const connect = async (user?: string) => {
    const client = new Client({ connectionString: user ? url.replace('runwire@', `${user}@`) : url });
    client.on('error', () => undefined);
    await client.connect();
    closers.push(() => client.end());
    return client;
  };
  const log = await openPostgresLog({ url, fold: foldOf(runwireEvents) as never });
  closers.push(() => log.close());
  const outbox = log.outbox as Outbox;
  const database = new PostgresDatabase(url, () => undefined);
  closers.push(() => database.close());
  const admin = await connect();
  const { logger, lines } = keptLog();
  const health = new Health(logger);
  const bus = new EventBus({
    registry: runwireEvents,
    log,
    health,
    phiPolicy: 'reject',
    guard: createPhiGuard(runwireEvents),
  });
  const logged: StoredEvent[] = [];
  log.subscribe((records) => void logged.push(...records));
  const startMover = (parts: Partial<OutboxMoverOptions> = {}) => {
    const mover = new OutboxMover({ outbox, bus: bus as never, nodes: alone, health, ...parts });
    closers.push(() => mover.close());
    return mover;
  };
  const count = async (table: string) => Number((await admin.query(`SELECT count(*) AS n FROM ${table}`)).rows[0].n);
  const settled = () => expect.poll(() => count('outbox')).toBe(0);
  return { url, connect, admin, database, outbox, log, bus, logged, lines, startMover, count, settled };
}

async function publish(client: Client, drafts: unknown): Promise<string[]> {
  const { rows } = await client.query('SELECT runwire_publish($1::jsonb) AS ids', [JSON.stringify(drafts)]);
  return rows[0].ids;
}
const runsOf = (records: readonly StoredEvent[]) => records.map(({ runId }) => runId);

test.skipIf(postgres === undefined)('the tests of the outbox need PostgreSQL', () => {
  expect(postgres).toBeDefined();
});

describe.skipIf(postgres === undefined)('the outbox in PostgreSQL', () => {
  test('[M30] runwire_publish takes a draft or an array of drafts, and returns the ids of their events', async () => {
    const { admin, startMover, settled, logged } = await place();
    startMover();
    const [own] = await publish(admin, started('r1', { eventId: 'own-1' }));
    const ids = await publish(admin, [started('r2'), textOf('r2', 'half')]);
    await settled();
    expect(own).toBe('own-1');
    expect(logged.map(({ event }) => (event as { eventId: string }).eventId)).toEqual(['own-1', ...ids]);
    expect(logged.map(({ event }) => (event as { actor: string }).actor)).toEqual(Array(3).fill('postgres:runwire'));
    const [timestamp = ''] = logged.map(({ event }) => (event as { timestamp: string }).timestamp);
    expect(Math.abs(Date.parse(timestamp) - Date.now())).toBeLessThan(600_000);
  });

  test('[M30] an argument that is certainly no drafts is an error of the statement', async () => {
    const { admin, count } = await place();
    const codeOf = (text: string, values: unknown[]) =>
      admin.query(text, values).then(
        () => 'none',
        (error: { code: string }) => error.code,
      );
    const call = 'SELECT runwire_publish($1::jsonb)';
    for (const value of ['5', '"text"', 'null', '[]', '[5]', '[{}, null]', '[[{}]]', null]) {
      expect(await codeOf(call, [value]), String(value)).toBe('22023');
    }
    expect(await codeOf(call, [JSON.stringify(Array(1_001).fill({}))])).toBe('22023');
    expect(await codeOf(call, [JSON.stringify({ text: 'x'.repeat(1_048_577) })])).toBe('54000');
    expect(
      await codeOf(call, [
        '{"value": 1e131071, "other": 1e131071, "a":1e131071,"b":1e131071,"c":1e131071,"d":1e131071,"e":1e131071,"f":1e131071}',
      ]),
    ).toBe('54000');
    expect(await codeOf(call, ['{"text": "\\u0000"}'])).toBe('22P05');
    expect(await count('outbox')).toBe(0);
  });

  test('[M31] nothing of a rolled-back transaction or savepoint is moved', async () => {
    const { admin, connect, startMover, settled, logged } = await place();
    startMover();
    const [client, terminated] = [await connect(), await connect()];
    await client.query('BEGIN');
    await publish(client, started('rolled-back'));
    await client.query('ROLLBACK');
    await client.query('BEGIN');
    await publish(client, started('kept-1'));
    await client.query('SAVEPOINT one');
    await publish(client, started('undone'));
    await client.query('ROLLBACK TO one');
    await publish(client, started('kept-2'));
    await terminated.query('BEGIN');
    await publish(terminated, started('terminated'));
    const { rows } = await terminated.query('SELECT pg_backend_pid() AS pid');
    await admin.query('SELECT pg_terminate_backend($1)', [rows[0].pid]);
    await client.query('COMMIT');
    await settled();
    expect(runsOf(logged)).toEqual(['kept-1', 'kept-2']);
  });

  test('[M32] events are logged in the order of the commits, and of the calls in a transaction', async () => {
    const { connect, startMover, settled, logged } = await place();
    const [early, late] = [await connect(), await connect()];
    await early.query('BEGIN');
    await publish(early, started('early-1'));
    await late.query('BEGIN');
    await publish(late, [started('late-1'), started('late-2')]);
    await publish(early, started('early-2'));
    await publish(late, started('late-3'));
    await late.query('COMMIT');
    await early.query('COMMIT');
    startMover();
    await settled();
    expect(runsOf(logged)).toEqual(['late-1', 'late-2', 'late-3', 'early-1', 'early-2']);
  });

  test('[M32] a transaction that stays open holds nothing back, and is not skipped', async () => {
    const { connect, admin, startMover, logged, settled } = await place();
    startMover();
    const open = await connect();
    await open.query('BEGIN');
    await publish(open, started('open'));
    for (let n = 1; n <= 3; n++) await publish(admin, started(`after-${n}`));
    await expect.poll(() => logged.length).toBe(3);
    await open.query('COMMIT');
    await expect.poll(() => logged.length).toBe(4);
    await settled();
    expect(runsOf(logged)).toEqual(['after-1', 'after-2', 'after-3', 'open']);
  });

  test('[M33] a step that ends before its calls are settled is repeated, and logs each event once', async () => {
    const { admin, outbox, startMover, settled, logged } = await place();
    const ids = await publish(admin, [started('r1'), started('r2')]);
    let failures = 3;
    const settle: typeof outbox.settle = async (...args) => {
      if (failures-- > 0) throw new RunwireError('UNAVAILABLE', 'the connection broke');
      await outbox.settle(...args);
    };
    const breaking = { next: () => outbox.next(), settle, forgetRefused: async () => 0, onWork: () => () => {} };
    startMover({ outbox: breaking });
    await settled();
    expect(failures).toBeLessThan(0);
    expect(logged.map(({ event }) => (event as { eventId: string }).eventId)).toEqual(ids);
  });

  test('[M33] two nodes that move at the same time log each event once, in order', async () => {
    const { admin, startMover, settled, logged } = await place();
    for (let n = 0; n < 40; n++) await publish(admin, [started(`r${n}`, { eventId: `e${n}` }), textOf('bad type', '')]);
    startMover();
    startMover();
    await settled();
    const ids = logged.map(({ event }) => (event as { eventId: string }).eventId);
    expect(ids.filter((id) => id.startsWith('e'))).toEqual(Array.from({ length: 40 }, (_, n) => `e${n}`));
  });

  test('[M34] a refused draft is kept with its reason and holds back no other, also of its call', async () => {
    const { admin, startMover, settled, logged, lines } = await place();
    const mover = startMover();
    await publish(admin, [
      started('r1'),
      { type: 'run.unknown', projectId: 'demo', runId: 'r1' },
      { ...started('r1'), note: 'SECRET-VALUE' },
      textOf('r1', 'SSN 219-09-9999 of the patient'),
      started('r2', { eventId: 'runwire:reserved' }),
      started('r3'),
    ]);
    await publish(admin, started('r4'));
    await settled();
    expect(runsOf(logged)).toEqual(['r1', 'r3', 'r4']);
    const { rows } = await admin.query('SELECT code, path, message, actor, draft FROM outbox_refused ORDER BY id');
    expect(rows.map(({ code }) => code).sort()).toEqual([
      'FORBIDDEN',
      'INVALID_EVENT',
      'INVALID_EVENT',
      'PHI_REJECTED',
    ]);
    const phi = rows.find(({ code }) => code === 'PHI_REJECTED');
    expect(phi).toMatchObject({ path: 'message', actor: 'postgres:runwire', draft: { runId: 'r1' } });
    expect(rows.map(({ message }) => message).join()).not.toMatch(/219-09-9999|SECRET-VALUE/);
    expect(lines.join('\n')).toContain('outbox_refused');
    expect(lines.join('\n')).not.toMatch(/219-09-9999|SECRET-VALUE/);
    expect(mover.counts).toEqual({ moved: 3, refused: 4 });
  });

  test('[M34] runwire_retry publishes a refused draft again, as it was mended', async () => {
    const { admin, startMover, settled, logged, count } = await place();
    startMover();
    const [id] = await publish(admin, { ...started('r1'), wrong: 1 });
    await settled();
    expect(await count('outbox_refused')).toBe(1);
    await admin.query(`UPDATE outbox_refused SET draft = draft - 'wrong'`);
    await admin.query('SELECT runwire_retry(id) FROM outbox_refused');
    await expect.poll(() => logged.length).toBe(1);
    expect(logged[0]?.event).toMatchObject({ eventId: id, runId: 'r1' });
    expect(await count('outbox_refused')).toBe(0);
    expect((await admin.query('SELECT runwire_retry(99) AS found')).rows).toEqual([{ found: false }]);
  });

  test('[K36] the SQL of the guide runs in its order, and does what its comments state', async () => {
    const { admin, connect, startMover, logged, count } = await place();
    const [transaction = '', refused = ''] = blocksOf('docs/guide/producers.md')
      .filter(({ language }) => language === 'sql')
      .map(({ text }) => text);
    const [asOwner = '', asApp = ''] = transaction.split('-- In your program, as app:');
    await admin.query(`DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$`);
    await admin.query('CREATE TABLE orders (id int, state text)');
    await admin.query(`INSERT INTO orders VALUES (17, 'open'); GRANT SELECT, UPDATE ON orders TO app`);
    startMover();
    await admin.query(asOwner);
    await (await connect('app')).query(asApp);
    await expect
      .poll(() => logged.map(({ event }) => event))
      .toMatchObject([{ type: 'stage.completed', runId: 'order-17', stageId: 'payment', actor: 'postgres:app' }]);
    expect((await admin.query('SELECT state FROM orders')).rows).toEqual([{ state: 'paid' }]);

    // The guide mends the refused draft 3, and gives up the draft 4.
    await publish(
      admin,
      ['r1', 'r2', 'r3', 'r4', 'r5'].map((runId) => ({ ...started(runId), type: 'stage.done', stageId: 's1' })),
    );
    await expect.poll(() => count('outbox_refused')).toBe(5);
    const { rows } = await admin.query("SELECT draft ->> 'runId' AS run FROM outbox_refused WHERE id = 3");
    const results = (await admin.query(refused)) as unknown as { rows: object[]; rowCount: number }[];
    expect(results.map(({ rowCount }) => rowCount)).toEqual([5, 1, 1, 1]);
    expect(results[2]?.rows).toEqual([{ runwire_retry: true }]);
    await expect.poll(() => runsOf(logged)).toEqual(['order-17', rows[0].run]);
    expect(await count('outbox_refused')).toBe(3);
  });

  test('[M34] refused drafts older than 30 days are removed', async () => {
    const { admin, outbox, startMover, count } = await place();
    startMover();
    await publish(admin, [{ a: 1 }, { b: 1 }]);
    await expect.poll(() => count('outbox_refused')).toBe(2);
    await admin.query(`UPDATE outbox_refused SET refused_at = now() - interval '31 days' WHERE draft ? 'a'`);
    expect(await outbox.forgetRefused()).toBe(1);
    expect((await admin.query('SELECT draft FROM outbox_refused')).rows).toMatchObject([{ draft: { b: 1 } }]);
  });

  test('[M35] a failure of the log that may pass holds the drafts back, in order', async () => {
    const { admin, bus, startMover, settled, logged, count } = await place();
    let failures = 2;
    const failing: Pick<typeof bus, 'publish'> = {
      publish: (...args) =>
        failures-- > 0 ? Promise.reject(new RunwireError('UNAVAILABLE', 'the disk is full')) : bus.publish(...args),
    };
    const ids: string[] = [];
    for (let n = 0; n < 5; n++) ids.push(...(await publish(admin, started(`r${n}`))));
    startMover({ bus: failing as never });
    await settled();
    expect(logged.map(({ event }) => (event as { eventId: string }).eventId)).toEqual(ids);
    expect(await count('outbox_refused')).toBe(0);
  });

  test('[M36] a role needs EXECUTE and no right on a table, and is the actor', async () => {
    const { admin, connect, startMover, settled, logged } = await place();
    const role = `pub_${Math.random().toString(36).slice(2)}`;
    await admin.query(`CREATE ROLE ${role} LOGIN; CREATE ROLE ${role}_app; GRANT ${role}_app TO ${role}`);
    onTestFinished(async () => {
      const last = new Client({ connectionString: postgres });
      await last.connect();
      await last.query(`DROP ROLE ${role}, ${role}_app`);
      await last.end();
    });
    const client = await connect(role);
    await expect(publish(client, started('refused'))).rejects.toMatchObject({ code: '42501' });
    await admin.query(`GRANT EXECUTE ON FUNCTION runwire_publish(jsonb) TO ${role}_app`);
    await publish(client, started('r1'));
    await client.query(`SET ROLE ${role}_app`);
    await publish(client, started('r2'));
    for (const table of ['outbox', 'outbox_refused', 'events']) {
      await expect(client.query(`SELECT * FROM ${table}`)).rejects.toMatchObject({ code: '42501' });
    }
    await expect(client.query('SELECT runwire_retry(1)')).rejects.toMatchObject({ code: '42501' });
    startMover();
    await settled();
    expect(logged.map(({ event }) => (event as { actor: string }).actor)).toEqual([
      `postgres:${role}`,
      `postgres:${role}_app`,
    ]);
    await admin.query(`REVOKE ALL ON FUNCTION runwire_publish(jsonb) FROM ${role}_app`);
  });

  test('[M36] objects in the search path or in the temporary schema of the caller replace nothing', async () => {
    const { admin, startMover, settled, logged } = await place();
    await admin.query(`CREATE SCHEMA evil; SET search_path = evil, public, pg_catalog`);
    await admin.query(`CREATE TEMPORARY TABLE outbox (LIKE public.outbox)`);
    await admin.query(`CREATE FUNCTION evil.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'array' $$`);
    await admin.query(`CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE sql AS $$ SELECT 1/0 $$`);
    await publish(admin, started('r1'));
    await admin.query('RESET search_path; DROP TABLE pg_temp.outbox');
    startMover();
    await settled();
    expect(runsOf(logged)).toEqual(['r1']);
  });

  test('[M37] a commit wakes the node, and a rollback does not', async () => {
    const { admin, connect, outbox } = await place();
    let wakes = 0;
    const stop = outbox.onWork(() => void wakes++);
    closers.push(async () => stop());
    await expect.poll(() => wakes).toBe(1); // The connection listens.
    const client = await connect();
    await client.query('BEGIN');
    await publish(client, started('r1'));
    await client.query('ROLLBACK');
    await publish(client, started('r2'));
    await expect.poll(() => wakes).toBe(2);
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()`,
    );
    await expect.poll(() => wakes).toBe(3); // It listens again.
    await publish(client, started('r3'));
    await expect.poll(() => wakes).toBe(4);
  });

  test('[M38] an erasure removes the text from waiting and refused drafts with the id of the event', async () => {
    const { admin, database, startMover, settled, logged, count } = await place();
    const named = (message: string, eventId: string, projectId = 'demo') => ({
      ...textOf('r1', message),
      eventId,
      projectId,
    });
    const mover = startMover();
    await publish(admin, { ...named('ERASE-ME', 'e1'), wrong: 1 });
    await expect.poll(() => count('outbox_refused')).toBe(1);
    await mover.close();
    await publish(admin, [named('ERASE-ME', 'e1'), named('stays', 'e2'), named('stays too', 'e1', 'other')]);
    await publish(admin, named('ERASE-ME', 'e1'));
    await database.write((query) => eraseFromOutbox(query, 'demo', 'e1'));
    const { rows } = await admin.query(
      'SELECT drafts::text AS text FROM outbox UNION ALL SELECT draft::text FROM outbox_refused',
    );
    expect(rows.map(({ text }) => text).join()).not.toContain('ERASE-ME');
    startMover();
    await settled();
    expect(logged.map(({ event }) => (event as { message: string }).message)).toEqual(['stays', 'stays too']);
  });

  test('[M39] a deep, a huge and a strange draft are refused or moved, and never stop the mover', async () => {
    const { admin, startMover, settled, logged, count } = await place();
    startMover();
    const deep = `${'{"a":'.repeat(2_000)}1${'}'.repeat(2_000)}`;
    const strange = [
      `{"type": "run.started", "projectId": "demo", "runId": "r1", "deep": ${deep}}`,
      deep,
      '{"type": "stage.progress", "projectId": "demo", "runId": "r1", "stageId": "s1", "progress": 1e400}',
      '{"type": "stage.progress", "projectId": "demo", "runId": "r1", "stageId": "s1", "done": 9007199254740993}',
      '{"__proto__": {"type": "run.started"}, "projectId": "demo"}',
      JSON.stringify({ ...started('r1'), eventId: 'x'.repeat(500_000) }),
      JSON.stringify({ ...started('r1'), eventId: null }),
      JSON.stringify({ ...started('r1'), runId: 'x'.repeat(1_000_000) }),
      JSON.stringify({ ...started('r1'), toJSON: 1, constructor: { prototype: {} } }),
    ];
    for (const text of strange) await admin.query('SELECT runwire_publish($1::jsonb)', [text]);
    await publish(admin, started('last'));
    await settled();
    expect(runsOf(logged)).toEqual(['last']);
    expect(await count('outbox_refused')).toBe(strange.length);
  });

  test('[M39] a draft on which the log fails is refused after some tries, and drafts that are too many together are logged', async () => {
    const { admin, bus, startMover, settled, logged } = await place();
    let tries = 0;
    const failing: Pick<typeof bus, 'publish'> = {
      publish: (drafts, publisher) => {
        if (!drafts.some(({ runId }) => runId === 'poison')) return bus.publish(drafts, publisher);
        if (drafts.length === 1) tries++;
        return Promise.reject(new TypeError('a defect'));
      },
    };
    const plan = (runId: string) => {
      const stages = Array.from({ length: 6_000 }, (_, at) => ({ stageId: `s${at}`, name: 's' }));
      return { type: 'run.created', projectId: 'demo', runId, name: runId, stages };
    };
    await publish(admin, [started('r1'), started('poison'), started('r2')]);
    await publish(admin, [plan('p1'), plan('p2')]);
    startMover({ bus: failing as never });
    await expect.poll(() => new Set(runsOf(logged))).toEqual(new Set(['r1', 'r2', 'p1', 'p2']));
    await settled();
    expect(tries).toBe(3);
    const { rows } = await admin.query(`SELECT code, message, draft ->> 'runId' AS run FROM outbox_refused`);
    expect(rows).toEqual([{ code: 'INTERNAL', message: 'an internal error', run: 'poison' }]);
  });
});
