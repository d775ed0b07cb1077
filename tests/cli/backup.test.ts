import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { cliPath, runCli } from '../support/cli-harness.ts';
import { created, everyone, openServer, progress, take, temporaryFolder } from '../support/harness.ts';

const publisher = { actor: 'ci' };
const isSignal = (item: object) => 'type' in item && String(item.type).startsWith('stream.');

/** A folder, and functions that open a server on its database and run the command line on it. */
function setUp() {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  const at = (name: string) => join(folder.path, name);
  const cliOn = (database: string, ...args: string[]) =>
    runCli(args, { cwd: folder.path, env: { DATABASE_URL: `file:${at(database)}`, AUTH_SECRET: 'x'.repeat(32) } });
  const open = (database = 'data/runwire.db') => openServer({ databaseUrl: `file:${at(database)}` });
  return { at, cliOn, open, files: () => readdirSync(folder.path).sort() };
}

const drafts = (runId: string, count: number) => [
  created(runId),
  ...Array.from({ length: count - 1 }, (_, value) => progress(runId, value % 100)),
];

test('[X20] a backup under load is whole, and its restore has a new epoch: each client gets a gap', async () => {
  const { at, cliOn, open } = setUp();
  await using server = await open();
  await server.bus.publish(drafts('r1', 500), publisher);
  let published = 0;
  let isDone = false;
  const load = (async () => {
    while (!isDone) {
      await server.bus.publish(drafts(`load-${published}`, 50), publisher);
      published++;
      await new Promise(setImmediate);
    }
  })();
  const made = await cliOn('data/runwire.db', 'backup', 'log.backup');
  isDone = true;
  await load;
  expect(made).toMatchObject({ code: 0, stderr: '' });
  expect(published).toBeGreaterThan(1);
  const seq = Number(
    /^ok: backup up to seq (\d+), epoch [0-9a-f]{16}, head [0-9a-f]{64}, key \S+\n$/.exec(made.stdout)?.[1],
  );
  expect(seq % 50).toBe(0); // Each commit is whole.
  expect(statSync(at('log.backup')).mode & 0o777).toBe(0o600);
  const caller = server.router.createCaller({ principal: everyone });
  const { cursors } = await take(await caller.onEvent({}), isSignal);
  const { epoch } = server.log;
  await server.close();

  rmSync(at('data'), { recursive: true });
  const restored = await cliOn('data/runwire.db', 'restore', 'log.backup');
  expect(restored).toMatchObject({ code: 0, stderr: '' });
  expect(restored.stdout).toContain(`ok: restored ${seq} events, seq 1 to ${seq}`);
  expect(restored.stdout).toMatch(/audit.key now trusts the key [0-9a-f]{16} of the backup/);
  for (const name of ['runwire.db', 'audit.key', 'checkpoints.ndjson']) {
    expect(statSync(at(`data/${name}`)).mode & 0o777, name).toBe(0o600);
  }
  expect(readdirSync(at('data')).filter((name) => name.includes('.part'))).toEqual([]);
  await using again = await open();
  expect(again.log.head).toBe(seq);
  expect(again.log.epoch).not.toBe(epoch);
  expect(await again.log.integrity.verify()).toMatchObject({ ok: true, to: seq });
  const stream = await again.router.createCaller({ principal: everyone }).onEvent({ lastEventId: cursors[0] });
  const { items } = await take(stream, isSignal);
  expect(items).toEqual([{ type: 'stream.gap', reason: 'epoch_changed', fromSeq: 1, toSeq: seq }]);
  const renewed = again.log.epoch;
  await again.close();
  await using third = await open();
  expect(third.log.epoch).toBe(renewed);
});

test('[X20] a restore refuses a served database, a database with a log, and what is not an intact backup', async () => {
  const { at, cliOn, open } = setUp();
  const server = await open();
  await server.bus.publish(drafts('r1', 20), publisher);
  expect(await cliOn('data/runwire.db', 'backup', 'log.backup')).toMatchObject({ code: 0 });
  const served = await cliOn('data/runwire.db', 'restore', 'log.backup');
  expect(served.code).toBe(1);
  expect(served.stderr).toContain('another runwire server has this database open');
  await server.close();
  const kept = readFileSync(at('data/runwire.db'));
  const occupied = await cliOn('data/runwire.db', 'restore', 'log.backup');
  expect(occupied.code).toBe(1);
  expect(occupied.stderr).toContain('move it and its -wal file');
  expect(readFileSync(at('data/runwire.db')).equals(kept)).toBe(true);

  copyFileSync(at('data/runwire.db'), at('plain.db'));
  writeFileSync(at('text'), 'not a database '.repeat(100));
  copyFileSync(at('log.backup'), at('altered'));
  const altered = new DatabaseSync(at('altered'));
  altered.exec("UPDATE events SET payload = replace(payload, 'r1', 'rX') WHERE seq = 7");
  altered.close();
  copyFileSync(at('log.backup'), at('short'));
  const short = new DatabaseSync(at('short'));
  short.exec('DELETE FROM events WHERE seq > 15');
  short.close();
  for (const [name, message] of [
    ['missing', 'there is no file'],
    ['text', 'belongs to another program'],
    ['plain.db', 'not a backup'],
    ['altered', 'broken at seq 7: payload'],
    ['short', 'broken at seq 16: missing'],
  ] as const) {
    const { code, stderr } = await cliOn('new/runwire.db', 'restore', name);
    expect({ name, code }).toEqual({ name, code: 1 });
    if (name !== 'text') expect(stderr).toContain(message);
    expect(existsSync(at('new/runwire.db'))).toBe(false);
  }
  const again = await cliOn('data/runwire.db', 'backup', 'log.backup');
  expect(again.code).toBe(1);
  expect(again.stderr).toContain('exists: name another file');
});

