import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { RunServer } from '../../server/run-server.ts';
import { RunwireError } from '../../shared/errors.ts';
import { startServer, temporaryFolder, tokenFor } from '../../tests/support/harness.ts';
import { freePort } from '../../tests/support/ports.ts';
import { createPublisher, type PublisherDraft } from './index.ts';

const progress = (runId: string, value: number, more: object = {}): PublisherDraft => ({
  type: 'stage.progress',
  runId,
  stageId: 's1',
  progress: value,
  ...more,
});

/** A draft that the server refuses. */
const wrong = (runId: string) => progress(runId, 101);

async function eventsOf({ log }: Pick<RunServer, 'log'>, projectId = 'demo') {
  const events: { runId: string; progress: number; seq: number; timestamp: string; eventId: string; name: string }[] =
    [];
  let after = 0;
  while (after < log.head) {
    const page = await log.read({ scope: { kind: 'project', projectId }, after, limit: 1_000 });
    for (const record of page.records) events.push(record.event as (typeof events)[number]);
    after = page.scannedTo;
  }
  return events;
}

/** A proxy in front of the server. `next` decides the fate of each request. */
async function startProxy(
  targetPort: number,
  next: () => 'pass' | 'drop' | 'lose' | { status: number; headers?: Record<string, string>; body?: string },
) {
  const bodies: string[] = [];
  const proxy = createServer((incoming, outgoing) => {
    const fate = next();
    if (fate === 'drop') return void incoming.socket.destroy();
    if (typeof fate === 'object') {
      const { status, headers = {}, body = '<html>busy</html>' } = fate;
      incoming.resume().on('end', () => outgoing.writeHead(status, headers).end(body));
      return;
    }
    const { method, url, headers } = incoming;
    const onward = request({ port: targetPort, host: '127.0.0.1', method, path: url, headers }, (answer) => {
      // `lose`: the server has stored the events, but its answer is dropped.
      if (fate === 'lose') return void answer.resume().on('end', () => incoming.socket.destroy());
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => bodies.push(Buffer.concat(chunks).toString()));
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    proxy.close();
    proxy.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, bodies };
}

const refusal = (promise: Promise<unknown>): Promise<RunwireError> =>
  promise.then(
    () => expect.fail('should have been refused'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(RunwireError);
      return error as RunwireError;
    },
  );

test('drafts are stored in the order of the calls, and each call resolves with its own positions', async () => {
  await using server = await startServer();
  const publisher = createPublisher({ url: server.url, token: await tokenFor(), projectId: 'demo' });
  const calls = Array.from({ length: 250 }, (_, index) => [index, index + 0.5].slice(0, 1 + (index % 2)));
  const results = await Promise.all(
    calls.map((values) => publisher.publish(values.map((value) => progress('r1', value % 100)))),
  );
  const events = await eventsOf(server);
  expect(events.map((event) => event.progress)).toEqual(calls.flat().map((value) => value % 100));
  let seq = 0;
  expect(results).toEqual(
    calls.map((values) => {
      seq += values.length;
      return { accepted: values.length, duplicates: 0, seq };
    }),
  );
  await publisher.close();
});

test('waiting drafts share requests of at most 1,000 drafts and 1 MB', async () => {
  await using server = await startServer();
  const proxy = await startProxy(server.port, () => 'pass');
  const publisher = createPublisher({ url: proxy.url, token: await tokenFor(), projectId: 'demo' });
  const small = Array.from({ length: 2_500 }, (_, index) => progress('small', index % 100));
  const large = Array.from({ length: 700 }, () => progress('large', 1, { message: 'x'.repeat(1_990) }));
  const [first, second] = await Promise.all([publisher.publish(small), publisher.publish(large)]);
  expect(first).toEqual({ accepted: 2_500, duplicates: 0, seq: 2_500 });
  expect(second).toEqual({ accepted: 700, duplicates: 0, seq: 3_200 });
  const counts = proxy.bodies.map((body) => (JSON.parse(body) as unknown[]).length);
  expect(Math.max(...counts)).toBe(1_000);
  expect(Math.max(...proxy.bodies.map((body) => body.length))).toBeLessThanOrEqual(1_000_100);
  expect(counts.length).toBeLessThanOrEqual(6);
  for (let index = 0; index < 200; index++) void publisher.publish(progress('later', index % 100));
  await publisher.flush();
  expect(proxy.bodies.length - counts.length).toBe(1);
  expect(server.log.head).toBe(3_400);
});

test('time, id and project are set at the call, and fields of the draft take precedence', async () => {
  await using server = await startServer();
  const publisher = createPublisher({ url: server.url, token: await tokenFor(), projectId: 'demo' });
  const draft = { type: 'run.created' as const, runId: 'r1', name: 'before' };
  const before = Date.now();
  const published = publisher.publish(draft);
  const after = Date.now();
  draft.name = 'after';
  await published;
  await publisher.publish({
    type: 'run.started',
    runId: 'r1',
    projectId: 'other',
    timestamp: '2020-01-01T00:00:00Z',
    eventId: 'e1',
  });
  const [event] = await eventsOf(server);
  expect(event?.name).toBe('before');
  expect(event?.eventId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(Date.parse(event?.timestamp ?? '')).toBeGreaterThanOrEqual(before);
  expect(Date.parse(event?.timestamp ?? '')).toBeLessThanOrEqual(after);
  expect(await eventsOf(server, 'other')).toMatchObject([{ timestamp: '2020-01-01T00:00:00.000Z', eventId: 'e1' }]);
});

test('[L3] a request with a lost answer is sent again and stored once', async () => {
  await using server = await startServer();
  const fates = ['lose', 'drop', 'lose', 'pass'] as const;
  let request = 0;
  const proxy = await startProxy(server.port, () => fates[request++] ?? 'pass');
  const publisher = createPublisher({ url: proxy.url, token: await tokenFor(), projectId: 'demo', retryDelayMs: 1 });
  const results = await Promise.all([1, 2, 3].map((value) => publisher.publish(progress('r1', value))));
  expect(results).toEqual([1, 2, 3].map((seq) => ({ accepted: 1, duplicates: 0, seq })));
  expect((await eventsOf(server)).map((event) => event.progress)).toEqual([1, 2, 3]);
  const again = await publisher.publish([
    progress('r1', 4, { eventId: 'mine' }),
    progress('r1', 5, { eventId: 'mine' }),
  ]);
  expect(again).toEqual({ accepted: 1, duplicates: 1, seq: 4 });
});

test('[P12] every answer that is not of Runwire is repeated', async () => {
  await using server = await startServer();
  const errorOf = (code: string) => JSON.stringify({ error: { code, message: 'm' } });
  const fates = [
    ...[408, 425, 429, 500, 502, 503].map((status) => ({ status, headers: { 'retry-after': '0' } })),
    ...[200, 204, 400, 401, 403, 404, 405, 409, 410, 499].map((status) => ({ status })),
    ...[301, 302, 303, 307, 308].map((status) => ({ status, headers: { location: `${server.url}/api/v1/events` } })),
    ...['[]', '[null]', '[{}]'].map((receipts) => ({ status: 200, body: `{"receipts":${receipts}}` })),
    ...['{}', '[null]'].map((errors) => ({ status: 404, body: `{"error":{"code":"NOT_FOUND"},"errors":${errors}}` })),
    { status: 404, body: errorOf('FORBIDDEN') },
    ...['valueOf', 'constructor', 'ELSE'].map((code) => ({ status: 400, body: errorOf(code) })),
  ];
  let request = 0;
  const proxy = await startProxy(server.port, () => fates[request++] ?? 'pass');
  const publisher = createPublisher({
    url: proxy.url,
    token: await tokenFor(),
    projectId: 'demo',
    retryDelayMs: 1,
    maxRetryDelayMs: 2,
  });
  expect(await publisher.publish(progress('r1', 1))).toEqual({ accepted: 1, duplicates: 0, seq: 1 });
  expect(request).toBe(fates.length + 1);
});

test('[P12] an ingress without a route loses no event', async () => {
  await using server = await startServer();
  let request = 0;
  const proxy = await startProxy(server.port, () => (request++ < 30 ? { status: 404 } : 'pass'));
  const publisher = createPublisher({
    url: proxy.url,
    token: await tokenFor(),
    projectId: 'demo',
    retryDelayMs: 1,
    maxRetryDelayMs: 3,
  });
  const published: Promise<unknown>[] = [];
  for (let value = 0; value < 99; value++) {
    published.push(publisher.publish(progress('r1', value)));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(published);
  expect((await eventsOf(server)).map((event) => event.progress)).toEqual(Array.from({ length: 99 }, (_, at) => at));
});

test('[P12] a wrong address is reported at once, and fails the call after a minute', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const proxy = await startProxy(0, () => ({ status: 302, headers: { location: '/sign-in?key=secret' } }));
  const reported: string[] = [];
  const publisher = createPublisher({
    url: proxy.url,
    token: 'any',
    projectId: 'demo',
    retryDelayMs: 1,
    maxRetryDelayMs: 2,
    onError: ({ code, message }, willRetry) => {
      reported.push(`${willRetry ? 'retried' : 'failed'}: ${code}: ${message}`);
      if (willRetry) vi.advanceTimersByTime(59_000);
      setTimeout(() => vi.advanceTimersByTime(1_000));
    },
  });
  expect(await refusal(publisher.publish(progress('r1', 1)))).toMatchObject({ code: 'NOT_FOUND' });
  const message = `NOT_FOUND: the address redirects to ${proxy.url}/sign-in`;
  await vi.waitFor(() => expect(reported).toEqual([`retried: ${message}`, `failed: ${message}`]), 30_000);
});

test('[P12] an address that has answered as a Runwire server is retried without limit', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  await using server = await startServer();
  let request = 0;
  const proxy = await startProxy(server.port, () => {
    request++;
    if (request === 1 || request > 6) return 'pass';
    vi.advanceTimersByTime(3_600_000);
    return { status: 404 };
  });
  const options = { projectId: 'demo', retryDelayMs: 1, maxRetryDelayMs: 2 };
  const publisher = createPublisher({ url: proxy.url, token: await tokenFor(), ...options });
  await publisher.publish(progress('r1', 1));
  expect(await publisher.publish(progress('r1', 2))).toMatchObject({ accepted: 1 });
});

test('[P12] an outage is reported at its third attempt, and again when its cause changes', async () => {
  await using server = await startServer();
  const fates = [503, 503, 503, 503, 502, 503].map((status) => ({ status }));
  let request = 0;
  const proxy = await startProxy(server.port, () => fates[request++] ?? 'pass');
  const reported: unknown[] = [];
  const publisher = createPublisher({
    url: proxy.url,
    token: await tokenFor(),
    projectId: 'demo',
    retryDelayMs: 1,
    maxRetryDelayMs: 2,
    onError: ({ code, message }, willRetry) => reported.push([code, message, willRetry]),
  });
  await publisher.publish(progress('r1', 1));
  expect(reported).toEqual([503, 502, 503].map((status) => ['UNAVAILABLE', `the server answered ${status}`, true]));
});

test('[P12] a call that a proxy finds too large is sent in halves, and fails alone', async () => {
  await using server = await startServer();
  const proxy = await startProxy(server.port, () => 'pass');
  const small = createServer((incoming, outgoing) => {
    if (Number(incoming.headers['content-length']) > 1_000) {
      return void incoming.resume().on('end', () => outgoing.writeHead(413).end('<html>too large</html>'));
    }
    incoming.pipe(
      request(`${proxy.url}${incoming.url}`, { method: 'POST', headers: incoming.headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      }),
    );
  });
  await new Promise<void>((resolve) => small.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void small.close());
  const url = `http://127.0.0.1:${(small.address() as AddressInfo).port}`;
  const publisher = createPublisher({ url, token: await tokenFor(), projectId: 'demo' });
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, at) =>
      publisher.publish(progress('r1', at, { message: 'x'.repeat(at === 7 ? 1_500 : 9) })),
    ),
  );
  expect(results.flatMap(({ status }, at) => (status === 'rejected' ? [at] : []))).toEqual([7]);
  expect((await eventsOf(server)).length).toBe(19);
});

