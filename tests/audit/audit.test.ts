import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { expect, onTestFinished, test, vi } from 'vitest';
import { z } from 'zod';
import { Audit } from '../../server/audit/audit.ts';
import type { Principal } from '../../server/auth/principal.ts';
import { isAttested } from '../../server/event-log/integrity/attestation.ts';
import { AuditKeys } from '../../server/event-log/integrity/keys.ts';
import { openSqliteLog } from '../../server/event-log/sqlite/log.ts';
import type { RunServer, RunServerOptions } from '../../server/run-server.ts';
import type { Checkpoint } from '../../shared/audit.ts';
import { RunwireError } from '../../shared/errors.ts';
import { foldOf } from '../../shared/event-table.ts';
import { foldEvent, isValidWebSocketEvent, type RunEvent, runwireEvents } from '../../shared/events.ts';
import * as field from '../../shared/fields.ts';
import { defineEvent } from '../../shared/registry.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { ERASED, tombstoneOf } from '../../shared/tombstone.ts';
import { runCli } from '../support/cli-harness.ts';
import {
  created,
  everyone,
  isLive,
  keptLog,
  openServer,
  progress,
  startServer,
  take,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';

const publisher = { actor: 'ci' };
const SECRET = 'Jane Doe, bed 7';

/** A folder that is deleted when the test finishes. */
function newFolder(): string {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  return folder.path;
}
const inFolder = (folder: string, options: RunServerOptions = {}): RunServerOptions => ({
  databaseUrl: `file:${join(folder, 'runwire.db')}`,
  ...options,
});
const callerOf = ({ router }: Pick<RunServer, 'router'>, principal: Principal = everyone) =>
  router.createCaller({ principal });

async function refusalOf(promise: Promise<unknown>): Promise<RunwireError> {
  const error = await promise.then(
    () => undefined,
    (reason: { cause?: unknown }) => (reason instanceof RunwireError ? reason : reason.cause),
  );
  expect(error).toBeInstanceOf(RunwireError);
  return error as RunwireError;
}

const linesOf = (path: string): Checkpoint[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Checkpoint);

test('[V5] [V6] the server writes signed checkpoints to a file, at close and on request, when the head has moved', async () => {
  const folder = newFolder();
  const path = join(folder, 'checkpoints.ndjson');
  const server = await openServer(inFolder(folder));
  await server.bus.publish([created('r1')], publisher);
  const first = await callerOf(server).audit.checkpoint();
  expect(await callerOf(server).audit.checkpoint()).toEqual(first);
  await server.bus.publish([progress('r1', 5)], publisher);
  await server.close();
  // The head has not moved in between.
  const idle = await openServer(inFolder(folder));
  await idle.close();

  const kept = linesOf(path);
  expect(kept.map(({ seq }) => seq)).toEqual([1, 2]);
  expect(kept[0]).toEqual(first.checkpoint);
  const keys = new AuditKeys(first.publicKey);
  for (const checkpoint of kept) {
    expect(isAttested(keys, 'checkpoint', checkpoint)).toBe(true);
    for (const change of [{ seq: 9 }, { hash: '0' }, { oldest: 9 }, { at: '' }, { epoch: 'x' }, { keyId: 'x' }]) {
      expect(isAttested(keys, 'checkpoint', { ...checkpoint, ...change }), JSON.stringify(change)).toBe(false);
    }
  }
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const again = await openServer(inFolder(folder));
  onTestFinished(() => again.close());
  const checkpoints = kept.map(({ seq, hash }) => ({ seq, hash }));
  expect(await callerOf(again).audit.verify({ checkpoints })).toMatchObject({ ok: true, to: 2 });
});

test('[V5] a checkpoint is signed after a time and after a number of events, and no publisher waits for it', async () => {
  const log = await openSqliteLog({ path: ':memory:', fold: foldEvent });
  const { logger } = keptLog();
  const taken: number[] = [];
  const watched = Object.assign(Object.create(log), {
    integrity: {
      checkpoint: async () => {
        const answer = await log.integrity.checkpoint();
        taken.push(answer.checkpoint.seq);
        return answer;
      },
    },
  });
  Object.defineProperty(watched, 'head', { get: () => log.head });
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const privacy = { guardText: (_: string, text: string) => text };
  const audit = new Audit({
    log: watched,
    privacy,
    tombstone: (event) => event,
    folder: undefined,
    logger,
    everyEvents: 10,
  });
  log.subscribe(() => audit.committed());
  onTestFinished(async () => {
    await audit.close();
    await log.close();
  });
  const publish = (count: number) =>
    log.append({
      actor: 'ci',
      drafts: Array.from({ length: count }, (_, index) => ({
        ...{ type: 'run.started', projectId: 'p', runId: 'r', timestamp: '2026-01-01T00:00:00.000Z' },
        eventId: `${log.head}-${index}`,
      })),
    });
  await publish(9);
  expect(taken).toEqual([]);
  await publish(3);
  // The publisher already has its response.
  expect(taken).toEqual([]);
  await expect.poll(() => taken).toEqual([12]);
  await publish(9);
  expect(taken).toEqual([12]);
  vi.advanceTimersByTime(10 * 60_000);
  await expect.poll(() => taken).toEqual([12, 21]);
  vi.advanceTimersByTime(20 * 60_000);
  await publish(1);
  vi.advanceTimersByTime(9 * 60_000);
  expect(taken).toEqual([12, 21]);
  await publish(9);
  // One is in progress.
  await audit.close();
  expect(taken).toEqual([12, 21, 31]);
});

test('[V2] [V8] audit.verify finds changes that another process makes while the server runs', async () => {
  const folder = newFolder();
  await using server = await startServer(inFolder(folder));
  const drafts = Array.from({ length: 20 }, (_, index) => progress('r1', index));
  await server.bus.publish(drafts, publisher);
  const verify = () => callerOf(server).audit.verify();
  expect(await verify()).toMatchObject({ ok: true, events: 20 });
  const db = new DatabaseSync(join(folder, 'runwire.db'));
  for (const [sql, seq, reason] of [
    [`UPDATE events SET payload = replace(payload, '"progress":4', '"progress":5') WHERE seq = 5`, 5, 'payload'],
    [`UPDATE events SET actor = 'eve' WHERE seq = 3`, 3, 'row'],
    ['DELETE FROM events WHERE seq = 2', 2, 'missing'],
  ] as const) {
    db.exec(sql);
    expect(await verify()).toEqual({ ok: false, seq, reason });
  }
  db.exec('DELETE FROM events WHERE seq > 1');
  expect(await verify()).toEqual({ ok: false, seq: 2, reason: 'missing' });
  db.close();
  expect(
    (await refusalOf(callerOf(server, { ...everyone, roles: ['viewer', 'producer', 'approver'] }).audit.verify())).code,
  ).toBe('FORBIDDEN');
});

test('[V7] [V8] a client that disconnects stops its verification, and the server logs no failure', async () => {
  const { logger, lines } = keptLog();
  await using server = await openServer({ logger });
  for (let batch = 0; batch < 3; batch++) {
    await server.bus.publish(
      Array.from({ length: 1_000 }, () => progress('r1', batch)),
      publisher,
    );
  }
  const leaving = new AbortController();
  const caller = server.router.createCaller({ principal: everyone }, { signal: leaving.signal });
  const verifying = refusalOf(caller.audit.verify());
  setImmediate(() => leaving.abort());
  expect((await verifying).code).toBe('INVALID_INPUT');
  expect(lines.filter((line) => line.includes('a procedure failed'))).toEqual([]);
  expect(await callerOf(server).audit.verify()).toMatchObject({ ok: true, events: 3_000 });
});

test('[V4] a log with a changed end is an error in the server log, and the server starts', async () => {
  const folder = newFolder();
  const before = await openServer(inFolder(folder));
  await before.bus.publish([created('r1'), progress('r1', 5)], publisher);
  await before.close();
  const db = new DatabaseSync(join(folder, 'runwire.db'));
  db.exec('DELETE FROM events WHERE seq = 2');
  db.close();
  const { logger, lines } = keptLog();
  await using server = await startServer(inFolder(folder, { logger }));
  const complaint = lines
    .map((line) => JSON.parse(line))
    .find(({ msg }) => msg.includes('does not match its stored hash'));
  expect(complaint).toMatchObject({ level: 50, seq: 2 });
  expect(await server.bus.publish([progress('r1', 6)], publisher)).toMatchObject({ seq: 3 });
  expect(await callerOf(server).audit.verify()).toEqual({ ok: false, seq: 2, reason: 'missing' });
});

test('[V10] [V11] readers of every kind receive the tombstone after the erasure, and continue', async () => {
  await using server = await startServer({ quietMs: 50 });
  const secret = progress('r1', 5, { message: SECRET, audience: ['ada'] });
  await server.bus.publish([created('r1', { name: SECRET, labels: { who: SECRET } }), secret], publisher);
  await using wire = await Wire.open(server.url);
  const live = wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' });
  await live.until(isLive);
  const headers = wire.subscribe<{ type?: string; name?: string }>('onRunSummary', { from: 'start' });
  await headers.until((item) => item.name === SECRET);

  const caller = callerOf(server);
  for (const seq of [1, 2]) {
    expect(await caller.audit.erase({ seq, reason: 'asked for' })).toMatchObject({
      seq,
      by: 'ada',
      reason: 'asked for',
    });
  }
  const replays = [
    await take<object>(await caller.onRunEvent({ runId: 'r1', from: 'start' }), isLive),
    await take<object>(await caller.onProjectEvent({ projectId: 'demo', from: 'start' }), isLive),
    await take<object>(await caller.onEvent({ from: 'start' }), isLive),
    await take<object>(await caller.onRunSummary({ from: 'start' }), isLive),
    { items: (await caller.run.history({ runId: 'r1' })).events as object[] },
  ];
  for (const { items } of replays) {
    expect(items.length).toBeGreaterThan(0);
    expect(JSON.stringify(items)).not.toContain(SECRET);
    for (const item of items)
      if ('runSeq' in item && 'recordedAt' in item) expect(isValidWebSocketEvent(item)).toBe(true);
  }
  const { items: own } = await take<object>(await caller.onUserEvent({ from: 'start' }), isLive);
  expect(own.filter((item) => !isLive(item))).toEqual([]);
  await using late = await Wire.open(server.url);
  const replay = late.subscribe('onRunEvent', { runId: 'r1', from: 'start' });
  await replay.until(isLive);
  const summaries = late.subscribe<object>('onRunSummary', { from: 'start' });
  await summaries.until(isLive);
  for (const path of ['run.get', 'run.history']) await late.call('query', path, { runId: 'r1' });
  await late.call('query', 'run.list', {});
  expect(late.texts.join()).not.toContain(SECRET);
  expect(replay.items).toMatchObject([{ name: ERASED, erased: true }, { message: ERASED, erased: true }, { seq: 2 }]);

  // A later reader misses nothing.
  await server.bus.publish([progress('r1', 9)], publisher);
  for (const stream of [live, replay]) {
    const items = (await stream.until((item) => 'progress' in item && item.progress === 9)) as RunEvent[];
    expect(items.filter((item) => 'runSeq' in item).map((item) => item.runSeq)).toEqual([1, 2, 3]);
  }
  const folded = new RunMemory();
  for (const event of (await caller.run.history({ runId: 'r1' })).events) foldEvent(folded, event as RunEvent);
  expect((await caller.run.get({ runId: 'r1' })).run).toEqual(folded.view());
});

test('[V11] a reader that holds read events for a full socket sends the tombstone instead', async () => {
  await using server = await openServer();
  const drafts = Array.from({ length: 10 }, (_, index) => progress('r1', index, { message: `${SECRET} ${index}` }));
  await server.bus.publish(drafts, publisher);
  for (const source of ['window', 'log']) {
    if (source === 'log') {
      // More than the window holds.
      const others = Array.from({ length: 1_000 }, (_, index) => progress('r2', index / 10));
      for (let batch = 0; batch < 5; batch++) await server.bus.publish(others, publisher);
    }
    const caller = callerOf(server);
    const stream = (await caller.onRunEvent({ runId: 'r1', from: 'start' }))[Symbol.asyncIterator]();
    // The first is sent; the reader holds the other nine.
    const head = (await stream.next()).value;
    expect(head?.[1]).toMatchObject({ seq: 1 });
    const seq = source === 'window' ? 5 : 6;
    await caller.audit.erase({ seq, reason: 'asked for' });
    const rest: RunEvent[] = [];
    while (rest.at(-1)?.seq !== 10) rest.push((await stream.next()).value?.[1] as RunEvent);
    await stream.return?.();
    expect(rest.map((event) => event.seq)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(rest.find((event) => event.seq === seq)).toMatchObject({ erased: true, message: ERASED });
    expect(JSON.stringify(rest)).not.toContain(`${SECRET} ${seq - 1}"`);
  }
});

test('[V13] [V14] an event that the caller may not erase is EVENT_NOT_FOUND, and a reason with an identifier is refused', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1', { projectId: 'secret' }), created('r2')], publisher);
  await using wire = await Wire.open(server.url, { token: await tokenFor({ projects: ['demo'], roles: ['admin'] }) });
  const erase = async (seq: unknown, reason: unknown = 'asked for') => {
    const { id: _, ...answer } = await wire.call('mutation', 'audit.erase', { seq, reason });
    return answer;
  };
  const hidden = await erase(1);
  expect(hidden.error?.data).toMatchObject({ runwireCode: 'EVENT_NOT_FOUND', httpStatus: 404, field: 'seq' });
  expect(await erase(99)).toEqual(hidden);
  for (const [seq, reason, field] of [
    [0, 'x', 'seq'],
    [1.5, 'x', 'seq'],
    ['2', 'x', 'seq'],
    [2, '', 'reason'],
    [2, 'x'.repeat(2_001), 'reason'],
  ]) {
    expect((await erase(seq, reason)).error?.data).toMatchObject({ runwireCode: 'INVALID_INPUT', field });
  }
  const refused = await erase(2, 'the patient with SSN 219-09-9999 asked for it');
  expect(refused.error?.data).toMatchObject({ runwireCode: 'PHI_REJECTED', field: 'reason' });
  expect(wire.texts.join()).not.toContain('219-09');
  expect((await server.log.integrity.verify()).ok && (await server.log.integrity.verify())).toMatchObject({
    erased: 0,
  });
  expect((await erase(2)).result?.data).toMatchObject({ seq: 2, by: 'ada', reason: 'asked for' });

  await using redacting = await openServer({ phiPolicy: 'redact' });
  await redacting.bus.publish([created('r1')], publisher);
  const erasure = await callerOf(redacting).audit.erase({ seq: 1, reason: 'SSN 219-09-9999' });
  expect(erasure.reason).toBe('SSN [SSN]');
});

test('[V14] a guard that throws refuses the reason', async () => {
  const guard = () => {
    throw new TypeError('a defect');
  };
  await using server = await openServer({ guard, logger: keptLog().logger });
  const error = await refusalOf(callerOf(server).audit.erase({ seq: 1, reason: 'asked for' }));
  expect(error).toMatchObject({ code: 'PHI_REJECTED', path: 'reason' });
});

test('[V15] an erasure removes every text that the schema of an own type does not declare as an id', async () => {
  const events = {
    ...runwireEvents,
    'sample.taken': defineEvent({
      type: 'sample.taken',
      category: 'sample',
      topic: 'jobs',
      fields: {
        note: z.string(),
        more: z.string().optional(),
        sampleId: field.onErase('kept', z.string()),
        kind: z.enum(['blood', 'swab']),
        volume: z.number(),
        isUrgent: z.boolean().default(false),
        taken: z.union([z.object({ by: z.string(), at: z.number() }), z.string()]).optional(),
        tags: z.array(z.string()).optional(),
        notes: z.array(z.string()),
        places: z.array(z.object({ ward: z.string(), bed: z.number() })).optional(),
        extra: z.record(z.string(), z.unknown()).optional(),
        any: z.unknown().optional(),
        pair: z.tuple([z.string(), z.number()]).optional(),
        link: z.url(),
        nothing: z.string().nullable(),
        deep: z.lazy(() => z.object({ text: z.string().trim() })).optional(),
      },
      check: {
        path: 'more',
        message: 'needs more, or tags',
        holds: (event) => event.more !== undefined || event.tags !== undefined,
      },
    }),
  };
  await using server = await openServer({ events } as object);
  const draft = {
    ...{ type: 'sample.taken', projectId: 'demo', runId: 'r1', note: SECRET, more: SECRET, sampleId: 's-1' },
    ...{
      kind: 'blood',
      volume: 3,
      isUrgent: true,
      taken: { by: SECRET, at: 5 },
      tags: [SECRET, SECRET],
      notes: [SECRET],
    },
    ...{ places: [{ ward: SECRET, bed: 7 }], extra: { [SECRET]: [SECRET] }, any: { deep: SECRET }, pair: [SECRET, 2] },
    ...{ link: `https://example.org/${SECRET}`, nothing: null, deep: { text: SECRET } },
  };
  await server.bus.publish([draft as never], publisher);
  await callerOf(server).audit.erase({ seq: 1, reason: 'asked for' });
  const [event] = (await callerOf(server).run.history({ runId: 'r1' })).events as object[];
  expect(JSON.stringify(event)).not.toContain('Jane');
  expect(event).toMatchObject({
    ...{ sampleId: 's-1', kind: 'blood', volume: 3, isUrgent: true, note: ERASED, notes: [ERASED], nothing: null },
    ...{ taken: { by: ERASED, at: 5 }, places: [{ ward: ERASED, bed: 7 }], pair: [ERASED, 2], erased: true },
  });
  expect(await server.log.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
});

test('[V15] an event of an unregistered type keeps only its envelope', () => {
  const logged = {
    ...{
      type: 'gone.since',
      projectId: 'p',
      runId: 'r',
      timestamp: '2026-01-01T00:00:00.000Z',
      eventId: 'e',
      actor: 'ci',
    },
    ...{ recordedAt: '2026-01-01T00:00:00.000Z', seq: 1, runSeq: 1 },
  };
  const tombstone = tombstoneOf(runwireEvents)({ ...logged, audience: ['ann'], note: SECRET });
  expect(tombstone).toEqual({ ...logged, erased: true });
  foldOf(runwireEvents)(new RunMemory(), tombstone as never);
});

test('[V10] a draft with an erased mark is refused', async () => {
  await using server = await openServer();
  const error = await refusalOf(server.bus.publish([created('r1', { erased: true }) as never], publisher));
  expect(error).toMatchObject({ code: 'INVALID_EVENT', issues: [{ path: 'erased' }] });
});

/** A folder with a running server and a database, and the environment for a command. */
async function setUp() {
  const cwd = newFolder();
  const server = await startServer(inFolder(cwd));
  onTestFinished(() => server.close());
  const token = await tokenFor();
  return { cwd, server, env: { RUNWIRE_URL: server.url, RUNWIRE_TOKEN: token } };
}

test('[V6] [V8] verify and checkpoint work on the command line, on a server and on a file', async () => {
  const { cwd, server, env } = await setUp();
  const run = (...args: string[]) => runCli(args, { cwd, env });
  const inFile = ['verify', '--database', `file:${join(cwd, 'runwire.db')}`];
  const keep = async () => (await run('checkpoint')).stdout;
  await server.bus.publish([created('r1'), progress('r1', 5)], publisher);
  const first = await keep();
  await server.bus.publish([progress('r1', 6)], publisher);
  writeFileSync(join(cwd, 'kept.ndjson'), `${first}\n${await keep()}`);
  writeFileSync(join(cwd, 'key.pem'), (await run('checkpoint', '--public-key')).stdout);
  const withKept = ['--checkpoints', 'kept.ndjson'];

  const ok = /^ok: 3 events, seq 1 to 3, 0 erased, head [0-9a-f]{64}\n$/;
  expect(await run('verify')).toMatchObject({ code: 0, stdout: expect.stringMatching(ok), stderr: '' });
  expect(await run(...inFile)).toMatchObject({ code: 0, stdout: expect.stringMatching(ok), stderr: '' });
  for (const args of [['verify'], inFile]) {
    for (const key of [[], ['--key', 'key.pem']]) {
      const { code, stdout } = await run(...args, ...withKept, ...key);
      expect([code, stdout]).toEqual([0, expect.stringMatching(/, 2 checkpoints match\n$/)]);
    }
  }

  const bad = { ...JSON.parse(first), at: '2020-01-01T00:00:00.000Z' };
  writeFileSync(join(cwd, 'forged.ndjson'), `${first}${JSON.stringify(bad)}\n`);
  writeFileSync(join(cwd, 'garbage.ndjson'), `${first}SECRET\n`);
  writeFileSync(join(cwd, 'other.pem'), AuditKeys.make().publicKey);
  const forged = 'runwire: the checkpoint of line 2 (seq 2) is not signed by the key\n';
  for (const args of [['verify'], inFile]) {
    expect(await run(...args, '--checkpoints', 'forged.ndjson')).toMatchObject({ code: 1, stderr: forged });
    const other = await run(...args, ...withKept, '--key', 'other.pem');
    expect(other).toMatchObject({ code: 1, stderr: forged.replace('line 2', 'line 1') });
    const usage = await run(...args, '--checkpoints', 'garbage.ndjson');
    expect(usage).toMatchObject({ code: 2, stderr: 'runwire: --checkpoints: line 2 is not a checkpoint\n' });
    expect((await run(...args, '--checkpoints', 'nowhere')).code).toBe(2);
    expect((await run(...args, '--key', 'kept.ndjson')).code).toBe(2);
  }
  expect((await run('verify', '--database', 'runwire.db')).code).toBe(2);
  expect((await run('verify', '--database', 'file:nowhere.db')).code).toBe(2);
  expect((await run('verify', '--database', 'file:kept.ndjson')).code).toBe(1);
  expect((await run(...inFile, '--url', server.url)).code).toBe(2);
  const nobody = await runCli(['verify', '--url', 'http://127.0.0.1:1'], { cwd, env });
  expect(nobody).toMatchObject({
    code: 1,
    stderr: 'runwire: UNAVAILABLE: the server at http://127.0.0.1:1 cannot be reached\n',
  });
  const viewer = { ...env, RUNWIRE_TOKEN: await tokenFor({ roles: ['viewer'] }) };
  expect(await runCli(['verify'], { cwd, env: viewer })).toMatchObject({
    code: 1,
    stderr: 'runwire: FORBIDDEN: not allowed: verify\n',
  });

  // Truncated, with a matching head.
  const db = new DatabaseSync(join(cwd, 'runwire.db'));
  db.exec(`UPDATE log_head SET seq = 2, hash = (SELECT prev_hash FROM events WHERE seq = 3);
    DELETE FROM events WHERE seq = 3; DELETE FROM checkpoints WHERE seq = 3`);
  db.close();
  expect(await run(...inFile)).toMatchObject({ code: 0 });
  const cut = { code: 1, stdout: 'broken at seq 3: checkpoint: a checkpoint has another hash\n', stderr: '' };
  expect(await run(...inFile, ...withKept)).toMatchObject(cut);
  expect(await run('verify')).toMatchObject({ code: 1, stdout: 'broken at seq 3: missing: the row is missing\n' });
  const elsewhere = await startServer(inFolder(newFolder()));
  onTestFinished(() => elsewhere.close());
  const other = await run('verify', ...withKept, '--key', 'key.pem', '--url', elsewhere.url);
  expect(other).toMatchObject({ code: 1, stderr: 'runwire: the checkpoint of line 1 (seq 2) is of another log\n' });
});

test('[V10] [V13] erase works on the command line', async () => {
  const { cwd, server, env } = await setUp();
  await server.bus.publish([created('r1', { name: SECRET })], publisher);
  const run = (...args: string[]) => runCli(['erase', ...args, '--yes'], { cwd, env });
  const erased = await run('--seq', '1', '--reason', 'asked for');
  expect(JSON.parse(erased.stdout)).toMatchObject({ seq: 1, by: 'ada', reason: 'asked for' });
  expect(erased.code).toBe(0);
  expect((await run('--seq', '1', '--reason', 'again')).stdout).toBe(erased.stdout);
  expect(await run('--seq', '2', '--reason', 'x')).toMatchObject({
    code: 1,
    stderr: 'runwire: EVENT_NOT_FOUND: no such event, or not readable\n',
  });
  for (const args of [
    ['--seq', '1'],
    ['--reason', 'x'],
    ['--seq', '0', '--reason', 'x'],
    ['--seq', 'x', '--reason', 'x'],
  ])
    expect((await run(...args)).code).toBe(2);
  const files = readdirSync(cwd).filter((name) => readFileSync(join(cwd, name)).includes(SECRET));
  expect(files).toEqual([]);
  expect(await runCli(['verify'], { cwd, env })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('1 erased'),
  });
});
