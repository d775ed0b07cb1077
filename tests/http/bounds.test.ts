import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { RunServer } from '../../server/run-server.ts';
import { created, progress, startServer, tokenFor } from '../support/harness.ts';

const publisher = { actor: 'ada' };
const MiB = 1024 * 1024;
const bearer = async (claims: Parameters<typeof tokenFor>[0] = {}) => ({
  authorization: `Bearer ${await tokenFor(claims)}`,
});
const json = { 'content-type': 'application/json' };

/** Opens a request and sends a part of its body. Ends it at the end of the test. */
function open(url: string, headers: Record<string, string>, body: Buffer | string = ''): ClientRequest {
  const request = httpRequest(url, { method: 'POST', headers: { ...json, ...headers } });
  request.on('error', () => undefined);
  onTestFinished(() => void request.destroy());
  request.flushHeaders();
  request.write(body);
  return request;
}

async function answerTo(request: ClientRequest): Promise<{ response: IncomingMessage; code: string }> {
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response) text += chunk;
  return { response, code: (JSON.parse(text) as { error: { code: string } }).error.code };
}

/** Opens a stream and reads up to `stream.live` or an error. The stream stays open until the end of the test. */
async function firstItems(url: string, headers: Record<string, string>) {
  const aborter = new AbortController();
  onTestFinished(() => aborter.abort());
  const options = { headers: { ...headers, accept: 'text/event-stream' }, signal: aborter.signal };
  const response = await fetch(url, options);
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  while (!/stream\.live|runwireCode/.test(text)) {
    const { value, done } = await reader.read();
    if (done) break;
    text += Buffer.from(value).toString();
  }
  return { text, close: () => aborter.abort() };
}

const metric = async (url: string, name: string): Promise<number> =>
  Number(new RegExp(`^runwire_${name} (\\S+)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())?.[1]);

/** Resolves in the first turn of the event loop in which a metric passes: a scrape could miss a state of half a second. */
async function untilMetric(server: RunServer, name: string, passes: (value: number) => boolean): Promise<void> {
  for (;;) {
    const text = await server.metrics.getSingleMetricAsString(`runwire_${name}`);
    if (passes(Number(/ (\S+)\s*$/.exec(text)?.[1]))) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('[Q18] a caller without the permission is refused before the body is read', async () => {
  await using server = await startServer();
  const viewer = await bearer({ roles: ['viewer'] });
  for (const path of ['/api/v1/events', '/api/v1/lineage', '/api/v1/lineage/batch']) {
    // The body never ends: an answer shows that nobody waits for it.
    expect((await answerTo(open(server.url + path, viewer, '['))).code).toBe('FORBIDDEN');
    expect((await answerTo(open(server.url + path, {}, '['))).code).toBe('UNAUTHENTICATED');
  }
});

test('[Q19] the bytes that a user has in flight are bounded, and other users are not affected', async () => {
  await using server = await startServer();
  const eve = await bearer({ sub: 'eve' });
  const url = `${server.url}/api/v1/events`;
  const body = Buffer.alloc(7 * MiB, ' ');
  const uploads = Array.from({ length: 4 }, () => open(url, eve, body));
  await expect.poll(() => metric(server.url, 'in_flight_bytes')).toBe(28 * MiB);

  const refused = await answerTo(open(url, eve, body));
  expect([refused.response.statusCode, refused.code]).toEqual([429, 'RATE_LIMITED']);
  expect(refused.response.headers['retry-after']).toBe('1');
  // What a body inflates to counts too.
  const bomb = open(url, { ...eve, 'content-encoding': 'gzip' });
  bomb.end(gzipSync(body));
  expect((await answerTo(bomb)).code).toBe('RATE_LIMITED');
  const lineage = open(`${server.url}/api/v1/lineage`, eve, body);
  expect((await answerTo(lineage)).code).toBe('UNAVAILABLE');
  const ada = await fetch(url, {
    method: 'POST',
    headers: { ...json, ...(await bearer()) },
    body: JSON.stringify(created('r1')),
  });
  expect(ada.status).toBe(200);

  for (const upload of uploads) upload.destroy();
  await expect.poll(() => metric(server.url, 'in_flight_bytes')).toBe(0);
});

test('[Q19] a body that nobody needs for the answer leaves no bytes in flight', async () => {
  await using server = await startServer();
  const headers = { ...json, ...(await bearer()), 'content-encoding': 'gzip' };
  const body = gzipSync(JSON.stringify('x'.repeat(MiB - 2)));
  for (let i = 0; i < 5; i++) {
    const response = await fetch(`${server.url}/trpc/server.stats`, { method: 'POST', headers, body });
    expect(response.status).toBe(200);
    await response.text();
  }
  await expect.poll(() => metric(server.url, 'in_flight_bytes')).toBe(0);
});

test('[Q19] an answer that its client does not read counts for its user, and ends after the limit of stalled sockets', async () => {
  await using server = await startServer({ limits: { stalledMs: 500 } });
  const message = 'm'.repeat(2_000);
  for (let i = 0; i < 20; i++) {
    await server.bus.publish(
      Array.from({ length: 500 }, (_, n) => progress('r1', n % 100, { message })),
      publisher,
    );
  }
  const { authorization } = await bearer({ sub: 'eve' });
  const one = encodeURIComponent(JSON.stringify({ runId: 'r1', limit: 500 }));
  const batch = encodeURIComponent(
    JSON.stringify(Object.fromEntries(Array.from({ length: 8 }, (_, n) => [n, { runId: 'r1', limit: 500 }]))),
  );
  const unread = connect(Number(new URL(server.url).port), '127.0.0.1');
  onTestFinished(() => void unread.destroy());
  const path = `/trpc/${Array(8).fill('run.history').join(',')}?batch=1&input=${batch}`;
  unread.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\n\r\n`);
  await untilMetric(server, 'in_flight_bytes', (bytes) => bytes > 8 * MiB);
  await expect.poll(() => metric(server.url, 'in_flight_bytes')).toBe(0);
  const after = await fetch(`${server.url}/trpc/run.history?input=${one}`, { headers: { authorization } });
  expect(after.status).toBe(200);
  await after.text();
});

