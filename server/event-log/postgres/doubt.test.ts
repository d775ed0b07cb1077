import { once } from 'node:events';
import { connect as connectTo, createServer, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { RunwireError } from '../../../shared/errors.ts';
import { connect, newDatabase, open } from '../../../tests/support/postgres-log.ts';
import { append, created, readAll, seqs, started, upTo } from '../conformance/kit.ts';
import { CommitConnection } from './commit-connection.ts';

/** Commits with a connection that fails: the statement may or may not have taken effect. */

const server = inject('postgres') as string;

/**
 * A proxy before PostgreSQL. `cut` decides, for the connection that sends a commit, what happens to it:
 * - `sent`: the statement is passed on, and the connection to the node ends at once. The server commits.
 * - `answered`: the connection to the node ends when the answer of the server arrives.
 * - `lost`: the statement is not passed on, and both connections end.
 * - `late`: the connection to the node ends, and the statement is passed on once `release` is called.
 */
type Cut = 'sent' | 'answered' | 'lost' | 'late';

async function startProxy(url: string) {
  const { port, hostname } = new URL(url);
  let cut: Cut | undefined;
  let cuts = 0;
  let release = () => {};
  const sockets = new Set<Socket>();
  const proxy = createServer((node) => {
    const store = connectTo(Number(port), hostname);
    for (const socket of [node, store]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
    }
    let isCut = false;
    let isWaiting = false;
    node.on('data', (data: Buffer) => {
      // The commit is prepared under this name; from then on, each Bind message names it.
      if (cut && data.includes('commit\0')) {
        const how = cut;
        cut = undefined;
        cuts++;
        isCut = true;
        if (how === 'answered') isWaiting = true;
        else if (how === 'lost') store.destroy();
        else if (how === 'late') release = () => store.write(data);
        if (how === 'sent' || how === 'answered') store.write(data);
        if (how !== 'answered') node.destroy();
        return;
      }
      if (!isCut) store.write(data);
    });
    store.on('data', (data) => {
      if (isWaiting) node.destroy();
      else if (!node.destroyed) node.write(data);
    });
    node.on('close', () => {
      if (!isCut) store.destroy();
    });
    store.on('close', () => node.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const address = new URL(url);
  address.port = String((proxy.address() as { port: number }).port);
  return {
    url: address.href,
    cutNext: (how: Cut) => {
      cut = how;
    },
    get cuts() {
      return cuts;
    },
    release: () => release(),
  };
}

/** A check that refuses the repetition of a commit. */
function allowOnce(): () => void {
  let calls = 0;
  return () => {
    if (calls++ > 0) throw new RunwireError('NOT_ALLOWED_TO_DECIDE', 'no');
  };
}

describe.skipIf(server === undefined)('commits in doubt in PostgreSQL', () => {
  test('[L52] a connection that fails during a commit loses no event, stores none twice, and the answer is certain', async () => {
    const url = await newDatabase();
    const proxy = await startProxy(url);
    const log = await open(proxy.url);
    const received: number[] = [];
    log.subscribe((records) => received.push(...seqs(records)));
    await append(log, created());
    let expected = 1;
    for (const how of ['sent', 'answered', 'lost', 'sent', 'answered', 'lost'] as const) {
      proxy.cutNext(how);
      const drafts = [started(), started({ runId: how }), created({ runId: how })];
      const [receipts, others] = await Promise.all([append(log, ...drafts), append(log, started())]);
      expect(receipts.map(({ seq, isDuplicate }) => [seq, isDuplicate])).toEqual(
        [1, 2, 3].map((offset) => [expected + offset, false]),
      );
      expect(others).toMatchObject([{ seq: expected + 4, isDuplicate: false }]);
      expected += 4;
      expect(await append(log, ...drafts)).toMatchObject(
        receipts.map(({ seq, runSeq }) => ({ seq, runSeq, isDuplicate: true })),
      );
    }
    expect(proxy.cuts).toBe(6);
    expect(received).toEqual(upTo(expected));
    expect(seqs(await readAll(log))).toEqual(upTo(expected));
  });

  test('[L52] a commit that arrives after its node has looked for it has no effect', async () => {
    const url = await newDatabase();
    const proxy = await startProxy(url);
    const log = await open(proxy.url);
    await append(log, created());
    proxy.cutNext('late');
    await expect(log.append({ actor: 'ci', drafts: [started()], check: allowOnce() })).rejects.toThrow(RunwireError);
    proxy.release();
    // The late statement has ended once the server is idle.
    const client = await connect(url);
    const others = `SELECT 1 FROM pg_stat_activity
      WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()`;
    while ((await client.query(others)).rows.length > 0);
    expect(await append(log, started())).toMatchObject([{ seq: 2, runSeq: 2 }]);
    expect((await client.query('SELECT count(*)::int AS count FROM events')).rows).toEqual([{ count: 2 }]);
  });

  test('[L52] a commit that waits for the head while its connection fails has no effect after its node has looked for it', async () => {
    const url = await newDatabase();
    const proxy = await startProxy(url);
    const log = await open(proxy.url);
    await append(log, created());
    const client = await connect(url);
    await client.query('BEGIN');
    await client.query('SELECT 1 FROM head FOR UPDATE');
    proxy.cutNext('sent');
    const appended = log.append({ actor: 'ci', drafts: [started()], check: allowOnce() });
    appended.catch(() => undefined);
    const waiting = `SELECT count(*)::int AS count FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%runwire_commit%'`;
    const watcher = await connect(url);
    // The statement, and the one that confirms the refusal.
    while ((await watcher.query(waiting)).rows[0].count < 2);
    await client.query('COMMIT');
    await expect(appended).rejects.toThrow(RunwireError);
    while ((await watcher.query(waiting)).rows[0].count > 0);
    expect((await watcher.query('SELECT count(*)::int AS count FROM events')).rows).toEqual([{ count: 1 }]);
  });

  test('[L24] [L52] while the database cannot be reached, commits are UNAVAILABLE and reported, until it can be reached', async () => {
    const url = await newDatabase();
    const reports: (string | undefined)[] = [];
    const health = {
      report: (condition: string, problem?: { message: string }) => {
        if (condition === 'commit') reports.push(problem?.message);
      },
      note: () => undefined,
    };
    const log = await open(url, { health });
    await append(log, created());
    const client = await connect(server);
    const name = new URL(url).pathname.slice(1);
    await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);
    await expect(append(log, started())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    // The reasons may differ: the connection ended, or the database accepts none.
    expect(reports.length).toBeGreaterThan(0);
    expect(reports).not.toContain(undefined);
    await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
    await expect.poll(() => reports.at(-1)).toBeUndefined();
    expect(await append(log, started())).toMatchObject([{ seq: 2 }]);
  });

  test('[L53] an error of the database reaches the caller and the log without values', async () => {
    const url = await newDatabase();
    const notes: unknown[] = [];
    const note = (...all: unknown[]) => notes.push(all);
    const report = (condition: string, problem: unknown) => problem && notes.push([condition, problem]);
    const log = await open(url, { health: { report, note } });
    const client = await connect(url);
    await client.query(`ALTER TABLE events ADD CHECK (event_id <> 'geheim')`);
    const error = (await append(log, started({ eventId: 'geheim' })).catch((reason: unknown) => reason)) as Error;
    expect(error).toMatchObject({ code: 'INTERNAL', cause: { code: '23514', table: 'events' } });
    expect(notes).toHaveLength(1);
    expect(inspect([error, notes], { depth: 9, showHidden: true })).not.toContain('geheim');
    expect(await append(log, started())).toMatchObject([{ seq: 1 }]);
  });

  test('[M61] the connection for commits closes also while PostgreSQL does not answer', async () => {
    const { port, hostname } = new URL(server);
    const sockets: Socket[] = [];
    const proxy = createServer((node) => {
      const store = connectTo(Number(port), hostname);
      sockets.push(node, store);
      node.pipe(store).pipe(node);
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    });
    const address = new URL(server);
    address.port = String((proxy.address() as { port: number }).port);
    const parts = { raise: async () => undefined, onOpen: () => undefined };
    const connection = new CommitConnection({ connectionString: address.href }, parts);
    await connection.open();
    for (const socket of sockets) socket.unpipe().pause();
    const ended = once(sockets[0] as Socket, 'close');
    await connection.close();
    expect(connection.isOpen).toBe(false);
    for (const socket of sockets) socket.resume();
    await ended;
  });
});