test('flush() retries without further delay', async () => {
  await using server = await startServer();
  let requests = 0;
  const proxy = await startProxy(server.port, () => (requests++ === 0 ? { status: 503 } : 'pass'));
  const publisher = createPublisher({
    url: proxy.url,
    token: await tokenFor(),
    projectId: 'demo',
    retryDelayMs: 60_000,
  });
  let isStored = false;
  const published = publisher.publish(progress('r1', 1)).then(() => {
    isStored = true;
  });
  // The first answer may arrive after a flush, so flush is called repeatedly.
  await vi.waitFor(() => {
    void publisher.flush();
    expect(isStored).toBe(true);
  }, 30_000);
  await published;
});

test('drafts published while the server is down are stored in order when it is back', async () => {
  using folder = temporaryFolder();
  const databaseUrl = `file:${folder.path}/log.db`;
  const first = await startServer({ databaseUrl, port: await freePort() });
  const publisher = createPublisher({
    url: first.url.replace('http', 'ws').concat('/ws'),
    token: await tokenFor(),
    projectId: 'demo',
    retryDelayMs: 5,
    maxRetryDelayMs: 20,
  });
  await publisher.publish(progress('r1', 0));
  await first.close();
  const published = [1, 2, 3, 4].map((value) => publisher.publish(progress('r1', value)));
  await using second = await startServer({ databaseUrl, port: first.port });
  expect(await Promise.all(published)).toEqual([2, 3, 4, 5].map((seq) => ({ accepted: 1, duplicates: 0, seq })));
  expect((await eventsOf(second)).map((event) => event.progress)).toEqual([0, 1, 2, 3, 4]);
});