test('[B7] a call with too many drafts is TOO_LARGE, and one with none or without a list is INVALID_INPUT', async () => {
  await using server = await startServer();
  const headers = { ...(await bearer()), ...json };
  const call = async (events: unknown) => {
    const body = JSON.stringify({ events });
    const response = await fetch(`${server.url}/trpc/event.publish`, { method: 'POST', headers, body });
    const { error } = (await response.json()) as { error: { data: { runwireCode: string } } };
    return error.data.runwireCode;
  };
  expect(await call(Array(200_000).fill(0))).toBe('TOO_LARGE');
  expect(await call([])).toBe('INVALID_INPUT');
  expect(await call({ length: 1 })).toBe('INVALID_INPUT');
});

test('[Q10] the answers of a batch are encoded one by one', async () => {
  await using server = await startServer();
  const message = 'm'.repeat(2_000);
  await server.bus.publish(
    Array.from({ length: 500 }, (_, n) => progress('r1', n % 100, { message })),
    publisher,
  );
  const inputs = Object.fromEntries(Array.from({ length: 8 }, (_, n) => [n, { runId: 'r1', limit: 500 }]));
  const address = `/trpc/${Array(8).fill('run.history').join(',')}?batch=1&input=${encodeURIComponent(JSON.stringify(inputs))}`;
  const stringify = vi.spyOn(JSON, 'stringify');
  onTestFinished(() => stringify.mockRestore());
  const response = await fetch(server.url + address, { headers: await bearer({ sub: 'eve' }) });
  const text = await response.text();
  const longest = Math.max(...stringify.mock.results.map(({ value }) => String(value).length));
  expect(longest).toBeLessThan(text.length / 4);
  expect((JSON.parse(text) as unknown[]).length).toBe(8);
});

