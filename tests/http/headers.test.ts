import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { serverPath, startServing } from '../support/cli-harness.ts';
import { created, keptLog, startServer, temporaryFolder, tokenFor } from '../support/harness.ts';

/** `fetch` sets Host and Origin itself, so tests use node:http. */
function ask(url: string, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<{ status: number; headers: Record<string, unknown>; text: string }>((resolve, reject) => {
    const asked = request(url, { method, headers }, (response) => {
      let text = '';
      const answer = () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (response.headers['content-type'] !== 'text/event-stream') return;
        answer();
        asked.destroy();
      });
      response.on('end', answer);
    });
    asked.once('error', reject).end();
  });
}

/** Resolves with the status of a refused upgrade, or 101. */
const upgrade = (url: string, headers: Record<string, string>) =>
  new Promise<number>((resolve) => {
    const ws = new WebSocket(`${url.replace('http', 'ws')}/ws?connectionParams=1`, { headers });
    ws.once('open', () => {
      resolve(101);
      ws.terminate();
    });
    ws.once('unexpected-response', (asked, { statusCode }) => {
      resolve(statusCode ?? 0);
      asked.destroy();
    });
    ws.on('error', () => undefined);
  });

describe('response headers', () => {
  test('[N3] every response has the security headers, for every method, path and outcome', async () => {
    await using server = await startServer();
    await server.bus.publish([created('r1')], { actor: 'ada' });
    const authorization = `Bearer ${await tokenFor()}`;
    const login = `/login?token=${await tokenFor()}`;
    const cases: [number, string, Record<string, string>, string?][] = [
      [200, '/healthz', {}],
      [200, '/readyz', {}],
      [200, '/metrics', {}],
      [303, login, {}],
      [401, '/login?token=x', {}],
      [303, '/login?token=x', { accept: 'text/html' }],
      [404, '/nowhere', {}],
      [200, '/trpc/auth.me', { authorization }],
      [200, '/trpc/auth.me', { authorization, origin: server.url }],
      [200, '/trpc/auth.me,run.list?batch=1', { authorization }],
      [401, '/trpc/auth.me', {}],
      [404, '/trpc/none', { authorization }],
      [403, '/trpc/auth.me', { authorization, origin: 'https://evil.example' }],
      [204, '/trpc/auth.me', { origin: server.url }, 'OPTIONS'],
      [200, '/trpc/onEvent', { authorization, accept: 'text/event-stream' }],
      [401, '/api/v1/events', {}, 'POST'],
      [404, '/api/v1/events', { authorization }],
      [400, '/api/v1/events', { authorization, 'content-length': '0' }, 'POST'],
      [404, '/api/v1/none', {}],
      [401, '/api/v1/lineage', {}, 'POST'],
    ];
    for (const [status, path, headers, method] of cases) {
      const answer = await ask(server.url + path, headers, method);
      const name = `${method ?? 'GET'} ${path} ${JSON.stringify(headers)}`.slice(0, 100);
      expect([answer.status, name]).toEqual([status, name]);
      expect(answer.headers, name).toMatchObject({
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'cross-origin-resource-policy': 'same-origin',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      });
      expect(answer.headers['cache-control'], name).toMatch(/(^|, )no-store$/);
      expect(answer.headers, name).not.toHaveProperty('strict-transport-security');
    }
  });

  test('[N3] the cookie is Secure when the page was loaded over TLS', async () => {
    await using server = await startServer();
    const path = `${server.url}/login?token=${await tokenFor()}`;
    for (const [proto, is] of [
      ['https', true],
      ['https, http', true],
      ['http', false],
      ['', false],
    ] as const) {
      const { headers } = await ask(path, proto === '' ? {} : { 'x-forwarded-proto': proto });
      expect(String(headers['set-cookie']).includes('; Secure'), proto).toBe(is);
    }
  });
});

test('[N1] the log names a refused origin only if a page can have it', async () => {
  const { logger, lines } = keptLog();
  await using server = await startServer({ logger });
  const evil = 'https://evil.example';
  for (const origin of [evil, `https://${'CANARY'.repeat(100)}`, 'CANARY', 'null', 'https://CANARY.example/path']) {
    expect(await upgrade(server.url, { origin })).toBe(403);
  }
  expect(lines.filter((line) => line.includes(evil))).toHaveLength(1);
  expect(lines.join()).not.toContain('CANARY');
});

describe('host names of others that resolve to this server (DNS rebinding)', () => {
  test('[N2] a server on loopback refuses them on every path and on the socket', async () => {
    using folder = temporaryFolder();
    const env = { PORT: '0', ALLOWED_ORIGINS: 'https://box.example' };
    const { child, url } = await startServing(serverPath, [], { cwd: folder.path, env });
    const { port } = new URL(url);
    const token = /login\?token=(\S+)/.exec(child.stdout())?.[1];
    for (const [host, isKnown] of [
      [`evil.example:${port}`, false],
      [`127.0.0.1.evil.example:${port}`, false],
      [`localhost:${port}`, true],
      [`127.0.0.1:${port}`, true],
      ['box.example', true],
    ] as const) {
      const headers = { host, origin: `http://${host}` };
      for (const path of ['/healthz', '/metrics', '/trpc/auth.me', `/login?token=${token}`, '/']) {
        const { status, text } = await ask(url + path, path.startsWith('/trpc') ? headers : { host });
        expect(status === 403, `${host} ${path}`).toBe(!isKnown);
        if (!isKnown) expect(JSON.parse(text)).toMatchObject({ error: { code: 'FORBIDDEN' } });
        expect(text).not.toContain('evil');
      }
      expect(await upgrade(url, headers), host).toBe(!isKnown ? 403 : 101);
    }
  });

  test('[N2] a server with a secret accepts them, because a proxy may forward its own name', async () => {
    const { logger } = keptLog();
    await using server = await startServer({ logger });
    const headers = { host: 'runs.example.org', origin: 'https://runs.example.org', 'x-forwarded-proto': 'https' };
    expect((await ask(`${server.url}/healthz`, headers)).status).toBe(200);
    expect(await upgrade(server.url, headers)).toBe(101);
    expect(await upgrade(server.url, { ...headers, origin: 'http://runs.example.org' })).toBe(403);
    expect(await upgrade(server.url, { ...headers, origin: 'https://runs.example.org:8443' })).toBe(403);
    expect(
      await upgrade(server.url, { ...headers, 'x-forwarded-host': 'evil.example', origin: 'https://evil.example' }),
    ).toBe(403);
  });
});