test('[Q4] a refused call stores nothing and reports issues by its own index; other calls of the request are stored', async () => {
  await using server = await startServer();
  const publisher = createPublisher({ url: server.url, token: await tokenFor(), projectId: 'demo' });
  const calls = [
    publisher.publish([progress('r1', 1), progress('r1', 2)]),
    publisher.publish([progress('r1', 3), wrong('r1'), progress('r1', 4)]),
    publisher.publish(progress('r1', 5)),
    publisher.publish(progress('not a run id', 6)),
    publisher.publish(progress('r1', 7)),
  ] as const;
  expect(await calls[0]).toEqual({ accepted: 2, duplicates: 0, seq: 2 });
  expect(await refusal(calls[1])).toMatchObject({
    code: 'INVALID_EVENT',
    path: 'events.1.progress',
    issues: [{ index: 1, path: 'progress', message: 'must be at most 100' }],
  });
  expect(await calls[2]).toEqual({ accepted: 1, duplicates: 0, seq: 3 });
  expect(await refusal(calls[3])).toMatchObject({ path: 'events.0.runId', issues: [{ index: 0, path: 'runId' }] });
  expect(await calls[4]).toEqual({ accepted: 1, duplicates: 0, seq: 4 });
  expect((await eventsOf(server)).map((event) => event.progress)).toEqual([1, 2, 5, 7]);
});

