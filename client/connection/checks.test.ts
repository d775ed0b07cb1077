import { once } from 'node:events';
import { type AddressInfo, createServer, connect as openSocket, type Socket } from 'node:net';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { follow, open } from '../../tests/support/client.ts';
import { startServer, tokenFor } from '../../tests/support/harness.ts';
import { CHECK_MS, Checks } from './checks.ts';
import { Store } from './store.ts';

/** A way to a server that stays open and carries nothing while it is frozen, as with a process that is stopped. */
async function freezableWay(port: number) {
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const server = openSocket(port, '127.0.0.1');
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
      from.pipe(to);
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    freeze: () => {
      for (const socket of sockets) socket.unpipe().pause();
    },
    openCount: () => [...sockets].filter(({ destroyed }) => !destroyed).length,
  };
}

test('[H41] a server that is frozen is noticed by its silence while the socket is open, and one that answers is checked', async () => {
  await using server = await startServer();
  const way = await freezableWay(Number(new URL(server.url).port));
  const { client, connection, reaches } = open({ url: way.url, token: await tokenFor() });
  const { checks } = connection;
  expect(await checks.check()).toBe(false); // There is no socket.
  const run = follow(client, 'r1');
  await reaches('connected');
  expect(checks.getStatus().isChecked).toBe(false);
  expect(await checks.check()).toBe(true);
  expect(checks.getStatus()).toMatchObject({ isChecked: true, checkedAtMs: expect.any(Number) });

  const stop = checks.every(5);
  const times = new Set<unknown>();
  await new Promise<void>((resolve) => {
    checks.subscribe(() => times.add(checks.getStatus().checkedAtMs).size > 3 && resolve());
  });
  way.freeze();
  const { checkedAtMs } = checks.getStatus();
  await new Promise<void>((resolve) => {
    checks.subscribe(() => !checks.getStatus().isChecked && resolve());
  });
  expect(checks.getStatus().checkedAtMs).toBeGreaterThanOrEqual(checkedAtMs ?? 0);
  expect(connection.getStatus().state).toBe('connected');
  expect(way.openCount()).toBeGreaterThan(0);
  expect(await checks.check()).toBe(false);
  stop();
  // With an interval of 5 s, the silence is noticed within 10 s.
  expect(CHECK_MS + 5_000).toBeLessThan(10_000);
  expect(run.onError).not.toHaveBeenCalled();
});

test('[H41] a check calls no procedure and is in no record of access', async () => {
  await using server = await startServer();
  const { client, connection, reaches } = open({
    url: server.url,
    token: await tokenFor({ roles: ['admin', 'viewer'] }),
  });
  const run = follow(client, 'r1');
  await reaches('connected');
  for (let count = 0; count < 20; count++) expect(await connection.checks.check()).toBe(true);
  expect(connection.getStatus()).toMatchObject({ state: 'connected', attempts: 0 });
  expect(run.onError).not.toHaveBeenCalled();
  const { entries } = await client.audit.access.query({});
  expect(new Set(entries.map(({ action }) => action)).size).toBeLessThanOrEqual(2); // The subscription, and this query.
});

afterEach(() => void vi.useRealTimers());

/** Checks over a socket. The test gives its answers. */
function controlled() {
  vi.useFakeTimers();
  const policy = new Store<{ state: 'connected' | 'reconnecting' }>({ state: 'reconnecting' });
  const pings: ((isAnswered: boolean) => void)[] = [];
  const socket = { check: () => new Promise<boolean>((resolve) => pings.push(resolve)) };
  const checks = new Checks(() => socket, {
    get status() {
      return policy.state;
    },
    subscribe: policy.subscribe,
  });
  const become = (state: 'connected' | 'reconnecting') => {
    policy.state = { state };
    policy.notify();
  };
  const answer = async (isAnswered: boolean) => {
    pings.at(-1)?.(isAnswered);
    await vi.advanceTimersByTimeAsync(0);
  };
  return { checks, pings, become, answer };
}

test('[H41] the shortest interval counts, a connection is checked at once, and the last component ends the checks', async () => {
  const { checks, pings, become, answer } = controlled();
  const stops = [checks.every(10_000), checks.every(1_000)];
  await vi.advanceTimersByTimeAsync(60_000);
  expect(pings).toHaveLength(0); // There is no connection.
  become('connected');
  await vi.advanceTimersByTimeAsync(0);
  expect(pings).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(pings).toHaveLength(1); // The check is under way: a further one joins it.
  await answer(true);
  expect(checks.getStatus().isChecked).toBe(true);
  await vi.advanceTimersByTimeAsync(0);
  expect(pings).toHaveLength(2);
  await answer(true);
  await vi.advanceTimersByTimeAsync(999);
  expect(pings).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(pings).toHaveLength(3);
  await answer(true);
  stops[1]?.();
  await vi.advanceTimersByTimeAsync(9_000);
  expect(pings).toHaveLength(3);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(pings).toHaveLength(4);
  await answer(true);
  vi.setSystemTime(Date.now() + 60_000); // The device sleeps.
  await vi.advanceTimersByTimeAsync(10_000);
  expect(pings).toHaveLength(5);
  expect(checks.getStatus().isChecked).toBe(false);
  become('reconnecting');
  expect(checks.getStatus().isChecked).toBe(false);
  await answer(true); // Of the connection that was lost.
  expect(checks.getStatus().isChecked).toBe(false);
  become('connected');
  await vi.advanceTimersByTimeAsync(0);
  await answer(false);
  expect(checks.getStatus().isChecked).toBe(false);
  stops[0]?.();
  expect(vi.getTimerCount()).toBe(0);
});