test('[Q19] a user has a bounded number of exports at the same time', async () => {
  await using server = await startServer();
  const message = 'm'.repeat(2_000);
  for (let i = 0; i < 8; i++) {
    await server.bus.publish(
      Array.from({ length: 1_000 }, (_, n) => progress('r1', n % 100, { message })),
      publisher,
    );
  }
  const { authorization } = await bearer({ sub: 'eve' });
  const unread = Array.from({ length: 4 }, () => {
    const client = connect(Number(new URL(server.url).port), '127.0.0.1');
    onTestFinished(() => void client.destroy());
    client.write(`GET /api/v1/export HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\n\r\n`);
    return client;
  });
  await Promise.all(unread.map((client) => once(client, 'readable')));
  const status = async (headers: Record<string, string>) => {
    const answer = await fetch(`${server.url}/api/v1/export?types=run.failed`, { headers });
    await answer.text();
    return answer.status;
  };
  expect(await status({ authorization })).toBe(429);
  expect(await status(await bearer())).toBe(200);
  unread[0]?.destroy();
  await expect.poll(() => status({ authorization })).toBe(200);
});

test('[Q20] the streams of a user are bounded as its sockets are, and counted in a metric', async () => {
  await using server = await startServer({ limits: { connectionsPerUser: 2 } });
  const headers = await bearer({ sub: 'eve' });
  const stream = () => firstItems(`${server.url}/trpc/onEvent?input=%7B%7D`, headers);
  const first = await stream();
  expect(first.text).toContain('stream.live');
  expect((await stream()).text).toContain('stream.live');
  expect(await metric(server.url, 'streams')).toBe(2);
  expect((await stream()).text).toContain('RATE_LIMITED');
  first.close();
  await expect.poll(() => metric(server.url, 'streams')).toBe(1);
  expect((await stream()).text).toContain('stream.live');
});

test('[Q20] a stream is closed when its client takes nothing for the limit of stalled sockets', async () => {
  await using server = await startServer({ limits: { stalledMs: 500 } });
  const message = 'm'.repeat(2_000);
  for (let i = 0; i < 8; i++) {
    await server.bus.publish(
      Array.from({ length: 1_000 }, (_, n) => progress('r1', n % 100, { message })),
      publisher,
    );
  }
  const { authorization } = await bearer();
  const client = connect(Number(new URL(server.url).port), '127.0.0.1');
  onTestFinished(() => void client.destroy());
  const input = encodeURIComponent(JSON.stringify({ from: 'start' }));
  client.write(`GET /trpc/onEvent?input=${input} HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\n\r\n`);
  await untilMetric(server, 'streams', (count) => count === 1);
  await expect.poll(() => metric(server.url, 'streams')).toBe(0);
});

test('[Q20] streams that catch up leave turns of the event loop to others', async () => {
  await using server = await startServer();
  for (let i = 0; i < 2; i++) {
    await server.bus.publish(
      Array.from({ length: 1_000 }, (_, n) => progress('r1', n % 100)),
      publisher,
    );
  }
  const caller = server.router.createCaller({ principal: { sub: 'ada', projects: ['*'], roles: ['viewer'] } });
  let turns = 0;
  let isReading = true;
  const count = () => {
    turns++;
    if (isReading) setImmediate(count);
  };
  setImmediate(count);
  const read = async () => {
    for await (const [, item] of await caller.onEvent({ from: 'start' })) if (item.type === 'stream.live') break;
  };
  await Promise.all(Array.from({ length: 20 }, read));
  isReading = false;
  // 40,000 items; without turns all of them come from the window in one.
  expect(turns).toBeGreaterThan(4);
});