test('[X20] a backup or a restore that is killed leaves no file under its name, or the whole one', async () => {
  const { at, cliOn, open } = setUp();
  const server = await open();
  await server.bus.publish(drafts('r1', 1_000), publisher);
  await server.bus.publish(drafts('r2', 1_000), publisher);
  await server.close();
  expect(await cliOn('data/runwire.db', 'backup', 'whole')).toMatchObject({ code: 0 });
  const outcomes = new Set<boolean>();
  const killedAfter = async (ms: number, database: string, args: string[], result: string) => {
    const env = { PATH: process.env.PATH ?? '', DATABASE_URL: `file:${at(database)}`, AUTH_SECRET: 'x'.repeat(32) };
    const child = spawn(process.execPath, [cliPath, ...args], { cwd: at('.'), env });
    const ended = new Promise((resolve) => child.once('close', resolve));
    setTimeout(() => child.kill('SIGKILL'), ms);
    await ended;
    outcomes.add(existsSync(at(result)));
    return existsSync(at(result));
  };
  for (let round = 0; round < 8; round++) {
    const ms = 120 + round * 60;
    const backup = `backup-${round}`;
    if (await killedAfter(ms, 'data/runwire.db', ['backup', backup], backup)) {
      expect(await cliOn(`check-${round}/runwire.db`, 'restore', backup)).toMatchObject({ code: 0 });
    } else expect(await cliOn('data/runwire.db', 'backup', backup)).toMatchObject({ code: 0 });
    const database = `restored-${round}/runwire.db`;
    if (!(await killedAfter(ms, database, ['restore', 'whole'], database))) {
      expect(await cliOn(database, 'restore', 'whole')).toMatchObject({ code: 0 });
    }
    const restored = await open(database);
    expect(await restored.log.integrity.verify()).toMatchObject({ ok: true, to: 2_000 });
    await restored.close();
    expect(readdirSync(at(`restored-${round}`)).filter((name) => name.includes('.part'))).toEqual([]);
  }
});

test('[V20] a log that lost events since its newest checkpoint gets a new epoch at the start, once', async () => {
  const { at, open } = setUp();
  let server = await open();
  await server.bus.publish(drafts('r1', 10), publisher);
  await server.close();
  copyFileSync(at('data/runwire.db'), at('copy'));
  server = await open();
  const { epoch } = server.log;
  await server.bus.publish(drafts('r2', 10), publisher);
  const { cursors } = await take(await server.router.createCaller({ principal: everyone }).onEvent({}), isSignal);
  await server.close();

  copyFileSync(at('copy'), at('data/runwire.db'));
  server = await open();
  const renewed = server.log.epoch;
  expect(renewed).not.toBe(epoch);
  const caller = server.router.createCaller({ principal: everyone });
  const { items } = await take(await caller.onEvent({ lastEventId: cursors[0] }), isSignal);
  expect(items).toMatchObject([{ type: 'stream.gap', reason: 'epoch_changed' }]);
  expect((await caller.audit.access({ action: 'log.epoch' })).entries).toMatchObject([{ detail: 'checkpoint' }]);
  expect(await server.log.integrity.verify()).toMatchObject({ ok: true, to: 10 });
  await server.close();
  server = await open();
  expect(server.log.epoch).toBe(renewed);
  await server.close();
});

test('[V20] a log gets a new epoch at the start when its last row is not the one that was logged last', async () => {
  const { at, open } = setUp();
  let server = await open();
  await server.bus.publish(drafts('r1', 10), publisher);
  const { epoch } = server.log;
  await server.close();
  const db = new DatabaseSync(at('data/runwire.db'));
  db.exec('DELETE FROM events WHERE seq = 10');
  db.close();
  server = await open();
  expect(server.log.epoch).not.toBe(epoch);
  const caller = server.router.createCaller({ principal: everyone });
  expect((await caller.audit.access({ action: 'log.epoch' })).entries).toMatchObject([{ detail: 'damaged' }]);
  await server.close();
});

test('[V20] a new log beside the checkpoints of another one is reported', async () => {
  const { at, open } = setUp();
  let server = await open();
  await server.bus.publish(drafts('r1', 10), publisher);
  await server.close();
  writeFileSync(at('data/runwire.db'), '');
  server = await open();
  const caller = server.router.createCaller({ principal: everyone });
  expect((await caller.audit.access({ action: 'log.epoch' })).entries).toMatchObject([{ detail: 'replaced' }]);
  await server.close();
});
