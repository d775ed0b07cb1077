import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { commit, HeldMessages, joinNode, loseEnd, newLog, type TestNode, upTo } from '../../../tests/support/nodes.ts';
import { startPostgres } from '../../../tests/support/postgres.ts';
import { StoredEvent } from '../contract/log.ts';

const server = inject('postgres') as string;
const POLL = { timeout: 60_000 };
const LONG_MS = 30_000;

const seqs = (node: TestNode) => node.received.map(({ seq }) => seq);

/** Counts the calls of the listeners of `onEpoch`, with what the node knew then. */
function followEpochs(node: TestNode) {
  const epochs: { epoch: string; head: number }[] = [];
  node.feed.onEpoch(() => epochs.push({ epoch: node.log.epoch, head: node.log.head.seq }));
  return epochs;
}

describe.skipIf(server === undefined)('the pulse (PostgreSQL)', () => {
  test('[M20] a node is current while it reaches the store, and again once it does', async () => {
    const postgres = await startPostgres();
    onTestFinished(() => postgres.remove());
    const { url, sql } = await newLog(postgres.url);
    const a = await joinNode(url);
    expect(a.isCurrent).toBe(true);
    await commit(sql, 1);
    expect(await a.feed.reached(1, LONG_MS)).toBe(true);
    await postgres.stop('immediate');
    await expect.poll(() => a.isCurrent, POLL).toBe(false);
    expect(await a.look()).toBe(false);
    expect(a.failures.map(({ message }) => message)).toContain('the state of the event log cannot be read');
    await postgres.start();
    await expect.poll(() => a.isCurrent, POLL).toBe(true);
    expect(await a.durableHead()).toEqual(a.log.head);
  });

  test('[M20] without a row of its own a node is not current before it has one again', async () => {
    const { url, sql } = await newLog(server);
    const a = await joinNode(url);
    await sql.query('DELETE FROM nodes');
    expect(await a.look()).toBe(true);
    const { rows } = await sql.query('SELECT lease_until > clock_timestamp() AS ok FROM nodes');
    expect(rows).toEqual([{ ok: true }]);
  });

  test('[M21] a change of a revision calls its listeners on every node, at once with messages, and the node waits for them', async () => {
    const { url, sql } = await newLog(server);
    const held = new HeldMessages();
    const [a, b] = [await joinNode(url, { backplane: held.open }), await joinNode(url, { backplane: held.open })];
    const calls: string[] = [];
    let failures = 0;
    let isFailing = true;
    let finish = () => {};
    for (const [name, node] of Object.entries({ a, b }))
      node.onChange('sessions', () => calls.push(`${name} sessions`));
    b.onChange('revocations', () => {
      // A pulse of its own may come before the look of the test.
      if (isFailing) {
        failures++;
        throw new Error('the rows cannot be read');
      }
      calls.push('b revocations');
      return new Promise<void>((resolve) => (finish = resolve));
    });
    const change = (name: string) =>
      sql.query(
        `INSERT INTO revisions VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET revision = revisions.revision + 1`,
        [name],
      );
    await change('sessions');
    a.changed();
    held.give(...held.messages);
    expect(await Promise.all([a.look(), b.look()])).toEqual([true, true]);
    expect(calls.toSorted()).toEqual(['a sessions', 'b sessions']);
    await change('revocations');
    expect(await b.look()).toBe(false);
    expect(failures).toBeGreaterThan(0);
    isFailing = false;
    const looking = b.look();
    await expect.poll(() => calls).toContain('b revocations');
    await expect.poll(() => b.isCurrent, POLL).toBe(false);
    finish();
    expect(await looking).toBe(true);
    await expect.poll(() => b.isCurrent, POLL).toBe(true);
    expect(calls).toHaveLength(3);
  });

  test('[M22] an erasure is confirmed once every node with a lease has given the tombstone to its listeners', async () => {
    const { url, sql } = await newLog(server);
    await commit(sql, 3);
    const record = new StoredEvent({
      seq: 2,
      runSeq: 2,
      projectId: 'p',
      runId: 'r',
      type: 't',
      json: 'erased',
      users: [],
    });
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const tombstones = async (generation: number) => (generation === 0 ? [{ generation: 1, record }] : []);
    const a = await joinNode(url, { tombstonesAfter: tombstones });
    const b = await joinNode(url, {
      tombstonesAfter: async (generation) => {
        await gate;
        return tombstones(generation);
      },
    });
    const erased: [string, number][] = [];
    for (const node of [a, b]) node.feed.onErased(({ json }) => erased.push([json, node.log.erasures]));
    await sql.query('UPDATE head SET erasures = 1');
    a.changed();
    let isConfirmed = false;
    const confirmed = a.confirmed(1).then(() => {
      isConfirmed = true;
    });
    await expect.poll(() => erased).toEqual([['erased', 1]]);
    await expect.poll(() => b.isCurrent, POLL).toBe(false);
    expect(isConfirmed).toBe(false);
    release();
    await confirmed;
    expect(erased).toEqual([
      ['erased', 1],
      ['erased', 1],
    ]);
  });

  test('[M22] a node without a lease is not waited for', async () => {
    const { url, sql } = await newLog(server);
    const a = await joinNode(url);
    await sql.query(`INSERT INTO nodes VALUES ('gone', 1, clock_timestamp() + interval '1 hour', 0, '{}')`);
    await sql.query('UPDATE head SET erasures = 1');
    let isConfirmed = false;
    const confirmed = a.confirmed(1).then(() => {
      isConfirmed = true;
    });
    await expect.poll(() => a.log.erasures).toBe(1);
    await a.look();
    expect(isConfirmed).toBe(false);
    await sql.query(`UPDATE nodes SET lease_until = clock_timestamp() WHERE node_id = 'gone'`);
    await confirmed;
  });

  test('[M23] when the store has lost the end of the history, one new epoch begins, which every node takes', async () => {
    const { url, sql } = await newLog(server);
    const nodes = [await joinNode(url), await joinNode(url), await joinNode(url)];
    const [a] = nodes as [TestNode];
    await commit(sql, 10, a);
    for (const node of nodes) expect(await node.feed.reached(10, LONG_MS)).toBe(true);
    const before = a.log.epoch;
    const epochs = nodes.map(followEpochs);
    await loseEnd(sql, 6);
    for (const ofNode of epochs) await expect.poll(() => ofNode, POLL).toHaveLength(1);
    const { rows } = await sql.query('SELECT epoch, epoch_seq FROM head');
    const { epoch } = rows[0];
    expect(epoch).not.toBe(before);
    expect(epochs.map(([change]) => change)).toEqual(nodes.map(() => ({ epoch, head: 6 })));
    await commit(sql, 3, nodes[1]);
    for (const node of nodes) {
      expect(await node.feed.reached(9, LONG_MS)).toBe(true);
      expect(seqs(node)).toEqual([...upTo(10), 7, 8, 9]);
    }
  });

  test('[M23] the loss is noticed at once by a commit that does not continue the history, and records of before are not mixed in', async () => {
    const { url, sql } = await newLog(server);
    const held = new HeldMessages();
    const [a, b] = [await joinNode(url, { backplane: held.open }), await joinNode(url, { backplane: held.open })];
    await commit(sql, 10, a);
    for (const node of [a, b]) expect(await node.feed.reached(10, LONG_MS)).toBe(true);
    const lost = held.messages.slice();
    const epochs = [a, b].map(followEpochs);
    await loseEnd(sql, 6);
    await commit(sql, 20, a);
    held.give(...held.messages);
    for (const [index, node] of [a, b].entries()) {
      expect(await node.feed.reached(26, LONG_MS)).toBe(true);
      await expect.poll(() => epochs[index], POLL).toHaveLength(1);
      held.give(...lost, ...held.messages);
      expect(node.log.head.seq).toBe(26);
    }
    await commit(sql, 1, b);
    expect(await a.feed.reached(27, LONG_MS)).toBe(true);
    for (const node of [a, b]) {
      const { rows } = await sql.query('SELECT payload FROM events WHERE seq = 27');
      expect(node.received.at(-1)?.json).toBe(rows[0].payload);
    }
  });

  test('[M23] a node takes the new epoch and misses nothing if the store still has its head', async () => {
    const { url, sql } = await newLog(server);
    const a = await joinNode(url);
    await commit(sql, 4);
    expect(await a.feed.reached(4, LONG_MS)).toBe(true);
    const epochs = followEpochs(a);
    await sql.query('BEGIN');
    await sql.query(`UPDATE head SET epoch = 'fedcba9876543210', epoch_seq = seq`);
    await sql.query('COMMIT');
    await commit(sql, 3);
    expect(await a.feed.reached(7, LONG_MS)).toBe(true);
    expect(seqs(a)).toEqual(upTo(7));
    expect(epochs).toMatchObject([{ epoch: 'fedcba9876543210' }]);
  });
});