test('after a refusal that names no draft, the calls are sent apart to find the refused ones', async () => {
  await using server = await startServer();
  const token = await tokenFor({ projects: ['demo'] });
  const publisher = createPublisher({ url: server.url, token, projectId: 'demo' });
  const results = await Promise.allSettled(
    Array.from({ length: 40 }, (_, index) =>
      publisher.publish(progress('r1', index, index % 13 === 5 ? { projectId: 'forbidden' } : {})),
    ),
  );
  const refused = results.flatMap((result, index) =>
    result.status === 'rejected' ? [[index, result.reason.code]] : [],
  );
  expect(refused).toEqual([5, 18, 31].map((index) => [index, 'FORBIDDEN']));
  expect((await eventsOf(server)).map((event) => event.progress)).toEqual(
    Array.from({ length: 40 }, (_, index) => index).filter((index) => index % 13 !== 5),
  );
});

test('a call of several requests ends at the first refused request', async () => {
  await using server = await startServer();
  const publisher = createPublisher({ url: server.url, token: await tokenFor(), projectId: 'demo' });
  const drafts = Array.from({ length: 3_000 }, (_, index) =>
    index === 1_500 ? wrong('r1') : progress('r1', index % 100),
  );
  const error = await refusal(publisher.publish(drafts));
  expect(error.issues).toEqual([{ index: 1_500, path: 'progress', message: 'must be at most 100' }]);
  expect(await publisher.publish(progress('r1', 1))).toEqual({ accepted: 1, duplicates: 0, seq: 1_001 });
});

test('[A1] after a refused token the publisher fetches a token once more, then fails the call', async () => {
  await using server = await startServer();
  const tokens = ['stale', await tokenFor()];
  let fetched = 0;
  const publisher = createPublisher({ url: server.url, token: () => tokens[fetched++], projectId: 'demo' });
  expect(await publisher.publish(progress('r1', 1))).toMatchObject({ accepted: 1 });
  expect(fetched).toBe(2);
  const forged = createPublisher({ url: server.url, token: 'forged', projectId: 'demo' });
  const errors = await Promise.all([1, 2].map((value) => refusal(forged.publish(progress('r1', value)))));
  expect(errors.map((error) => error.code)).toEqual(['UNAUTHENTICATED', 'UNAUTHENTICATED']);
});

