import type { OperationResultEnvelope, TRPCClientError } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import { expect, onTestFinished, test, vi } from 'vitest';
import { RunwireError } from '../../shared/errors.ts';
import { startCuttableServer } from '../../tests/browser/server.ts';
import { follow, open, startRefusingServer } from '../../tests/support/client.ts';
import { created, everyone, progress, startServer, tokenFor } from '../../tests/support/harness.ts';
import { dedupeLink } from './links.ts';

test('[C1] [C2] a server that closes each socket at once is retried with growing delays and given up after five retries', async () => {
  const server = await startRefusingServer(1012);
  const { client, reaches, statuses } = open({ url: server.url, token: 'any', random: () => 0 });
  const { onError } = follow(client, 'r1');

  const { attempts, error } = await reaches('failed');
  expect(attempts).toBe(6);
  expect(server.accepted()).toBe(6);
  expect(error).toMatchObject({ code: 'UNAVAILABLE' });
  expect([...new Set(statuses.map((status) => status.attempts))]).toEqual([0, 1, 2, 3, 4, 5, 6]);
  // The subscription is still open and waits for the connection.
  expect(onError).not.toHaveBeenCalled();
});

test('[C2] reconnect() after failure resets the count of failures, and subscriptions resume', async () => {
  await using server = await startServer();
  let isUp = false;
  const { client, connection, reaches } = open({
    url: server.url,
    token: () => (isUp ? tokenFor() : Promise.reject(new Error('the issuer is down'))),
    maxReconnectAttempts: 2,
  });
  const run = follow(client, 'r1');
  const { error } = await reaches('failed');
  expect(error?.message).toBe('the issuer is down');

  isUp = true;
  connection.reconnect();
  await reaches('connected');
  expect(connection.getStatus()).toMatchObject({ attempts: 0, error: null });
  await server.bus.publish([created('r1')], { actor: 'ada' });
  await run.until(() => run.seqs().length === 1);
});

test('[C2] the return of the network or the tab resets the count of failures and retries', async () => {
  const page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const network = new EventTarget();
  vi.stubGlobal('document', page);
  vi.stubGlobal('window', network);
  onTestFinished(() => void vi.unstubAllGlobals());
  for (const returns of [
    () => network.dispatchEvent(new Event('online')),
    () => page.dispatchEvent(new Event('visibilitychange')),
  ]) {
    const server = await startRefusingServer(1012);
    const { client, connection, reaches, until } = open({ url: server.url, token: 'any', maxReconnectAttempts: 1 });
    follow(client, 'r1');
    await reaches('failed');
    expect(server.accepted()).toBe(2);
    returns();
    await until((status) => status.state === 'failed' && server.accepted() === 4);
    await connection.close();
  }
});

test('[C2] a closed connection leaves no listener on the page', async () => {
  const network = new EventTarget();
  const add = vi.spyOn(network, 'addEventListener');
  const remove = vi.spyOn(network, 'removeEventListener');
  vi.stubGlobal('document', network);
  vi.stubGlobal('window', network);
  onTestFinished(() => void vi.unstubAllGlobals());
  const server = await startRefusingServer(1012);
  const { client, connection, reaches } = open({ url: server.url, token: 'any', maxReconnectAttempts: 0 });
  expect(add).not.toHaveBeenCalled();
  follow(client, 'r1');
  await reaches('failed');
  await connection.close();
  expect(add.mock.calls.length).toBe(2);
  expect(remove.mock.calls.map(([name]) => name)).toEqual(add.mock.calls.map(([name]) => name));
  expect(connection.getStatus().state).toBe('disconnected');
});

test('[C3] each event is delivered once and in order while sockets are cut during publishing', async () => {
  await using server = await startCuttableServer();
  const { client, reaches } = open({ url: server.url, token: await tokenFor(), maxReconnectAttempts: 100 });
  const run = follow(client, 'r1');
  await reaches('connected');
  for (let round = 0; round < 5; round++) {
    for (let index = 0; index < 40; index++) {
      await server.bus.publish([progress('r1', index)], { actor: 'ada' });
      if (index === 20) server.cut();
    }
  }
  await run.until(() => run.seqs().length >= 200);
  expect(run.seqs()).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
  expect(run.onError).not.toHaveBeenCalled();
});