test('[Q21] the stock link for server-sent events authenticates by connection parameters', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1')], publisher);
  // The address as tRPC's httpSubscriptionLink writes it.
  const take = async (token: string) => {
    const query = new URLSearchParams({
      connectionParams: JSON.stringify({ token }),
      input: JSON.stringify({ runId: 'r1', from: 'start' }),
    });
    return firstItems(`${server.url}/trpc/onRunEvent?${query}`, {});
  };
  expect((await take(await tokenFor({ roles: ['viewer'] }))).text).toContain('run.created');
  expect((await take('x')).text).toContain('UNAUTHENTICATED');
  // A query takes no token from its address.
  const params = encodeURIComponent(JSON.stringify({ token: await tokenFor() }));
  expect((await fetch(`${server.url}/trpc/auth.me?connectionParams=${params}`)).status).toBe(401);
});

test('[N6] an allowed page may send any header, and a foreign page none', async () => {
  await using server = await startServer({ allowedOrigins: ['https://app.example.org'] });
  const preflight = (origin: string, asked: string) =>
    fetch(`${server.url}/trpc/auth.me`, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': asked },
    });
  const asked = 'authorization,baggage,sentry-trace,traceparent,x-own';
  const allowed = await preflight('https://app.example.org', asked);
  expect([allowed.status, allowed.headers.get('access-control-allow-headers')]).toEqual([204, asked]);
  const odd = await preflight('https://app.example.org', 'a b"<>');
  expect(odd.headers.get('access-control-allow-headers')).toBe('authorization, content-type');
  expect((await preflight('https://other.example.org', asked)).headers.get('access-control-allow-headers')).toBeNull();
});

test('[W24] an idle connection is kept for longer than the 60 s of balancers', async () => {
  await using server = await startServer();
  const response = await fetch(`${server.url}/healthz`);
  expect(response.headers.get('keep-alive')).toBe('timeout=65');
});

test('[A17] a sign-out deletes the cookie, of an allowed page only, and a cookie lives a day at most', async () => {
  await using server = await startServer();
  const login = await fetch(`${server.url}/login?token=${await tokenFor({ ttlSeconds: 400_000 })}`, {
    redirect: 'manual',
  });
  expect(login.headers.get('set-cookie')).toMatch(/; Max-Age=86400$/);
  const short = await fetch(`${server.url}/login?token=${await tokenFor({ ttlSeconds: 100 })}`, { redirect: 'manual' });
  expect(short.headers.get('set-cookie')).toMatch(/; Max-Age=(100|9\d)$/);

  const signOut = (origin: string) => fetch(`${server.url}/auth/logout`, { method: 'POST', headers: { origin } });
  const { status, headers } = await signOut(server.url);
  expect(status).toBe(204);
  expect(headers.get('set-cookie')).toBe(`runwire_${server.log.epoch}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`);
  const foreign = await signOut('https://other.example.org');
  expect([foreign.status, foreign.headers.get('set-cookie')]).toEqual([403, null]);
});

test('[Q5] a number that JSON does not have is refused with its place and a reason', async () => {
  await using server = await startServer();
  const headers = await bearer();
  const post = async (body: string, type = 'application/json') => {
    const answer = await fetch(`${server.url}/api/v1/events`, {
      method: 'POST',
      headers: { ...headers, 'content-type': type },
      body,
    });
    return [answer.status, await answer.json()] as const;
  };
  const message = 'NaN and Infinity are not JSON: send null, or leave the field out';
  const error = { code: 'INVALID_INPUT', message };
  expect(await post('{"type":"a,\\"[{","progress":NaN}')).toEqual([400, { error: { ...error, path: 'progress' } }]);
  expect(await post('[{},{"a":[1,-Infinity]}]')).toEqual([400, { error: { ...error, path: '1.a.1' } }]);
  expect(await post('[{"a name of somebody":{"b":NaN}}]')).toEqual([400, { error: { ...error, path: '0' } }]);
  const [status, lines] = await post('{}\n{"progress":NaN}\n', 'application/x-ndjson');
  expect(status).toBe(422);
  expect(lines).toMatchObject({ errors: [{ index: 1, path: 'progress', message }] });
  expect((await post('{"a":"NaN",}'))[1]).toMatchObject({
    error: { message: 'the body is not JSON, or nested too deeply' },
  });
});