test('[P12] a token without the right is fetched once more, then fails the call', async () => {
  await using server = await startServer();
  const tokens = [await tokenFor({ roles: ['viewer'] }), await tokenFor()];
  const widened = createPublisher({ url: server.url, token: () => tokens.shift(), projectId: 'demo' });
  expect(await widened.publish(progress('r1', 1))).toMatchObject({ accepted: 1 });
  const viewer = await tokenFor({ roles: ['viewer'] });
  let fetched = 0;
  const narrow = createPublisher({
    url: server.url,
    token: () => {
      fetched++;
      return viewer;
    },
    projectId: 'demo',
  });
  const errors = await Promise.all([1, 2, 3].map((value) => refusal(narrow.publish(progress('r1', value)))));
  expect(errors.map((error) => error.code)).toEqual(['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']);
  expect(fetched).toBe(2);
});

test('[P17] a token source that never answers is asked again after timeoutMs, and one without a token too', async () => {
  await using server = await startServer();
  const token = await tokenFor();
  const answers = [
    () => new Promise<string>(() => undefined),
    () => undefined,
    () => Promise.reject(new Error('no')),
    () => token,
  ];
  let asked = 0;
  const publisher = createPublisher({
    url: server.url,
    token: () => answers[asked++]?.(),
    projectId: 'demo',
    timeoutMs: 2_000, // The request has as long.
    retryDelayMs: 1,
  });
  expect(await publisher.publish(progress('r1', 1))).toMatchObject({ accepted: 1 });
  expect(asked).toBe(4);
});

test('[P17] Infinity is no limit of time, a time beyond 24 days is not short, and NaN is refused', async () => {
  const server = await startServer({ port: await freePort() });
  const token = await tokenFor();
  for (const more of [{ timeoutMs: Number.POSITIVE_INFINITY }, { timeoutMs: 2 ** 40, retryForMs: 2 ** 40 }]) {
    const publisher = createPublisher({ url: server.url, token, projectId: 'demo', ...more });
    expect(await publisher.publish(progress('r1', 1))).toMatchObject({ accepted: 1 });
    await publisher.close(Number.POSITIVE_INFINITY);
  }
  await server.close();
  const options = { url: server.url, token, projectId: 'demo', retryDelayMs: 1, maxRetryDelayMs: 5 };
  let outages = 0;
  const patient = createPublisher({ ...options, onError: () => outages++ });
  const published = patient.publish(progress('r1', 2));
  const closed = patient.close(Number.POSITIVE_INFINITY);
  await vi.waitFor(() => expect(outages).toBe(1), 30_000);
  await using _ = await startServer({ port: server.port });
  expect(await published).toMatchObject({ accepted: 1 });
  await closed;
  for (const name of ['timeoutMs', 'retryForMs', 'retryDelayMs', 'maxRetryDelayMs']) {
    for (const value of [Number.NaN, -1]) {
      expect(() => createPublisher({ ...options, [name]: value })).toThrow(`${name} must be a number of milliseconds`);
    }
  }
});

test('[P15] the end of a run and events of approvals have room in a full queue, up to twice the limit', async () => {
  await using server = await startServer();
  const publisher = createPublisher({ url: server.url, token: await tokenFor(), projectId: 'demo', queueLimit: 3 });
  const run = { runId: 'r1' };
  const kept = [
    publisher.publish([1, 2, 3].map((value) => progress('r1', value))),
    publisher.publish({ type: 'run.completed', ...run }),
    publisher.publish({ type: 'governance.required', approvalId: 'a1', title: 'Release', ...run }),
    publisher.publish({ type: 'run.failed', error: { message: 'm' }, ...run }),
  ];
  for (const draft of [progress('r1', 4), { type: 'run.completed', ...run } as const]) {
    expect(await refusal(publisher.publish(draft))).toMatchObject({ code: 'RATE_LIMITED' });
  }
  await Promise.all(kept);
  expect((await eventsOf(server)).length).toBe(6);
});

