import { describe, expect, inject, onTestFinished, test } from 'vitest';
import {
  commit,
  HeldMessages,
  joinNode,
  loseEnd,
  newLog,
  type TestNode,
  upTo,
  usersAt,
} from '../../../tests/support/nodes.ts';
import { StoredEvent } from '../contract/log.ts';
import { PostgresDatabase, type Query } from './database.ts';
import { Feed } from './feed.ts';
import { openSession } from './session.ts';

const server = inject('postgres') as string;
const LONG_MS = 20_000;

const seqsOf = (records: readonly StoredEvent[]) => records.map(({ seq }) => seq);
const textsOf = (records: readonly StoredEvent[]) => records.map(({ json }) => json);

/** Waits until a node has a position, and expects every position up to it once and in order. */
async function expectAll(node: TestNode, seq: number): Promise<void> {
  expect(await node.feed.reached(seq, LONG_MS)).toBe(true);
  expect(seqsOf(node.received)).toEqual(upTo(seq));
}

/** A feed alone, at the beginning of the log. Its reads are counted, and wait for `gate`. */
function openFeed(url: string) {
  const database = new PostgresDatabase(url, () => undefined);
  const session = openSession(database.options, LONG_MS);
  onTestFinished(async () => {
    await session.close();
    await database.close();
  });
  const reads = { count: 0, running: 0, most: 0, gate: Promise.resolve() };
  const query: Query = async (statement) => {
    reads.count++;
    reads.running++;
    reads.most = Math.max(reads.most, reads.running);
    await reads.gate;
    return session.query(statement).finally(() => reads.running--) as never;
  };
  const received: StoredEvent[] = [];
  const calls: number[] = [];
  const suspicions = { count: 0 };
  const open = async () => {
    const [row] = await session.query<{ epoch: string }>({ text: 'SELECT epoch FROM head' });
    const feed = new Feed({
      state: {
        epoch: row?.epoch ?? '',
        head: { seq: 0, hashPrefix: '00000000' },
        recordedAtMs: 0,
        oldest: 1,
        erasures: 0,
      },
      query,
      send: () => undefined,
      suspect: async () => {
        suspicions.count++;
        return true;
      },
      tombstonesAfter: async () => [],
      onFailure: (error) => {
        throw error;
      },
    });
    onTestFinished(() => feed.close());
    feed.subscribe((records) => {
      calls.push(records.length);
      received.push(...records);
    });
    return feed;
  };
  return { open, reads, received, calls, suspicions };
}

