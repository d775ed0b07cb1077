import { request } from 'node:https';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { HEARTBEAT_MS } from '../../shared/protocol.ts';
import { documentedConfig, hasHaproxy, startHaproxy } from '../support/haproxy.ts';
import { created, startServer, temporaryFolder, tokenFor } from '../support/harness.ts';

/** The HAProxy of docs/guide/operations.md in front of three servers. */

async function deployed() {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  const servers = [];
  for (let at = 0; at < 3; at++) {
    const server = await startServer({ trustedProxies: ['127.0.0.1'] });
    onTestFinished(() => server.close());
    servers.push(server);
  }
  const [a, b, c] = servers.map(({ port }) => port);
  const proxy = await startHaproxy(folder.path, [a as number, b as number, c as number]);
  const ask = (path: string, { method = 'GET', headers = {}, body = '' } = {}) =>
    new Promise<{ status: number; headers: Record<string, unknown>; text: string }>((resolve, reject) => {
      const asked = request(proxy.url + path, { method, headers, ca: proxy.ca, servername: 'localhost', agent: false });
      asked.once('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
      });
      asked.once('error', reject).end(body);
    });
  const upgrade = (headers: Record<string, string>) =>
    new Promise<number>((resolve) => {
      const ws = new WebSocket(`${proxy.url.replace('https', 'wss')}/ws?connectionParams=1`, { ca: proxy.ca, headers });
      ws.on('error', () => resolve(0));
      ws.once('unexpected-response', (asked, { statusCode }) => {
        resolve(statusCode ?? 0);
        asked.destroy();
      });
      ws.once('open', () => {
        resolve(101);
        ws.terminate();
      });
    });
  await expect.poll(async () => (await ask('/healthz')).status).toBe(200);
  return { ...proxy, servers, ask, upgrade, token: await tokenFor() };
}

test.skipIf(!hasHaproxy)('the tests behind HAProxy need /usr/sbin/haproxy and openssl', () => {
  expect(hasHaproxy).toBe(true);
});

describe.skipIf(!hasHaproxy)('behind HAProxy', () => {
  test('[X33] requests go to all servers, and to those that are left while others are away', async () => {
    const { ask, servers, token } = await deployed();
    const post = async (runId: string) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      return (await ask('/api/v1/events', { method: 'POST', headers, body: JSON.stringify(created(runId)) })).status;
    };
    for (let n = 0; n < 9; n++) expect(await post(`r${n}`)).toBe(200);
    // Three each, if no check of the proxy is late.
    const heads = servers.map(({ log }) => log.head);
    expect([Math.min(...heads) > 0, heads.reduce((sum, head) => sum + head)]).toEqual([true, 9]);
    // No request fails, also before the check has noticed: a connection that is refused goes to another server.
    await servers[0]?.close();
    for (let n = 0; n < 9; n++) expect(await post(`s${n}`)).toBe(200);
    await servers[1]?.close();
    const before = servers[2]?.log.head ?? 0;
    for (let n = 0; n < 5; n++) expect(await post(`t${n}`)).toBe(200);
    expect(servers[2]?.log.head).toBe(before + 5);
  });

  test('[X33] a stream of server-sent events arrives unbuffered', async () => {
    const { url, ca, servers, token } = await deployed();
    const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' };
    const stream = request(`${url}/trpc/onEvent`, { headers, ca, agent: false });
    onTestFinished(() => void stream.destroy());
    let text = '';
    stream.once('response', (response) => {
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
    });
    stream.end();
    await expect.poll(() => text).toContain('stream.live');
    for (const runId of ['r1', 'r2']) {
      for (const { bus } of servers) await bus.publish([created(runId)], { actor: 'ci' });
      await expect.poll(() => text).toContain(`"runId":"${runId}"`);
    }
  });

  test('[X33] the allowed origin is https with the host that the browser requested', async () => {
    const { url, upgrade, ask } = await deployed();
    for (const [headers, status] of [
      [{ origin: url }, 101],
      [{ origin: url.replace('https', 'http') }, 403],
      [{ origin: url.replace('https', 'http'), 'x-forwarded-proto': 'http' }, 403],
      [{ origin: 'https://evil.example' }, 403],
    ] as const) {
      expect(await upgrade(headers), JSON.stringify(headers)).toBe(status);
    }
    expect((await ask('/healthz', { headers: { host: 'evil.example' } })).status).toBe(421);
    for (const path of ['/metrics', '/readyz']) expect((await ask(path)).status, path).toBe(404);
  });

  test('[X33] plain HTTP is redirected, a sign-in sets a Secure cookie, and no log contains its token', async () => {
    const { ask, plainUrl, token, output } = await deployed();
    const { status, headers } = await ask(`/login?token=${token}`);
    expect([status, String(headers['set-cookie'])]).toEqual([303, expect.stringMatching(/; Secure$/)]);
    expect(headers['strict-transport-security']).toBe('max-age=31536000');
    const moved = await fetch(`${plainUrl}/runs/demo/r1?stage=s1`, { redirect: 'manual' });
    expect(moved.status).toBe(308);
    expect(moved.headers.get('location')).toMatch(/^https:.*\/runs\/demo\/r1\?stage=s1$/);
    await expect.poll(output).toMatch(/ GET \/login 303 /);
    expect(output()).not.toContain(token.slice(-20));
  });

  test('[X33] the timeouts allow a silence of more than two heartbeats', () => {
    for (const name of ['client', 'server', 'tunnel']) {
      const [, seconds] = new RegExp(`timeout ${name} (\\d+)s`).exec(documentedConfig()) ?? [];
      expect(Number(seconds), name).toBeGreaterThan((2 * HEARTBEAT_MS) / 1_000);
    }
  });
});