test('[C3] an event with a delivered seq is dropped; after a gap positions may repeat', () => {
  const events = (...seqs: number[]) => seqs.map((seq) => ({ type: 'run.started', seq, runSeq: seq }));
  const gap = { type: 'stream.gap', reason: 'epoch_changed', fromSeq: 1, toSeq: 1 };
  const items = [...events(1, 2, 2, 1, 3), { type: 'stream.live', seq: 3 }, ...events(3), gap, ...events(1, 2, 3)];
  const received: unknown[] = [];
  const link = dedupeLink<AnyTRPCRouter>()({});
  link({
    op: { id: 1, type: 'subscription', path: 'onRunEvent', input: {}, context: {}, signal: null },
    next: () =>
      observable((observer) => {
        for (const data of items) {
          const result = { type: 'data', id: 'c', data: { id: 'c', data } } as const;
          observer.next({ result } as OperationResultEnvelope<unknown, TRPCClientError<AnyTRPCRouter>>);
        }
        return () => undefined;
      }),
  }).subscribe({
    next: ({ result }) => {
      if ('data' in result) received.push((result.data as { data: unknown }).data);
    },
  });
  expect(received).toEqual([...events(1, 2, 3), { type: 'stream.live', seq: 3 }, gap, ...events(2, 3)]);
});

test('[C6] after a refused token the client fetches a token once more and connects with it', async () => {
  await using server = await startServer();
  const tokens = [await tokenFor({ secret: 'another secret, also of 32 bytes and more' }), await tokenFor()];
  const fetchToken = vi.fn(() => tokens.shift());
  const { client, reaches } = open({ url: server.url, token: fetchToken });
  const run = follow(client, 'r1');
  await reaches('connected');
  await run.until(() => run.items.some(({ type }) => type === 'stream.live'));
  expect(fetchToken).toHaveBeenCalledTimes(2);
  expect(run.onError).not.toHaveBeenCalled();
});

/** A server that accepts one opaque token at a time; `rotate` replaces it. */
async function startRotatingServer(accepted: string) {
  let current = accepted;
  const server = await startServer({
    authenticate: async (token) => {
      if (token !== current) throw new RunwireError('UNAUTHENTICATED', 'the token was rotated');
      return everyone;
    },
  });
  const rotate = (to: string) => {
    current = to;
  };
  return { ...server, rotate };
}

test('[C6] queries and mutations refused with the same token share one fetch of a fresh token', async () => {
  await using server = await startRotatingServer('one');
  let token = 'one';
  const fetchToken = vi.fn(() => token);
  const { client } = open({ url: server.url, token: fetchToken });
  await client.auth.me.query();
  token = 'two';
  server.rotate('two');
  const [me, published] = await Promise.all([
    client.auth.me.query(),
    client.event.publish.mutate({ events: [created('r1')] }),
  ]);
  expect(me).toMatchObject({ sub: 'ada' });
  expect(published).toMatchObject({ accepted: 1 });
  expect(fetchToken).toHaveBeenCalledTimes(2);
});

test('[C6] a query refused with a fresh token too fails, and the next query fetches another token', async () => {
  await using server = await startRotatingServer('one');
  let token = 'wrong';
  const fetchToken = vi.fn(() => token);
  const { client } = open({ url: server.url, token: fetchToken });
  const refused = { data: { runwireCode: 'UNAUTHENTICATED' } };
  await expect(client.auth.me.query()).rejects.toMatchObject(refused);
  expect(fetchToken).toHaveBeenCalledTimes(2);
  token = 'one';
  expect(await client.auth.me.query()).toMatchObject({ sub: 'ada' });

  // A fixed token cannot be renewed, so the query is sent once.
  const ask = vi.spyOn(globalThis, 'fetch');
  onTestFinished(() => ask.mockRestore());
  const { client: other } = open({ url: server.url, token: 'wrong' });
  await expect(other.auth.me.query()).rejects.toMatchObject(refused);
  expect(ask).toHaveBeenCalledTimes(1);
});

