import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { createTRPCClient, httpBatchLink, httpLink, splitLink } from '@trpc/client';
import { describe, expect, test } from 'vitest';
import { cursorAt } from '../../server/event-log/cursor.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { AppRouter } from '../../shared/router.ts';
import {
  created,
  everyone,
  type Item,
  isLive,
  keptLog,
  progress,
  startServer,
  tokenFor,
  Wire,
} from '../support/harness.ts';

const publisher = { actor: 'ada' };
const canary = 'CANARY-9c1d';
const upwards = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function withToken(options: Parameters<typeof startServer>[0] = {}) {
  const { logger, lines } = keptLog();
  const server = await startServer({ logger, ...options });
  const authorization = `Bearer ${await tokenFor()}`;
  return {
    ...server,
    lines,
    authorization,
    post: async (body: BodyInit, { type = 'application/json', query = '', headers = {} } = {}) => {
      const response = await fetch(`${server.url}/api/v1/events${query}`, {
        method: 'POST',
        headers: { authorization, 'content-type': type, ...headers },
        body,
      });
      const text = await response.text();
      return { status: response.status, text, json: JSON.parse(text) as Record<string, unknown> };
    },
  };
}

describe('POST /api/v1/events', () => {
  test('[Q5] an object, an array and NDJSON are accepted, and the response states the stored positions', async () => {
    await using server = await withToken();
    const answer = (accepted: number, seq: number, duplicates = 0) => ({
      status: 200,
      json: { accepted, duplicates, seq },
    });
    expect(await server.post(JSON.stringify(created('r1', { eventId: 'a' })))).toMatchObject(answer(1, 1));
    expect(await server.post(JSON.stringify([progress('r1', 1), progress('r1', 2)]))).toMatchObject(answer(2, 3));
    const lines = [progress('r1', 3), progress('r1', 4)].map((draft) => JSON.stringify(draft));
    for (const body of [lines.join('\n'), `\n${lines.join('\r\n\r\n')}\n`]) {
      expect((await server.post(body, { type: 'application/x-ndjson; charset=utf-8' })).json.accepted).toBe(2);
    }
    expect(await server.post(JSON.stringify([created('r1', { eventId: 'a' })]))).toMatchObject(answer(0, 1, 1));
    const { events } = await server.router.createCaller({ principal: everyone }).run.history({ runId: 'r1' });
    expect(events.map((event) => event.actor)).toEqual(Array(7).fill('ada'));
  });

  test('[Q4] parallel requests each receive their own positions, contiguous over all', async () => {
    await using server = await withToken();
    const answers = await Promise.all(
      upwards(1, 40).map((i) => server.post(JSON.stringify([created(`r${i}`), progress(`r${i}`, 1)]))),
    );
    expect(answers.map(({ json }) => json.seq as number).sort((a, b) => a - b)).toEqual(
      upwards(1, 40).map((i) => 2 * i),
    );
    expect(server.log.head).toBe(80);
  });

  const wrong: [string, unknown, string][] = [
    ['an unknown type', { type: canary }, 'type'],
    ['no type', { type: undefined }, 'type'],
    ['a type that is a list', { type: [canary] }, 'type'],
    ['a type of the prototype', { type: 'constructor' }, 'type'],
    ['a missing field', { name: undefined }, 'name'],
    ['a field of another type', { name: { [canary]: canary } }, 'name'],
    ['text that is too long', { name: canary.repeat(50) }, 'name'],
    ['empty text', { name: '' }, 'name'],
    ['NUL in text', { name: `${canary}\0` }, 'name'],
    ['a lone surrogate', { name: `${canary}\ud800` }, 'name'],
    ['a blank in an id', { runId: `${canary} x` }, 'runId'],
    ['an id that is too long', { runId: canary.repeat(50) }, 'runId'],
    ['an id that is not ASCII', { projectId: `${canary}é` }, 'projectId'],
    ['no project', { projectId: undefined }, 'projectId'],
    ['a project that is a number', { projectId: 5 }, 'projectId'],
    ['a time without a zone', { timestamp: '2026-01-01T00:00:00' }, 'timestamp'],
    ['a time that is none', { timestamp: canary }, 'timestamp'],
    ['a day that does not exist', { timestamp: '2026-02-30T00:00:00Z' }, 'timestamp'],
    ['a number for a time', { timestamp: 1_700_000_000 }, 'timestamp'],
    ['an unknown key', { colour: canary }, 'colour'],
    ['a server-set key', { seq: 1 }, 'seq'],
    ['the actor', { actor: canary }, 'actor'],
    ['the time of recording', { recordedAt: '2026-01-01T00:00:00Z' }, 'recordedAt'],
    ['an unknown key deep inside', { stages: [{ stageId: 's', name: 's', colour: canary }] }, 'stages.0.colour'],
    ['a wrong list element', { stages: [{ stageId: 's', name: 's' }, canary] }, 'stages.1'],
    ['an audience with a value that is not text', { audience: [canary, 5] }, 'audience.1'],
    ['a label that is not text', { labels: { team: 5 } }, 'labels.team'],
    ['control characters in an id', { eventId: `${canary}\n` }, 'eventId'],
    ['a null', { name: null }, 'name'],
  ];

  test('[Q5] invalid drafts are 422, each named by index and path; nothing is stored and no value is repeated', async () => {
    await using server = await withToken();
    const good = created('good');
    const drafts = wrong.flatMap(([, change]) => [good, { ...created('r1'), ...(change as object) }]);
    const { status, json, text } = await server.post(JSON.stringify(drafts));
    expect(status).toBe(422);
    expect(json).toMatchObject({ error: { code: 'INVALID_EVENT', path: 'events.1.type' } });
    const errors = json.errors as { index: number; path: string; message: string }[];
    for (const [i, [name, , path]] of wrong.entries()) {
      const mine = errors.filter(({ index }) => index === 2 * i + 1);
      expect(
        mine.map((error) => error.path),
        name,
      ).toContain(path);
      expect(
        mine.every(({ message }) => message !== ''),
        name,
      ).toBe(true);
    }
    expect(errors.filter(({ index }) => index % 2 === 0)).toEqual([]);
    expect(text).not.toContain(canary);
    expect(server.log.head).toBe(0);

    // Each draft alone, as NDJSON too.
    for (const [name, change, path] of wrong) {
      const body = JSON.stringify({ ...created('r1'), ...(change as object) });
      for (const type of ['application/json', 'application/x-ndjson']) {
        const alone = await server.post(body, { type });
        expect(alone.status, name).toBe(422);
        expect(alone.json.errors, name).toContainEqual({ index: 0, path, message: expect.any(String) });
        expect(alone.text, name).not.toContain(canary);
      }
    }
    expect(server.log.head).toBe(0);
    expect(server.lines.join()).not.toContain(canary);
  });

  test('[Q5] a value that is no draft is 422 with its index', async () => {
    await using server = await withToken();
    for (const junk of [null, 5, true, canary, [], [canary], {}]) {
      const { status, json, text } = await server.post(JSON.stringify([created('r1'), junk]));
      expect(status, JSON.stringify(junk)).toBe(422);
      expect((json.errors as { index: number }[])[0]?.index).toBe(1);
      expect(text).not.toContain(canary);
    }
    expect(server.log.head).toBe(0);
  });

  test('[Q5] a body that is not JSON is 400, an invalid line is 422 with its index, and neither is quoted', async () => {
    await using server = await withToken();
    for (const body of [
      '',
      ' ',
      canary,
      `{"a": ${canary}}`,
      `[${JSON.stringify(created('r1'))}`,
      '['.repeat(100_000),
      `\0${canary}`,
    ]) {
      const { status, json, text } = await server.post(body);
      expect([status, json.error], body.slice(0, 40)).toEqual([
        400,
        { code: 'INVALID_INPUT', message: 'the body is not JSON, or nested too deeply' },
      ]);
      expect(text).not.toContain(canary);
    }
    const lines = [JSON.stringify(created('r1')), `{"name": ${canary}`, JSON.stringify(created('r2')), canary].join(
      '\n',
    );
    const { status, json, text } = await server.post(lines, { type: 'application/x-ndjson' });
    expect(status).toBe(422);
    expect(json.errors).toEqual(
      [1, 3].map((index) => ({ index, path: '', message: 'the line is not JSON, or nested too deeply' })),
    );
    expect(text).not.toContain(canary);
    expect((await server.post('\n\n', { type: 'application/x-ndjson' })).status).toBe(400);
    expect((await server.post('[]')).status).toBe(400);
    expect(server.log.head).toBe(0);
    expect(server.lines.join()).not.toContain(canary);
  });

  test('[Q5] a body that is not UTF-8 is refused, because the stored text would differ', async () => {
    await using server = await withToken();
    const body = Buffer.from(JSON.stringify(created('r1', { name: 'Zoë' })), 'latin1');
    for (const type of ['application/json', 'application/x-ndjson']) {
      expect((await server.post(body, { type })).status).toBe(400);
    }
    expect(server.log.head).toBe(0);
    const marked = Buffer.concat([
      Buffer.from([0xef, 0xbb, 0xbf]),
      Buffer.from(JSON.stringify(created('r1', { name: 'Zoë' }))),
    ]);
    expect((await server.post(marked)).json).toMatchObject({ accepted: 1 });
  });

  test('[Q5] a body of another media type or encoding is refused and not quoted', async () => {
    await using server = await withToken();
    const form = new URLSearchParams({ name: canary }).toString();
    for (const type of [
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'text/xml',
      'application/octet-stream',
    ]) {
      const { status, text } = await server.post(form, { type });
      expect(status, type).toBe(400);
      expect(text).not.toContain(canary);
    }
    const zipped = gzipSync(JSON.stringify(created('r1')));
    const coded = await server.post(zipped, { headers: { 'content-encoding': 'br' } });
    expect([coded.status, coded.json]).toMatchObject([400, { error: { path: 'content-encoding' } }]);
    expect((await server.post(zipped)).status).toBe(400);
    expect((await server.post(`${'['.repeat(2_000_000)}`)).status).toBe(400);
    const policy = await server.post(JSON.stringify(created('r1')), { query: `?onPhi=${canary}` });
    expect([policy.status, policy.json]).toMatchObject([400, { error: { path: 'onPhi' } }]);
    expect(policy.text).not.toContain(canary);
    expect(server.log.head).toBe(0);
  });

  test.each(['application/x-ndjson', 'application/ndjson', 'application/jsonl; charset=utf-8'])(
    '[Q5] %s is parsed line by line',
    async (type) => {
      await using server = await withToken();
      const lines = [created('r1'), progress('r1', 1)].map((draft) => JSON.stringify(draft)).join('\n');
      expect((await server.post(lines, { type })).json).toMatchObject({ accepted: 2 });
    },
  );

  test('[Q5] a gzipped body is accepted', async () => {
    await using server = await withToken();
    const zipped = gzipSync(JSON.stringify(created('r1')));
    expect((await server.post(zipped, { headers: { 'content-encoding': 'gzip' } })).status).toBe(200);
    expect(server.log.head).toBe(1);
  });

  test('[Q5] too many drafts and too many bytes are 413, with and without a content-length', async () => {
    await using server = await withToken();
    const drafts = upwards(1, 1_001).map((i) => progress('r1', i % 100));
    expect((await server.post(JSON.stringify(drafts))).status).toBe(413);
    const ndjson = drafts.map((draft) => JSON.stringify(draft)).join('\n');
    expect((await server.post(ndjson, { type: 'application/x-ndjson' })).status).toBe(413);

    // With a content-length, and chunked without one: the response arrives before the end of the body.
    const announced = await answerTo(server.port, [
      `POST /api/v1/events HTTP/1.1\r\nhost: x\r\nauthorization: ${server.authorization}\r\ncontent-length: 9000000\r\n\r\n[`,
    ]);
    expect(announced).toMatch(/^HTTP\/1\.1 413 /);
    const piece = `10000\r\n${' '.repeat(0x10000)}\r\n`;
    const streamed = await answerTo(server.port, [
      `POST /api/v1/events HTTP/1.1\r\nhost: x\r\nauthorization: ${server.authorization}\r\ntransfer-encoding: chunked\r\n\r\n`,
      ...Array(140).fill(piece),
    ]);
    expect(streamed).toMatch(/^HTTP\/1\.1 413 /);
    expect(streamed).toContain('TOO_LARGE');
    expect(server.log.head).toBe(0);
    expect((await server.post(JSON.stringify(created('r1')))).status).toBe(200);
  });

  test('[Q5] a large body that is refused before it is read gets a response, not a reset', async () => {
    await using server = await withToken();
    const body = Buffer.alloc(7 * 1024 * 1024, ' ');
    for (const [authorization, path, status] of [
      ['Bearer none', '/api/v1/events', 401],
      [server.authorization, '/api/v1/none', 404],
      [server.authorization, '/trpc/%', 404],
    ] as const) {
      const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`;
      // As a client that reads only after it has sent everything.
      const socket = connect(server.port, '127.0.0.1').pause();
      const written = new Promise((resolve) => socket.once('error', resolve).write(head + body, resolve));
      expect(await written, path).toBeFalsy();
      const [answer] = await once(socket.resume(), 'data');
      expect(String(answer).slice(0, 12), path).toBe(`HTTP/1.1 ${status}`);
      socket.destroy();
    }
  });

  test('[Q5] an aborted body stores nothing, and the server waits for a slow one', async () => {
    await using server = await withToken();
    const head = `POST /api/v1/events HTTP/1.1\r\nhost: x\r\nauthorization: ${server.authorization}\r\n`;
    const body = JSON.stringify([created('r1'), created('r2')]);
    for (const end of ['destroy', 'resetAndDestroy'] as const) {
      const socket = connect(server.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(`${head}content-length: ${body.length}\r\n\r\n${body.slice(0, -5)}`);
      // After the response to another request, the server has read the piece.
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      socket[end]();
    }
    const half = connect(server.port, '127.0.0.1');
    half.write(`${head}content-length: ${body.length}\r\n\r\n`);
    let text = '';
    const answered = new Promise<void>((resolve) => {
      half.on('data', (data) => {
        text += data;
        if (text.includes('accepted')) resolve();
      });
    });
    for (const character of body) {
      half.write(character);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await answered;
    half.destroy();
    expect(server.log.head).toBe(2);
  });

  test('[Q5] other methods and paths are 404 in the same form', async () => {
    await using server = await withToken();
    for (const [method, path] of [
      ['GET', '/api/v1/events'],
      ['PUT', '/api/v1/events'],
      ['POST', '/api/v1/events/'],
      ['POST', `/api/v1/${canary}`],
      ['POST', '/api/v1/../v1/events/x'],
      ['GET', '/api/v1/'],
    ]) {
      const response = await fetch(`${server.url}${path}`, {
        method: method as string,
        headers: { authorization: server.authorization },
      });
      const text = await response.text();
      expect(response.status, `${method} ${path}`).toBe(404);
      expect(JSON.parse(text)).toMatchObject({ error: { code: 'NOT_FOUND' } });
      expect(text).not.toContain(canary);
    }
  });
});

/** Sends pieces until a response arrives, and resolves with its beginning. */
async function answerTo(port: number, pieces: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  let text = '';
  let isAnswered = false;
  const answer = new Promise<string>((resolve) => {
    socket.on('data', (data) => {
      text += data;
      isAnswered = true;
    });
    socket.on('close', () => resolve(text));
  });
  for (const piece of pieces) {
    if (isAnswered || socket.destroyed) break;
    await new Promise<void>((resolve) => socket.write(piece, () => resolve()));
  }
  return answer;
}

test('[Q11] a path that is no page of the app is a JSON 404', async () => {
  await using server = await withToken();
  for (const path of ['/hooks/github', '/metrics/x', '/index.php', '/runsx', '/assets/none.js', '/..%2fpackage.json']) {
    const response = await fetch(`${server.url}${path}`);
    expect([response.status, response.headers.get('x-content-type-options')], path).toEqual([404, 'nosniff']);
    expect(await response.json(), path).toMatchObject({ error: { code: 'NOT_FOUND' } });
  }
  // Only with a built app.
  const page = await fetch(`${server.url}/`, { headers: { accept: 'text/html,*/*' } });
  const run = await fetch(`${server.url}/runs/demo/ci.1`);
  expect(run.status).toBe(page.status);
  const lost = await fetch(`${server.url}/nowhere`, { headers: { accept: 'text/html,*/*' } });
  expect(lost.status).toBe(page.status);
  const text = await page.text();
  expect([await run.text(), await lost.text()]).toEqual([text, text]);
});

describe('health', () => {
  test('[Q8] the health routes accept only GET', async () => {
    await using server = await withToken();
    for (const path of ['/healthz', '/readyz', '/metrics', '/login']) {
      for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
        expect((await fetch(server.url + path, { method })).status, `${method} ${path}`).toBe(404);
      }
      expect((await fetch(server.url + path, { method: 'HEAD' })).status, path).toBe(path === '/login' ? 401 : 200);
    }
  });

  test('[Q8] /healthz is 200 while the process runs, /readyz while it can serve', async () => {
    await using server = await withToken();
    expect(await (await fetch(`${server.url}/healthz`)).json()).toEqual({ status: 'alive' });
    const ready = await fetch(`${server.url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([200, { status: 'ready' }]);
    await server.log.close();
    const failing = await fetch(`${server.url}/readyz`);
    expect([failing.status, await failing.json()]).toEqual([503, { status: 'unavailable' }]);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    const posted = await server.post(JSON.stringify(created('r1')));
    expect([posted.status, posted.json]).toMatchObject([503, { error: { code: 'UNAVAILABLE' } }]);
  });
});

describe('stats', () => {
  test('[Q9] the stats count connections, subscriptions, events, and the lag of each client', async () => {
    await using server = await withToken();
    await server.bus.publish([created('r1'), progress('r1', 1)], publisher);
    await using wire = await Wire.open(server.url, { token: await tokenFor({ sub: 'eve' }) });
    await using idle = await Wire.open(server.url, { token: await tokenFor({ sub: 'bob' }) });
    const streams = [wire.subscribe('onEvent', { from: 'start' }), wire.subscribe('onRunEvent', { runId: 'r1' })];
    for (const stream of streams) await stream.until(isLive);
    await idle.call('query', 'auth.me');
    const answer = await wire.call('query', 'server.stats');
    const stats = server.getStats();
    for (const each of [answer.result?.data, stats]) {
      expect(each).toMatchObject({
        epoch: server.log.epoch,
        head: 2,
        oldest: 1,
        connections: 2,
        subscriptions: 2,
        published: 2,
        delivered: 4,
        publishedPerSecond: expect.any(Number),
        clients: [
          { sub: 'eve', subscriptions: 2, lag: 0, unsentBytes: 0, sentBytes: expect.any(Number) },
          { sub: 'bob', subscriptions: 0, lag: 0 },
        ],
      });
    }
    expect(stats.clients[0]?.sentBytes).toBeGreaterThan(500);
    streams[0]?.stop();
    await expect.poll(() => server.getStats().subscriptions).toBe(1);
    expect(server.getStats().publishedPerSecond).toBeGreaterThanOrEqual(0);
  });
});

describe('/trpc', () => {
  test('[Q6] a method that Request does not allow is refused, and is not an internal error', async () => {
    await using server = await withToken();
    for (const method of ['TRACE', 'PUT', 'PROPFIND']) {
      const head = `${method} /trpc/auth.me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`;
      const answer = await answerTo(server.port, [head]);
      expect(answer).toMatch(/^HTTP\/1\.1 400 /);
      expect(answer).toContain('"INVALID_INPUT"');
    }
    expect(server.lines.filter((line) => line.includes('"level":50'))).toEqual([]);
  });

  test('[Q10] single calls and batches of the stock client are answered, each call for itself', async () => {
    await using server = await withToken();
    const client = createTRPCClient<AppRouter>({
      links: [
        splitLink({
          condition: ({ type }) => type === 'mutation',
          true: httpLink({ url: `${server.url}/trpc`, headers: { authorization: server.authorization } }),
          false: httpBatchLink({
            url: `${server.url}/trpc`,
            headers: { authorization: server.authorization },
            methodOverride: 'POST',
          }),
        }),
      ],
    });
    expect(await client.event.publish.mutate({ events: [created('r1'), created('r2')] })).toMatchObject({
      accepted: 2,
    });
    const [first, missing, list] = await Promise.allSettled([
      client.run.get.query({ runId: 'r1' }),
      client.run.get.query({ runId: canary }),
      client.run.list.query({}),
    ]);
    expect(first).toMatchObject({ status: 'fulfilled', value: { run: { name: 'Run r1' } } });
    expect(missing).toMatchObject({
      status: 'rejected',
      reason: { data: { runwireCode: 'RUN_NOT_FOUND', httpStatus: 404 } },
    });
    expect(list).toMatchObject({ status: 'fulfilled', value: { runs: [{}, {}] } });
  });

  test('[Q10] a POST with an empty body is a call without an input', async () => {
    await using server = await withToken();
    const links = [
      httpLink({
        url: `${server.url}/trpc`,
        headers: { authorization: server.authorization },
        methodOverride: 'POST',
      }),
    ];
    const client = createTRPCClient<AppRouter>({ links });
    expect(await client.auth.me.query()).toMatchObject({ sub: expect.any(String) });
    expect(await client.run.list.query()).toMatchObject({ runs: [] });
    await expect(client.run.get.query(undefined as never)).rejects.toMatchObject({ data: { httpStatus: 400 } });
    const headers = { authorization: server.authorization, 'content-type': 'application/json' };
    const batch = await fetch(`${server.url}/trpc/run.list,run.list?batch=1`, { method: 'POST', headers, body: '' });
    expect([batch.status, ((await batch.json()) as unknown[]).length]).toEqual([200, 2]);
    const broken = await fetch(`${server.url}/trpc/run.list`, { method: 'POST', headers, body: '{' });
    expect(broken.status).toBe(400);
  });

  test('[Q10] a batch of more than fifty calls is refused', async () => {
    await using server = await withToken();
    const headers = { authorization: server.authorization };
    const batch = (count: number) =>
      fetch(`${server.url}/trpc/${Array(count).fill('auth.me').join(',')}?batch=1`, { headers });
    expect((await batch(50)).status).toBe(200);
    const refused = await batch(51);
    expect(refused.status).toBe(400);
    expect(await refused.text()).toContain('a batch has at most 50 calls');
  });

  test('[Q10] the body of a call, alone or in a batch, is read up to the limit', async () => {
    await using server = await withToken({ limits: { messageBytes: 10_000 } });
    const headers = { authorization: server.authorization, 'content-type': 'application/json' };
    const call = async (path: string, body: string) => {
      const response = await fetch(`${server.url}/trpc/${path}`, { method: 'POST', headers, body });
      return [response.status, await response.text()];
    };
    const large = JSON.stringify({ events: [created('r1', { name: 'x'.repeat(20_000) })] });
    expect(await call('event.publish', large)).toMatchObject([413, expect.stringContaining('TOO_LARGE')]);
    const batch = await call('event.publish,event.publish?batch=1', `{"0":${large},"1":{"events":[]}}`);
    expect(batch).toMatchObject([413, expect.stringContaining('TOO_LARGE')]);
  });

  /** Reads server-sent events until one passes. Node.js has no EventSource. */
  async function stream(url: string, headers: Record<string, string>, passes: (item: Item) => boolean) {
    const controller = new AbortController();
    const response = await fetch(url, {
      headers: { accept: 'text/event-stream', ...headers },
      signal: controller.signal,
    });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const events: { id: string; data: Item }[] = [];
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
        if (fields.id !== undefined && fields.event === undefined)
          events.push({ id: fields.id, data: JSON.parse(fields.data) });
      }
      if (events.some(({ data }) => passes(data))) break;
    }
    controller.abort();
    return events;
  }

  test('[Q10] a subscription is streamed as server-sent events with ids, and resumes after the last id', async () => {
    await using server = await withToken();
    await server.bus.publish([created('r1'), progress('r1', 1)], publisher);
    const headers = { authorization: server.authorization };
    const input = encodeURIComponent(JSON.stringify({ runId: 'r1', from: 'start' }));
    const url = `${server.url}/trpc/onRunEvent?input=${input}`;
    const first = await stream(url, headers, isLive);
    const cursors = await Promise.all([1, 2, 2].map((seq) => cursorAt(server.log, seq)));
    expect(first.map(({ id }) => id)).toEqual(cursors);
    expect(first.map(({ data }) => data.type)).toEqual(['run.created', 'stage.progress', 'stream.live']);

    await server.bus.publish([progress('r1', 2), progress('r1', 3)], publisher);
    const lastEventId = first.at(-1)?.id ?? '';
    const byHeader = await stream(url, { ...headers, 'last-event-id': lastEventId }, isLive);
    const byQuery = await stream(`${url}&lastEventId=${lastEventId}`, headers, isLive);
    for (const rest of [byHeader, byQuery]) {
      expect(rest.map(({ data }) => (data as RunEvent).seq)).toEqual([3, 4, 4]);
    }
    // No reader is left waiting.
    const { delivered } = server.getStats();
    await expect
      .poll(async () => {
        const before = server.getStats().delivered;
        await server.bus.publish([progress('r1', 4)], publisher);
        await new Promise((resolve) => setImmediate(resolve));
        return server.getStats().delivered - before;
      })
      .toBe(0);
    expect(server.getStats().delivered).toBeGreaterThanOrEqual(delivered);
  });

  test('[Q10] an event published during the stream is delivered', async () => {
    await using server = await withToken();
    const headers = { authorization: server.authorization };
    const publishing = (async () => {
      // The first delivered item shows that the stream is open.
      await expect.poll(() => server.getStats().delivered).toBe(1);
      for (const i of upwards(1, 50)) await server.bus.publish([progress('r1', i)], publisher);
    })();
    const events = await stream(
      `${server.url}/trpc/onEvent?input=%7B%7D`,
      headers,
      (item) => item.type === 'stage.progress' && item.progress === 50,
    );
    await publishing;
    expect(events.map(({ data }) => (data as RunEvent).seq)).toEqual(upwards(0, 50));
  });

  test('[D12] the server reads nothing for an HTTP stream while the client does not read', async () => {
    await using server = await withToken();
    const headers = { authorization: server.authorization, accept: 'text/event-stream' };
    const message = 'x'.repeat(2_000);
    for (let i = 0; i < 6; i++)
      await server.bus.publish(
        upwards(1, 1_000).map((n) => progress('r1', n % 100, { message })),
        publisher,
      );
    const input = encodeURIComponent(JSON.stringify({ from: 'start' }));
    const response = await new Promise<IncomingMessage>((resolve) => {
      httpRequest(`${server.url}/trpc/onEvent?input=${input}`, { headers }, resolve).end();
    });
    // Only as much as the buffers hold.
    let before = -1;
    await expect
      .poll(
        () => {
          const { delivered } = server.getStats();
          const isStill = delivered === before && delivered > 0;
          before = delivered;
          return isStill;
        },
        { interval: 100 },
      )
      .toBe(true);
    expect(before).toBeLessThan(6_000);
    const chunks: string[] = [];
    for await (const chunk of response) {
      chunks.push(String(chunk));
      if (chunks.slice(-2).join('').includes('stream.live')) break;
    }
    const seqs = [...chunks.join('').matchAll(/"seq":(\d+)/g)].map(([, seq]) => Number(seq));
    expect(seqs.slice(0, 6_000)).toEqual(upwards(1, 6_000));
  });
});