describe.skipIf(server === undefined)('the records of every node (PostgreSQL)', () => {
  test('[M10] without messages a node reads the records of the others, with users and hash prefixes', async () => {
    const { url, sql } = await newLog(server);
    const a = await joinNode(url);
    const b = await joinNode(url);
    await commit(sql, 40, a);
    await commit(sql, 3);
    for (const node of [a, b]) {
      await expectAll(node, 43);
      const users = node.received.map((record) => record.users?.toSorted());
      expect(users).toEqual(upTo(43).map((seq) => usersAt(seq).toSorted()));
      expect(node.log.head).toEqual({ seq: 43, hashPrefix: node.received.at(-1)?.hashPrefix });
    }
    expect(b.received.map(({ hashPrefix }) => hashPrefix)).toEqual(a.received.map(({ hashPrefix }) => hashPrefix));
    expect(textsOf(b.received)).toEqual(textsOf(a.received));
  });

  test('[M10] messages that are lost, repeated or reordered, and garbage, change nothing but the latency', async () => {
    const { url, sql } = await newLog(server);
    const held = new HeldMessages();
    const a = await joinNode(url, { backplane: held.open });
    const b = await joinNode(url, { backplane: held.open });
    for (const node of [a, b, a, a, b, a]) await commit(sql, 2, node);
    const [first, second, third, fourth, , sixth] = held.messages;
    held.give(
      '',
      'garbage',
      '{}\n{}',
      first?.slice(1),
      `${second?.slice(0, -3)}xxx`,
      first?.replace('"from":1', '"from":3'),
    );
    held.give(sixth, fourth, fourth, second, first, first, third, sixth);
    for (const node of [a, b]) await expectAll(node, 12);
    held.give(...held.messages, ...held.messages.toReversed());
    await commit(sql, 1, b);
    for (const node of [a, b]) await expectAll(node, 13);
    expect([a.failures, b.failures]).toEqual([[], []]);
  });

  test('[M10] a listener that throws disturbs neither the others nor the next records', async () => {
    const { url, sql } = await newLog(server);
    const a = await joinNode(url);
    const later: number[] = [];
    a.feed.subscribe(() => {
      throw new Error('a listener');
    });
    a.feed.subscribe((records) => void later.push(...seqsOf(records)));
    await commit(sql, 2, a);
    await commit(sql, 2);
    await expectAll(a, 4);
    expect(later).toEqual(upTo(4));
    expect(new Set(a.failures.map(({ message }) => message))).toEqual(new Set(['a listener of the event log failed']));
  });

  test('[M60] a node sends the records of its commits only while another node has a lease', async () => {
    const { url, sql } = await newLog(server);
    const held = new HeldMessages();
    const sent = () => held.messages.filter((message) => message.includes('"kind":"commit"')).length;
    const a = await joinNode(url, { backplane: held.open });
    await commit(sql, 2, a);
    expect(sent()).toBe(0);
    const b = await joinNode(url, { backplane: held.open });
    await commit(sql, 2, a);
    expect(sent()).toBe(1);
    await b.close();
    await a.look();
    await commit(sql, 2, a);
    expect(sent()).toBe(1);
  });

  test('[M11] records that arrive in a message that continues the history need no read', async () => {
    const { url, sql } = await newLog(server);
    const { open, reads, received } = openFeed(url);
    const feed = await open();
    const held = new HeldMessages();
    const a = await joinNode(url, { backplane: held.open });
    const commits = feedOf(a, feed);
    for (const _ of upTo(5)) await commit(sql, 3, a);
    for (const give of commits) give();
    expect(seqsOf(received)).toEqual(upTo(15));
    expect(reads.count).toBe(0);
  });

  test('[M11] what is missing before a known position is read at once, and only that, one read at a time', async () => {
    const { url, sql } = await newLog(server);
    const { open, reads, received, calls } = openFeed(url);
    const feed = await open();
    const a = await joinNode(url);
    const commits = feedOf(a, feed);
    for (const _ of upTo(20)) await commit(sql, 3, a);
    let release = () => {};
    reads.gate = new Promise((resolve) => {
      release = resolve;
    });
    // The second of the twenty is lost.
    for (const [index, give] of commits.entries()) if (index !== 1) give();
    expect([reads.count, seqsOf(received)]).toEqual([1, [1, 2, 3]]);
    release();
    expect(await feed.reached(60, LONG_MS)).toBe(true);
    expect(seqsOf(received)).toEqual(upTo(60));
    expect(reads).toMatchObject({ count: 1, most: 1 });
    expect(calls).toEqual(upTo(20).map(() => 3));
  });

  test('[M12] a node that is 100,000 events behind reads bounded pages, and other work gets its turn', async () => {
    const { url, sql } = await newLog(server);
    for (const _ of upTo(10)) await commit(sql, 10_000, undefined, 250);
    const { open, reads, received, calls } = openFeed(url);
    const feed = await open();
    let turns = 0;
    const turn = () => {
      turns++;
      if (received.length < 100_000) setImmediate(turn);
    };
    setImmediate(turn);
    feed.follow(100_000);
    expect(await feed.reached(100_000, 10 * LONG_MS)).toBe(true);
    expect(seqsOf(received)).toEqual(upTo(100_000));
    expect(Math.max(...calls)).toBeLessThanOrEqual(512);
    expect(reads.most).toBe(1);
    expect(turns).toBeGreaterThan(calls.length);
  });

  test('[M12] a page ends after 256 KiB of large events', async () => {
    const { url, sql } = await newLog(server);
    await commit(sql, 40, undefined, 60_000);
    const { open, received, calls } = openFeed(url);
    const feed = await open();
    feed.follow(40);
    expect(await feed.reached(40, LONG_MS)).toBe(true);
    expect(seqsOf(received)).toEqual(upTo(40));
    expect(Math.max(...calls)).toBeLessThanOrEqual(5);
  });

  test('[M12] records that wait for earlier ones are bounded, those of this node too: the rest is read back', async () => {
    const { url, sql } = await newLog(server);
    const { open, reads, received } = openFeed(url);
    const feed = await open();
    const a = await joinNode(url);
    const commits = feedOf(a, feed);
    for (const _ of upTo(30)) await commit(sql, 10, a, 40_000);
    let release = () => {};
    reads.gate = new Promise((resolve) => {
      release = resolve;
    });
    for (const give of commits.slice(1)) give();
    expect(feed.earlyLength).toBeLessThanOrEqual(8 * 1024 * 1024);
    expect(feed.earlyLength).toBeGreaterThan(7 * 1024 * 1024);
    expect(received).toEqual([]);
    release();
    expect(await feed.reached(300, LONG_MS)).toBe(true);
    expect(seqsOf(received)).toEqual(upTo(300));
    expect(feed.earlyLength).toBe(0);
  });

  test('[M13] records of another epoch, or after another row than the head of the node, are not used', async () => {
    const { url, sql } = await newLog(server);
    const { open, received, suspicions } = openFeed(url);
    const feed = await open();
    await commit(sql, 2);
    const record = (seq: number, json: string) =>
      new StoredEvent({
        seq,
        runSeq: seq,
        projectId: 'p',
        runId: 'r',
        type: 't',
        json,
        hashPrefix: 'ffffffff',
        users: [],
      });
    const forged = { from: 1, to: 1, erasures: 0, records: [record(1, 'forged')] };
    feed.received({ ...forged, epoch: 'another', prevHashPrefix: '00000000' });
    feed.received({ ...forged, epoch: feed.epoch, prevHashPrefix: 'eeeeeeee' });
    expect(suspicions.count).toBe(2);
    feed.follow(2);
    expect(await feed.reached(2, LONG_MS)).toBe(true);
    expect(textsOf(received).join()).not.toContain('forged');
    expect(seqsOf(received)).toEqual([1, 2]);
  });

  test('[M13] records from before an erasure that the node has applied are read again', async () => {
    const { url, sql } = await newLog(server);
    const { open, received, reads } = openFeed(url);
    const feed = await open();
    const a = await joinNode(url);
    const commits = feedOf(a, feed);
    await commit(sql, 2, a);
    await sql.query(`UPDATE events SET payload = 'erased' WHERE seq = 2`);
    await sql.query('UPDATE head SET erasures = 1');
    await feed.applyErasures(1);
    for (const give of commits) give();
    expect(received).toEqual([]);
    expect(await feed.reached(2, LONG_MS)).toBe(true);
    expect(textsOf(received)[1]).toBe('erased');
    expect(reads.count).toBe(1);
  });

  test('[M14] reached is false for a position that the store does not have, at the timeout, and when the node leaves', async () => {
    const { url, sql } = await newLog(server);
    const a = await joinNode(url);
    await commit(sql, 2);
    expect(await a.feed.reached(2, LONG_MS)).toBe(true);
    expect(await a.feed.reached(3, LONG_MS)).toBe(false);
    const { open, reads } = openFeed(url);
    const feed = await open();
    reads.gate = new Promise(() => undefined);
    feed.follow(2);
    expect(await feed.reached(1, 1)).toBe(false);
    const waiting = feed.reached(2);
    feed.close();
    expect(await waiting).toBe(false);
  });

  test('[M14] a position that a message announced and the store has lost is not waited for', async () => {
    const { url, sql } = await newLog(server);
    const { open } = openFeed(url);
    const feed = await open();
    await commit(sql, 3);
    await loseEnd(sql, 1);
    const reached = feed.reached(3);
    feed.received({ epoch: feed.epoch, from: 2, to: 3, erasures: 0, prevHashPrefix: 'ffffffff' });
    expect(await reached).toBe(false);
    expect(feed.head).toBe(1);
  });

  test('[M15] a node goes on after the rows that retention removed while it did not reach the store', async () => {
    const { url, sql } = await newLog(server);
    const { open, received } = openFeed(url);
    const feed = await open();
    await commit(sql, 10);
    await sql.query('DELETE FROM events WHERE seq <= 6');
    await sql.query('UPDATE head SET oldest = 7');
    feed.follow(10);
    expect(await feed.reached(10, LONG_MS)).toBe(true);
    expect(seqsOf(received)).toEqual([7, 8, 9, 10]);
  });

  test('[M15] a node goes on after the last position if retention has left no row, with one more read', async () => {
    const { url, sql } = await newLog(server);
    const { open, reads, received } = openFeed(url);
    const feed = await open();
    await commit(sql, 10);
    await sql.query('DELETE FROM events');
    feed.follow(10);
    expect(await feed.reached(10, LONG_MS)).toBe(true);
    expect(received).toEqual([]);
    expect(reads.count).toBe(2);
    await commit(sql, 1);
    feed.follow(11);
    expect(await feed.reached(11, LONG_MS)).toBe(true);
    expect(seqsOf(received)).toEqual([11]);
  });
});

/** The commits of a node from now on, as functions that give each of them to another feed. */
function feedOf(node: TestNode, feed: Feed): (() => void)[] {
  const commits: (() => void)[] = [];
  const { committed } = node.feed;
  node.feed.committed = (given) => {
    commits.push(() => committed.call(feed, given));
    committed.call(node.feed, given);
  };
  return commits;
}
