import { expect, test } from 'vitest';
import type { EventLog } from '../contract/store.ts';
import type { WebhookRecord } from '../contract/webhooks.ts';
import { type Place, until, upTo } from './kit.ts';

/** Tests of what nodes share beside the log: changes of rows, leases, states and messages. */
export function describeNodeTasks(makePlace: () => Promise<Place>): void {
  async function open(count: number): Promise<EventLog[]> {
    const place = await makePlace();
    return Promise.all(upTo(count).map(() => place.open()));
  }

  test('[L47] a change of revocations calls the listeners of the other nodes, which then read it', async () => {
    const [a, b] = (await open(2)) as [EventLog, EventLog];
    let changes = 0;
    const stop = b.revocations.onChange(() => changes++);
    await a.revocations.put({ kind: 'jti', id: 'x', atMs: 1, untilMs: 5 });
    await until(() => changes > 0);
    expect(await b.revocations.all()).toEqual([{ kind: 'jti', id: 'x', atMs: 1, untilMs: 5 }]);
    stop();
    let others = 0;
    b.revocations.onChange(() => others++);
    const stopped = changes;
    await a.revocations.put({ kind: 'sub', id: 'x', atMs: 1 });
    await until(() => others > 0);
    expect(changes).toBe(stopped);
  });

  test('[L47] a change of sessions calls the listeners of the other nodes, which then read it', async () => {
    const [a, b] = (await open(2)) as [EventLog, EventLog];
    let changes = 0;
    b.sessions.onChange(() => changes++);
    await a.sessions.put({ id: 's', sealed: 'text', endsAtMs: 9 });
    await until(() => changes > 0);
    expect(await b.sessions.all()).toEqual([{ id: 's', sealed: 'text', endsAtMs: 9 }]);
    const before = changes;
    await a.sessions.remove(['s']);
    await until(() => changes > before);
    expect(await b.sessions.all()).toEqual([]);
  });

  test('[L47] a change of webhooks calls the listeners of the other nodes, and the progress of a webhook does not', async () => {
    const [a, b] = (await open(2)) as [EventLog, EventLog];
    const at = '2026-01-01T00:00:00.000Z';
    const settings = { name: 'a', url: 'https://example.org', shape: 'json', filter: {} } as const;
    const record: WebhookRecord = { id: 'a', settings, createdAt: at, createdBy: 'ada', updatedAt: at, secrets: [] };
    const seen: string[] = [];
    b.webhooks.onChange(() => seen.push('b'));
    await a.webhooks.put(record, { epoch: a.epoch, scannedTo: 0 });
    await until(() => seen.length > 0);
    expect(await b.webhooks.load()).toMatchObject([{ record, position: { scannedTo: 0 } }]);
    const before = seen.length;
    for (const scannedTo of upTo(5)) {
      await a.webhooks.advance('a', { position: { epoch: a.epoch, scannedTo } });
    }
    await a.revocations.put({ kind: 'jti', id: 'x', atMs: 1 });
    await until(async () => (await b.revocations.all()).length > 0);
    await a.webhooks.put({ ...record, pausedFor: 'asked' });
    await until(() => seen.length > before);
    expect(seen).toHaveLength(before + 1);
    await a.webhooks.remove('a');
    await until(() => seen.length > before + 1);
    expect(await b.webhooks.load()).toEqual([]);
  });

  test('[L48] one node at a time holds a lease, and another one gets it once the holder releases it or closes', async () => {
    const nodes = await open(3);
    const changes: [node: number, isHeld: boolean][] = [];
    const leases = nodes.map((log, node) =>
      log.nodes.lease('expiry', (isHeld) => {
        changes.push([node, isHeld]);
        expect(leases[node]?.isHeld).toBe(isHeld);
        expect(leases.filter((lease) => lease.isHeld).length).toBeLessThanOrEqual(1);
      }),
    );
    expect(leases.map(({ isHeld }) => isHeld)).toEqual([false, false, false]);
    const holder = () => leases.findIndex(({ isHeld }) => isHeld);
    await until(() => holder() >= 0);
    const first = holder();
    await leases[first]?.release();
    expect(leases[first]?.isHeld).toBe(false);
    await until(() => holder() >= 0);
    const second = holder();
    expect(second).not.toBe(first);
    await nodes[second]?.close();
    expect(leases[second]?.isHeld).toBe(false);
    await until(() => holder() >= 0);
    const third = holder();
    expect([first, second]).not.toContain(third);
    expect(changes).toEqual([first, second, third].map((node) => [node, true]));
  });

  test('[L48] leases of different names are held by their own nodes', async () => {
    const [a, b] = (await open(2)) as [EventLog, EventLog];
    const one = a.nodes.lease('one', () => undefined);
    const other = b.nodes.lease('other', () => undefined);
    await until(() => one.isHeld && other.isHeld);
  });

  test('[L49] every node lists all open nodes with their states, and a closed one leaves the list', async () => {
    const nodes = await open(3);
    const ids = nodes.map((log) => log.nodes.id);
    for (const [index, log] of nodes.entries()) log.nodes.publishState(() => ({ index }));
    for (const [index, log] of nodes.entries()) {
      await until(async () => (await log.nodes.list()).filter(({ state }) => 'index' in state).length === 3);
      const [self, ...others] = await log.nodes.list();
      expect(self).toEqual({ id: ids[index], isSelf: true, state: { index } });
      expect(others.map(({ id }) => id)).toEqual(ids.filter((id) => id !== ids[index]).toSorted());
      for (const { id, isSelf, state } of others) {
        expect([isSelf, state]).toEqual([false, { index: ids.indexOf(id) }]);
      }
    }
    nodes[0]?.nodes.publishState(() => ({ index: 'changed' }));
    const stateOf = async (id: string | undefined) =>
      (await nodes[1]?.nodes.list())?.find((node) => node.id === id)?.state;
    await until(async () => JSON.stringify(await stateOf(ids[0])) === '{"index":"changed"}');
    await nodes[0]?.close();
    expect(await stateOf(ids[0])).toBeUndefined();
  });

  test('[L49] a message reaches the listeners of its topic on the other nodes, with the id of its sender', async () => {
    const nodes = await open(3);
    const [a] = nodes as [EventLog];
    const received = nodes.map((log) => {
      const messages: unknown[] = [];
      log.nodes.receive('presence', (message, nodeId) => messages.push([message, nodeId]));
      log.nodes.receive('other', () => messages.push('of another topic'));
      return messages;
    });
    const message = { users: ['ann', 'é'.repeat(20_000)], count: 1 };
    // A message may get lost.
    await until(() => {
      a.nodes.send('presence', message);
      return received.slice(1).every((messages) => messages.length > 0);
    });
    expect(received[0]).toEqual([]);
    for (const messages of received.slice(1)) expect(messages[0]).toEqual([message, a.nodes.id]);
    for (const messages of received.slice(1)) expect(messages).not.toContain('of another topic');
  });
}