test('[P15] RATE_LIMITED is a full queue alone: a server that limits for longer than retryForMs is UNAVAILABLE', async () => {
  const body = JSON.stringify({ error: { code: 'RATE_LIMITED', message: 'too fast' } });
  const proxy = await startProxy(0, () => ({ status: 429, body }));
  const publisher = createPublisher({
    url: proxy.url,
    token: 'any',
    projectId: 'demo',
    retryForMs: 20,
    retryDelayMs: 1,
  });
  const error = await refusal(publisher.publish(progress('r1', 1)));
  expect(error).toMatchObject({ code: 'UNAVAILABLE', message: 'too fast', cause: { code: 'RATE_LIMITED' } });
});

test('[P16] an onError that throws or rejects changes nothing, and may publish', async () => {
  await using server = await startServer();
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', note).on('uncaughtException', note);
  onTestFinished(() => void process.off('unhandledRejection', note).off('uncaughtException', note));
  const reported = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  onTestFinished(() => reported.mockRestore());
  const options = { url: server.url, token: await tokenFor(), projectId: 'demo', queueLimit: 1 };
  const throwing = createPublisher({
    ...options,
    onError: () => {
      throw new Error('thrown');
    },
  });
  const rejecting = createPublisher({ ...options, onError: () => Promise.reject(new Error('rejected')) as never });
  let calls = 0;
  const republishing = createPublisher({ ...options, onError: () => void (calls++ < 3 && republishing.publish([])) });
  for (const publisher of [throwing, rejecting, republishing]) {
    void publisher.publish([]);
    expect(await publisher.publish(progress('r1', 1))).toMatchObject({ accepted: 1 });
  }
  await vi.waitFor(() => expect([reported.mock.calls.length, calls]).toEqual([2, 4]), 30_000);
  expect(reported.mock.calls.flat().map((error: Error) => error.message)).toEqual(['thrown', 'rejected']);
  expect(unhandled).toEqual([]);
});

test('publish() rejects at once for a full queue, a draft without JSON, no drafts, and after close()', async () => {
  await using server = await startServer();
  const errors: string[] = [];
  const publisher = createPublisher({
    url: server.url,
    token: await tokenFor(),
    projectId: 'demo',
    queueLimit: 3,
    onError: (error) => errors.push(error.code),
  });
  const kept = publisher.publish([1, 2, 3].map((value) => progress('r1', value)));
  expect(await refusal(publisher.publish(progress('r1', 4)))).toMatchObject({
    code: 'RATE_LIMITED',
    message: 'the queue has no room for 1 events: 3 events wait for the server',
  });
  expect(await kept).toMatchObject({ accepted: 3 });
  expect(await publisher.publish(progress('r1', 4))).toMatchObject({ accepted: 1 });
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  expect(await refusal(publisher.publish([progress('r1', 5), circular as never]))).toMatchObject({
    code: 'INVALID_EVENT',
    issues: [{ index: 1, path: '' }],
  });
  expect((await refusal(publisher.publish([]))).code).toBe('INVALID_INPUT');
  expect((await refusal(publisher.publish([null as never]))).issues).toMatchObject([{ index: 0 }]);
  await publisher.close();
  expect((await refusal(publisher.publish(progress('r1', 6)))).code).toBe('UNAVAILABLE');
  expect(errors).toEqual(['RATE_LIMITED', 'INVALID_EVENT', 'INVALID_INPUT', 'INVALID_EVENT', 'UNAVAILABLE']);
});

test('a call fails after retryForMs or at close(), without an unhandled rejection', async () => {
  const server = await startServer();
  await server.close();
  const token = await tokenFor();
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', note);
  onTestFinished(() => void process.off('unhandledRejection', note));

  const impatient = createPublisher({ url: server.url, token, projectId: 'demo', retryForMs: 50, retryDelayMs: 5 });
  expect(await refusal(impatient.publish(progress('r1', 1)))).toMatchObject({
    code: 'UNAVAILABLE',
    message: 'the server cannot be reached (ECONNREFUSED)',
  });
  const patient = createPublisher({ url: server.url, token, projectId: 'demo' });
  void patient.publish(progress('r1', 1));
  const last = refusal(patient.publish(progress('r1', 2)));
  await patient.close(20);
  expect(await last).toMatchObject({ code: 'UNAVAILABLE' });
  const tokenless = createPublisher({
    url: server.url,
    token: () => new Promise<string>(() => undefined),
    projectId: 'demo',
  });
  const stuck = refusal(tokenless.publish(progress('r1', 3)));
  await tokenless.close(0);
  expect((await stuck).code).toBe('UNAVAILABLE');
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).toEqual([]);
});
