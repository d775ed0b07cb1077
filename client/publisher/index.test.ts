import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { RunServer } from '../../server/run-server.ts';
import { RunwireError } from '../../shared/errors.ts';
import { startServer, temporaryFolder, tokenFor } from '../../tests/support/harness.ts';
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
  next: () => 'pass' | 'drop' | 'lose' | { status: number; retryAfter?: string; body?: string },
) {
  const bodies: string[] = [];
  const proxy = createServer((incoming, outgoing) => {
    const fate = next();
    if (fate === 'drop') return void incoming.socket.destroy();
    if (typeof fate === 'object') {
      const header = fate.retryAfter === undefined ? {} : { 'retry-after': fate.retryAfter };
      incoming.resume().on('end', () => outgoing.writeHead(fate.status, header).end(fate.body ?? '<html>busy</html>'));
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
  expect(event?.eventId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
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

test('the publisher retries after 5xx, 408 and 429', async () => {
  await using server = await startServer();
  const fates = [{ status: 503 }, { status: 500 }, { status: 408 }, { status: 429, retryAfter: '0' }, 'pass'] as const;
  let request = 0;
  const proxy = await startProxy(server.port, () => fates[request++] ?? 'pass');
  const publisher = createPublisher({ url: proxy.url, token: await tokenFor(), projectId: 'demo', retryDelayMs: 1 });
  expect(await publisher.publish(progress('r1', 1))).toEqual({ accepted: 1, duplicates: 0, seq: 1 });
  expect(request).toBe(5);
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
  });
  await published;
});

test('drafts published while the server is down are stored in order when it is back', async () => {
  using folder = temporaryFolder();
  const databaseUrl = `file:${folder.path}/log.db`;
  const first = await startServer({ databaseUrl });
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

test('a server that is no Runwire server fails the call with NOT_FOUND', async () => {
  const proxy = await startProxy(0, () => ({ status: 200 }));
  const publisher = createPublisher({ url: proxy.url, token: 'any', projectId: 'demo' });
  expect(await refusal(publisher.publish(progress('r1', 1)))).toMatchObject({ code: 'NOT_FOUND' });
});

test('an answer with an error code that is no code of Runwire fails by its status', async () => {
  for (const code of ['valueOf', 'constructor', 'ELSE']) {
    const proxy = await startProxy(0, () => ({ status: 400, body: JSON.stringify({ error: { code, message: 'm' } }) }));
    const publisher = createPublisher({ url: proxy.url, token: 'any', projectId: 'demo' });
    const { message } = await refusal(publisher.publish(progress('r1', 1)));
    expect(message).toBe('the server answered 400');
  }
});
