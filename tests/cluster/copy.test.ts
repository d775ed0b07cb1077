import { readFileSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { DatabaseSync } from '@photostructure/sqlite';
import { Client } from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import type { StoredEvent } from '../../server/event-log/contract/log.ts';
import { copyToPostgres } from '../../server/event-log/copy.ts';
import { openPostgresLog } from '../../server/event-log/postgres/log.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal } from '../../shared/protocol.ts';
import { created, everyone, openServer, progress, take, temporaryFolder } from '../support/harness.ts';
import { createDatabase, dropDatabase } from '../support/postgres.ts';
import { sampleRuns } from '../support/sample-runs.ts';

/** `runwire copy`: a log moves from a file to PostgreSQL. */

const postgres = inject('postgres');
type Server = Awaited<ReturnType<typeof openServer>>;

async function place() {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  const url = await createDatabase(postgres as string);
  onTestFinished(() => dropDatabase(postgres as string, url));
  const path = `${folder.path}/data/log.db`;
  const sql = new Client({ connectionString: url });
  sql.on('error', () => undefined);
  await sql.connect();
  onTestFinished(() => sql.end());
  return { folder: folder.path, path, url, sql, copy: () => copyToPostgres(path, url, () => undefined) };
}

/** A log with everything that a log can have. */
async function fill(path: string): Promise<void> {
  const server = await openServer({ databaseUrl: `file:${path}` });
  const admin = server.router.createCaller({ principal: everyone });
  for (const { actor, events } of sampleRuns(Date.now())) await server.bus.publish(events, { actor });
  const { approvals } = await admin.approval.list({ status: 'pending' });
  const [first] = approvals;
  if (first) {
    await server.router
      .createCaller({ principal: { ...everyone, sub: 'a.decider' } })
      .approval.grant({ runId: first.runId, projectId: first.projectId, approvalId: first.approvalId })
      .catch(() => undefined);
  }
  const { seq } = await server.bus.publish([progress('erased', 5, { message: 'ERASE-ME', audience: ['u1'] })], {
    actor: 'ci',
  });
  await server.bus.publish([created('big', { name: 'Größe 😀 "quoted" \\ back' })], { actor: 'ci' });
  await admin.audit.checkpoint();
  await admin.audit.erase({ seq, reason: 'a request' });
  await admin.auth.revoke({ sub: 'mal' });
  await admin.webhook.create({
    name: 'hook',
    url: 'https://hooks.example.org/x',
    filter: { projects: ['demo'] },
  } as never);
  await server.log.producerState.write('openlineage x', new Map([['k', 'v']]));
  await server.log.sessions.put({ id: 's1', sealed: 'sealed', endsAtMs: Date.now() + 1e9 });
  await server.close();
}

/** What clients can read of a log. */
async function contentOf(server: Server) {
  const { log, router } = server;
  const admin = router.createCaller({ principal: everyone });
  const records: StoredEvent[] = [];
  for (let after = 0; after < log.head; ) {
    const page = await log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
    records.push(...page.records);
    after = page.scannedTo;
  }
  const { runs } = await admin.run.list({ limit: 100 });
  const views = [];
  for (const { runId, projectId } of runs) views.push((await admin.run.get({ runId, projectId })).run);
  const forUser = await log.read({ scope: { kind: 'user', userId: 'u1' }, after: 0, limit: 1_000 });
  return {
    ...{ epoch: log.epoch, head: log.head, headHash: log.headHashPrefix, oldest: log.oldest, secret: log.secret },
    key: log.integrity.publicKey,
    events: records.map(({ json, hashPrefix, seq, runSeq }) => ({ json, hashPrefix, seq, runSeq })),
    forUser: forUser.records.map(({ seq }) => seq),
    views,
    runs: runs.map(({ runId }) => runId),
    approvals: (await admin.approval.list({})).approvals,
    verdict: await admin.audit.verify({}),
    signed: (await log.integrity.signed()).erasures,
    revocations: (await log.revocations.all()).map(({ kind, id, atMs }) => ({ kind, id, atMs })),
    sessions: await log.sessions.all(),
    webhooks: (await log.webhooks.load()).map(({ record, deadLetters }) => ({ record, deadLetters })),
    state: [...(await log.producerState.read('openlineage x', ['k']))],
  };
}

test.skipIf(postgres === undefined)('the tests of copy need PostgreSQL', () => {
  expect(postgres).toBeDefined();
});

describe.skipIf(postgres === undefined)('runwire copy, to PostgreSQL', () => {
  test('[X30] the copy has positions, hashes, epoch, runs and everything beside the log, and verifies', async () => {
    const { path, url, copy } = await place();
    await fill(path);
    const source = await openServer({ databaseUrl: `file:${path}` });
    const before = await contentOf(source);
    expect(before).toMatchObject({ verdict: { ok: true }, signed: 1, revocations: [{ id: 'mal' }], webhooks: [{}] });
    await source.close();
    const copied = await copy();
    expect(copied).toMatchObject({ epoch: before.epoch, to: before.head, events: before.events.length });

    const target = await openServer({ databaseUrl: url });
    onTestFinished(() => target.close());
    expect(await contentOf(target)).toEqual(before);
    // It goes on after the copied events, also in their runs.
    await target.bus.publish([progress('big', 7), created('new')], { actor: 'ci' });
    const { verdict, head } = await contentOf(target);
    expect([verdict.ok, head]).toEqual([true, before.head + 2]);
    const admin = target.router.createCaller({ principal: everyone });
    await expect.poll(async () => (await admin.event.search({ text: 'Größe', limit: 5 })).events.length).toBe(1);
  });

  test('[X30] a client goes on from its cursor, without a gap', async () => {
    const { path, url, copy } = await place();
    const source = await openServer({ databaseUrl: `file:${path}` });
    await source.bus.publish([created('r1'), progress('r1', 1), progress('r1', 2)], { actor: 'ci' });
    const first = await take(
      await source.router.createCaller({ principal: everyone }).onRunEvent({ runId: 'r1', from: 'start' }),
      (_, items) => items.length === 2,
    );
    await source.close();
    await copy();
    const target = await openServer({ databaseUrl: url });
    onTestFinished(() => target.close());
    await target.bus.publish([progress('r1', 3)], { actor: 'ci' });
    const caller = target.router.createCaller({ principal: everyone });
    const lastEventId = first.cursors.at(-1) as string;
    const { items } = await take(await caller.onRunEvent({ runId: 'r1', lastEventId }), (_, all) => all.length === 3);
    expect(items.map((item) => (isSignal(item) ? item.type : (item as RunEvent).runSeq))).toEqual([
      3,
      4,
      'stream.live',
    ]);
  });

  test('[X30] a table of many batches is copied while the garbage collector runs', async () => {
    const { path, url } = await place();
    const source = await openServer({ databaseUrl: `file:${path}` });
    for (let batch = 0; batch < 5; batch++) {
      await source.bus.publish(
        Array.from({ length: 1_000 }, (_, i) => progress('r1', i % 100)),
        { actor: 'ci' },
      );
    }
    await source.close();
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    expect(await copyToPostgres(path, url, collect)).toMatchObject({ events: 5_000 });
  });

  test('[X31] a source that is in use and a target that has a log are refused, and not changed', async () => {
    const { path, url, copy, sql } = await place();
    await expect(copy()).rejects.toThrow(/there is no database at/);
    const source = await openServer({ databaseUrl: `file:${path}` });
    await source.bus.publish([created('r1')], { actor: 'ci' });
    await expect(copy()).rejects.toThrow(/another runwire server has this database open/);
    await source.close();
    const target = await openServer({ databaseUrl: url });
    await expect(copy()).rejects.toThrow(/a server runs on the target/);
    await target.bus.publish([created('own')], { actor: 'ci' });
    await target.close();
    await expect(copy()).rejects.toThrow(/the target has a log/);
    expect((await sql.query('SELECT run_id FROM events')).rows).toEqual([{ run_id: 'own' }]);
    await (await openServer({ databaseUrl: url })).close(); // It still starts.
  });

  test('[X31] no server starts on a copy that was interrupted, until it is copied again', async () => {
    const { path, url, sql, copy } = await place();
    await fill(path);
    const interrupted = copyToPostgres(path, url, (table) => {
      if (table !== 'events') return;
      void sql.query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      );
    });
    await expect(interrupted).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(openServer({ databaseUrl: url })).rejects.toThrow(/a copy into it was not finished/);
    await copy();
    const target = await openServer({ databaseUrl: url });
    expect(await target.log.integrity.verify()).toMatchObject({ ok: true });
    await target.close();
  });

  test('[X31] a log that does not verify is not copied', async () => {
    const { path, url, copy } = await place();
    await fill(path);
    const db = new DatabaseSync(path);
    db.exec(`UPDATE events SET payload = replace(payload, 'Größe', 'Kleine') WHERE payload LIKE '%Größe%'`);
    db.close();
    await expect(copy()).rejects.toThrow(/does not verify at seq \d+ \(payload\)/);
    await expect(openServer({ databaseUrl: url })).rejects.toThrow(/a copy into it was not finished/);
  });

  test('[X30] keys that were replaced, trims and renewed epochs are copied', async () => {
    const { folder, path, url, copy } = await place();
    const source = await openServer({ databaseUrl: `file:${path}` });
    await source.bus.publish([created('r1'), created('r2'), created('r3')], { actor: 'ci' });
    await source.log.trim(Date.now() + 1_000);
    await source.log.integrity.renewEpoch('a test');
    await source.bus.publish([created('r4')], { actor: 'ci' });
    await source.close();
    // A new key in front of the former one.
    const keyPath = `${folder}/data/audit.key`;
    const { AuditKeys } = await import('../../server/event-log/integrity/keys.ts');
    writeFileSync(keyPath, AuditKeys.newPem() + readFileSync(keyPath, 'utf8'));
    const { epoch } = await copy();
    const log = await openPostgresLog({ url, fold: () => undefined });
    onTestFinished(() => log.close());
    expect([log.epoch, log.oldest, log.head]).toEqual([epoch, 3, 4]);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, from: 3, to: 4 });
  });
});