test('[C6] a second refused token in a row is final', async () => {
  await using server = await startServer();
  const forged = await tokenFor({ secret: 'another secret, also of 32 bytes and more' });
  const fetchToken = vi.fn(() => forged);
  const { client, reaches } = open({ url: server.url, token: fetchToken });
  follow(client, 'r1');
  const { error, attempts } = await reaches('failed');
  expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
  expect(attempts).toBe(2);
  expect(fetchToken).toHaveBeenCalledTimes(2);
});

test('[C6] a connection without a token fails permanently, also when the server closes the socket before the first message', async () => {
  await using server = await startServer();
  const { client, reaches } = open({ url: server.url });
  const { onError } = follow(client, 'r1');
  const { error } = await reaches('failed');
  expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
  expect(onError).not.toHaveBeenCalled();
});

test('[C6] a revoked token is final without a retry', async () => {
  const server = await startRefusingServer(4403);
  const { client, reaches } = open({ url: server.url, token: 'any' });
  follow(client, 'r1');
  const { error } = await reaches('failed');
  expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
  expect(server.accepted()).toBe(1);
});

test('an error from the server ends one subscription and leaves the others open', async () => {
  await using server = await startServer();
  const { client } = open({ url: server.url, token: await tokenFor() });
  const run = follow(client, 'r1');
  const ended = new Promise<Error>((resolve) => {
    client.onRunEvent.subscribe({ runId: 'r1', lastEventId: 'not a cursor' }, { onError: resolve });
  });
  expect(await ended).toMatchObject({ data: { runwireCode: 'CURSOR_INVALID' } });
  await server.bus.publish([created('r1')], { actor: 'ada' });
  await run.until(() => run.seqs().length === 1);
});

test('a subscription on a closed connection completes', async () => {
  await using server = await startServer();
  const { client, connection } = open({ url: server.url, token: await tokenFor() });
  await connection.close();
  await new Promise<void>((resolve) => {
    client.onRunEvent.subscribe({ runId: 'r1' }, { onComplete: resolve });
  });
  expect(connection.getStatus().state).toBe('disconnected');
});

test('queries and mutations use HTTP and the same token', async () => {
  await using server = await startServer();
  const { client } = open({ url: server.url, token: () => tokenFor({ sub: 'grace' }) });
  expect(await client.auth.me.query()).toMatchObject({ sub: 'grace' });
  expect(await client.event.publish.mutate({ events: [created('r1')] })).toMatchObject({ accepted: 1, seq: 1 });
  expect((await client.run.list.query({})).runs.map(({ runId }) => runId)).toEqual(['r1']);
});

test('[C6] the full reason of a refusal reaches the client', async () => {
  await using server = await startServer();
  const { client, until } = open({ url: server.url, token: 'forged' });
  client.onEvent.subscribe({}, {});
  const { error } = await until(({ state }) => state === 'failed');
  expect(error?.message).toBe('the token is missing, malformed, forged or expired');
});

test('[C30] the answer of a call does not wait for the answer of another call of the same tick', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1')], { actor: 'ada' });
  const realFetch = fetch;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  vi.stubGlobal('fetch', async (input: string, init?: RequestInit) => {
    const response = await realFetch(input, init);
    if (input.includes('audit.verify')) await held;
    return response;
  });
  onTestFinished(() => void vi.unstubAllGlobals());
  const { client } = open({ url: server.url, token: await tokenFor() });
  const slow = client.audit.verify.query({});
  const { run } = await client.run.get.query({ runId: 'r1' });
  expect(run.runId).toBe('r1');
  release();
  expect(await slow).toMatchObject({ ok: true });
});
