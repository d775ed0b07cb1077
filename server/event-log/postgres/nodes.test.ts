import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { HeldMessages, joinNode, newLog, type TestNode } from '../../../tests/support/nodes.ts';
import { type OpenBackplane, silentBackplane } from './backplane.ts';

const server = inject('postgres') as string;
const POLL = { timeout: 60_000 };

/** Asks for a lease, and records the calls of `onChange`. */
function ask(node: TestNode, name: string) {
  const changes: boolean[] = [];
  const lease = node.nodes.lease(name, (isHeld) => changes.push(isHeld));
  return Object.assign(lease, { changes });
}

describe.skipIf(server === undefined)('nodes and leases (PostgreSQL)', () => {
  test('[M26] a node that fails to join leaves no row for which the others would wait', async () => {
    const { url, sql } = await newLog(server);
    const backplane: OpenBackplane = (channel) => ({
      ...silentBackplane(channel),
      receive: () => {
        throw new Error('no messages');
      },
    });
    await expect(joinNode(url, { backplane })).rejects.toThrow();
    expect((await sql.query('SELECT node_id FROM nodes')).rows).toEqual([]);
  });

  test('[M24] a lease has one holder at a time, and goes to another node when it is released or its holder leaves', async () => {
    const { url } = await newLog(server);
    const held = new HeldMessages();
    const nodes = [await joinNode(url), await joinNode(url, { backplane: held.open }), await joinNode(url)];
    const leases = nodes.map((node) => ask(node, 'task'));
    expect(leases.map(({ isHeld }) => isHeld)).toEqual([false, false, false]);
    const holders = () => leases.flatMap(({ isHeld }, index) => (isHeld ? [index] : []));
    const order: number[] = [];
    for (const _ of nodes) {
      await expect.poll(holders, POLL).toHaveLength(1);
      const [holder] = holders() as [number];
      order.push(holder);
      expect(leases[holder]?.changes).toEqual([true]);
      if (order.length === 2) await nodes[holder]?.close();
      else await leases[holder]?.release();
      expect(leases[holder]?.isHeld).toBe(false);
    }
    expect(order.toSorted()).toEqual([0, 1, 2]);
    expect(leases.map(({ changes }) => changes)).toEqual([[true], [true], [true]]);
  });

  test('[M24] leases with different names are held by different nodes', async () => {
    const { url } = await newLog(server);
    const [a, b] = [await joinNode(url), await joinNode(url)];
    const first = ask(a, 'one');
    await expect.poll(() => first.isHeld).toBe(true);
    const [second, third] = [ask(b, 'one'), ask(b, 'two')];
    await expect.poll(() => third.isHeld).toBe(true);
    expect([first.isHeld, second.isHeld]).toEqual([true, false]);
  });

  test('[M24] a holder that another node has replaced in the table is no holder after its next renewal', async () => {
    const { url, sql } = await newLog(server);
    const a = await joinNode(url);
    const lease = ask(a, 'task');
    await expect.poll(() => lease.isHeld).toBe(true);
    await sql.query(`UPDATE leases SET node_id = 'another'`);
    await expect.poll(() => lease.isHeld, POLL).toBe(false);
    expect(lease.changes).toEqual([true, false]);
  });

  test('[M25] a process that was stopped for longer than its lease is neither current nor a holder when it goes on', async () => {
    const { url, sql } = await newLog(server);
    const child = fork(fileURLToPath(new URL('../../../tests/support/node-process.ts', import.meta.url)), [url], {
      execArgv: ['--import', 'tsx'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const reports: { at: string; isCurrent: boolean; isHeld: boolean }[] = [];
    child.on('message', (message) => void reports.push(message as (typeof reports)[0]));
    await expect.poll(() => reports.some(({ isHeld, isCurrent }) => isHeld && isCurrent), POLL).toBe(true);
    const b = await joinNode(url);
    const lease = ask(b, 'task');
    child.kill('SIGSTOP');
    const { rows } = await sql.query('SELECT count(*) FROM nodes WHERE lease_until > clock_timestamp()');
    expect(Number(rows[0].count)).toBe(2);
    await expect.poll(() => lease.isHeld, POLL).toBe(true);
    await expect.poll(async () => (await b.nodes.list()).length, POLL).toBe(1);
    reports.length = 0;
    child.kill('SIGCONT');
    await once(child, 'message');
    // The first turn after the pause, before any answer of the store.
    expect(reports[0]).toMatchObject({ isCurrent: false, isHeld: false });
    await expect.poll(() => reports.some(({ at, isHeld }) => at === 'change' && !isHeld), POLL).toBe(true);
    await expect.poll(() => reports.at(-1)?.isCurrent, POLL).toBe(true);
    expect(reports.some(({ isHeld }) => isHeld)).toBe(false);
    expect(lease.isHeld).toBe(true);
    expect((await b.nodes.list()).map(({ isSelf }) => isSelf)).toEqual([true, false]);
  });

  test('[M26] list has the nodes with a lease, this one first, with the states that they publish', async () => {
    const { url, sql } = await newLog(server);
    const [a, b] = [await joinNode(url), await joinNode(url)];
    let count = 0;
    a.nodes.publishState(() => ({ count }));
    expect(await a.nodes.list()).toMatchObject([
      { id: a.nodes.id, isSelf: true, state: { count: 0 } },
      { id: b.nodes.id, isSelf: false, state: {} },
    ]);
    count = 7;
    await expect
      .poll(() => b.nodes.list(), POLL)
      .toMatchObject([{ id: b.nodes.id }, { id: a.nodes.id, state: { count: 7 } }]);
    a.nodes.publishState(() => ({ text: 'x'.repeat(70_000) }));
    await expect
      .poll(() => a.failures.map(({ message }) => message), POLL)
      .toContain('the state of the node cannot be published');
    await sql.query(`INSERT INTO nodes VALUES ('gone', 1, clock_timestamp() - interval '59 s', 0, '{}')`);
    expect(await b.nodes.list()).toHaveLength(2);
    const rows = async () => (await sql.query('SELECT node_id FROM nodes')).rows.map(({ node_id: id }) => id);
    await expect.poll(rows, POLL).not.toContain('gone');
    await a.close();
    expect(await b.nodes.list()).toMatchObject([{ id: b.nodes.id }]);
    expect(await rows()).toEqual([b.nodes.id]);
  });

  test('[M26] a message reaches the other nodes, and not its sender', async () => {
    const { url } = await newLog(server);
    const held = new HeldMessages();
    const nodes = [];
    for (const _ of [1, 2, 3]) nodes.push(await joinNode(url, { backplane: held.open }));
    const received: unknown[][] = nodes.map(() => []);
    for (const [index, { nodes: each }] of nodes.entries()) {
      each.receive('news', () => {
        throw new Error('a listener');
      });
      each.receive('news', (message, from) => void received[index]?.push([message, from]));
      each.receive('other', () => received[index]?.push('other'));
    }
    const [a] = nodes as [TestNode];
    a.nodes.send('news', { text: 'line\nline' });
    held.give(...held.messages);
    const message = [{ text: 'line\nline' }, a.nodes.id];
    expect(received).toEqual([[], [message], [message]]);
    expect(() => a.nodes.send('news', 'x'.repeat(70_000))).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }));
  });

  test('[M27] a node without a row gets one of a later generation, and a raise fences the earlier ones', async () => {
    const { url, sql } = await newLog(server);
    const a = await joinNode(url);
    expect(await a.nodes.raise()).toBe(2);
    expect(a.nodes.generation).toBe(2);
    // A commit in flight holds its generation: a raise waits for it, a renewal of the lease does not.
    await sql.query('BEGIN');
    await sql.query('SELECT 1 FROM nodes WHERE node_id = $1 AND generation = 2 FOR KEY SHARE', [a.nodes.id]);
    let isRaised = false;
    const raising = a.nodes.raise().then((generation) => {
      isRaised = true;
      return generation;
    });
    const until = async () => (await sql.query('SELECT lease_until FROM nodes')).rows[0].lease_until as Date;
    const before = await until();
    await expect.poll(until, POLL).not.toEqual(before);
    expect([isRaised, a.isCurrent]).toEqual([false, true]);
    await sql.query('COMMIT');
    expect(await raising).toBe(3);
    await sql.query('DELETE FROM nodes');
    await expect.poll(() => a.nodes.generation, POLL).toBe(4);
    await expect.poll(() => a.isCurrent, POLL).toBe(true);
    const { rows } = await sql.query('SELECT generation FROM nodes WHERE node_id = $1', [a.nodes.id]);
    expect(Number(rows[0].generation)).toBe(4);
  });
});
