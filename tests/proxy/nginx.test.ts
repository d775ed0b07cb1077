import { request } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { createRunwireClient } from '../../client/index.ts';
import type { RunEvent } from '../../shared/events.ts';
import { HEARTBEAT_MS, isSignal } from '../../shared/protocol.ts';
import { serverPath, startServing } from '../support/cli-harness.ts';
import { created, progress, secret, temporaryFolder, tokenFor } from '../support/harness.ts';
import { documentedConfig, hasNginx, startNginx } from '../support/nginx.ts';
import { freePort } from '../support/ports.ts';

/** The proxy of docs/guide/operations.md in front of a server in its own process. */

async function deployed() {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  const port = await freePort();
  const env = { PORT: String(port), DATABASE_URL: `file:${folder.path}/data/log.db`, AUTH_SECRET: secret };
  const start = async () => (await startServing(serverPath, [], { cwd: folder.path, env })).child;
  let child = await start();
  const nginx = await startNginx(folder.path, port);
  const token = await tokenFor();
  return {
    ...nginx,
    token,
    publish: async (draft: object) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const answer = await nginx.ask('/api/v1/events', { method: 'POST', headers, body: JSON.stringify(draft) });
      expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('"accepted":1')]);
    },
    stop: async (signal: NodeJS.Signals) => {
      child.process.kill(signal);
      await child.ended;
    },
    start: async () => {
      child = await start();
    },
    /** Resolves with the status of an upgrade. */
    upgrade: (headers: Record<string, string>) =>
      new Promise<number>((resolve) => {
        const ws = new WebSocket(`wss://localhost:${nginx.tlsPort}/ws?connectionParams=1`, { ca: nginx.ca, headers });
        ws.on('error', () => resolve(0));
        ws.once('unexpected-response', (asked, { statusCode }) => {
          resolve(statusCode ?? 0);
          asked.destroy();
        });
        ws.once('open', () => {
          resolve(101);
          ws.terminate();
        });
      }),
  };
}

test.skipIf(!hasNginx)('the tests behind a real proxy need /usr/sbin/nginx and openssl', () => {
  expect(hasNginx).toBe(true);
});

describe.skipIf(!hasNginx)('behind nginx', () => {
  test('[W16] a client over wss reconnects after the server was stopped and after it was killed', async () => {
    const server = await deployed();
    class Trusting extends WebSocket {
      constructor(url: string, protocols?: string | string[]) {
        super(url, protocols, { ca: server.ca });
      }
    }
    const { client, connection } = createRunwireClient({
      url: server.url,
      token: server.token,
      WebSocket: Trusting as never,
      reconnectDelayMs: 50,
      maxReconnectAttempts: 100,
    });
    onTestFinished(() => connection.close());
    const events: RunEvent[] = [];
    let onChange = () => {};
    const subscription = client.onRunEvent.subscribe(
      { runId: 'r1', projectId: 'demo', from: 'start' },
      {
        onData: ({ data }) => {
          if (!isSignal(data)) events.push(data);
          onChange();
        },
        onError: (error) => expect.fail(error.message),
      },
    );
    const received = (count: number) =>
      new Promise<void>((resolve) => {
        onChange = () => events.length >= count && resolve();
        onChange();
      });
    await server.publish(created('r1'));
    await received(1);
    let published = 1;
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await server.stop(signal);
      expect((await server.ask('/healthz')).status).toBe(502);
      await server.start();
      for (let index = 0; index < 3; index++) await server.publish(progress('r1', published++));
      await received(published);
    }
    expect(events.map(({ runSeq }) => runSeq)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    subscription.unsubscribe();
  });

  test('[W16] a stream of server-sent events arrives unbuffered', async () => {
    const server = await deployed();
    const headers = { authorization: `Bearer ${server.token}`, accept: 'text/event-stream' };
    const stream = request(`${server.url}/trpc/onEvent`, { headers, ca: server.ca, agent: false });
    onTestFinished(() => void stream.destroy());
    let text = '';
    let onChange = () => {};
    stream.once('response', (response) => {
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        onChange();
      });
    });
    stream.end();
    const received = (part: string) =>
      new Promise<void>((resolve) => {
        onChange = () => text.includes(part) && resolve();
        onChange();
      });
    await received('stream.live');
    for (const runId of ['r1', 'r2', 'r3']) {
      await server.publish(created(runId));
      await received(`"runId":"${runId}"`);
    }
  });

  test('[W16] the allowed origin is https with the host and port that the browser requested', async () => {
    const server = await deployed();
    const plain = server.url.replace('https', 'http');
    for (const [headers, status] of [
      [{ origin: server.url }, 101],
      [{}, 101],
      [{ origin: plain }, 403],
      [{ origin: plain, 'x-forwarded-proto': 'http' }, 403],
      [{ origin: 'https://localhost' }, 403],
      [{ origin: 'https://evil.example' }, 403],
      [{ origin: 'https://evil.example', 'x-forwarded-host': 'evil.example' }, 403],
      [{ origin: 'null' }, 403],
    ] as const) {
      expect(await server.upgrade(headers), JSON.stringify(headers)).toBe(status);
      const asked = await server.ask('/trpc/auth.me', {
        headers: { authorization: `Bearer ${server.token}`, ...headers },
      });
      expect(asked.status, JSON.stringify(headers)).toBe(status === 101 ? 200 : 403);
    }
    // A foreign host name gets neither a TLS handshake nor, over a valid one, a response.
    expect(await server.upgrade({ host: 'evil.example', origin: 'https://evil.example' })).toBe(0);
    await expect(server.ask('/healthz', { headers: { host: 'evil.example' } })).rejects.toThrow(
      /socket hang up|ECONNRESET/,
    );
    const refused = connectTls({ port: server.tlsPort, host: '127.0.0.1', servername: 'evil.example', ca: server.ca });
    await expect(
      new Promise((resolve, reject) => refused.once('secureConnect', resolve).once('error', reject)),
    ).rejects.toThrow(/unrecognized name|handshake/i);
  });

  test('[W16] a sign-in sets a Secure cookie, and the cookie signs in', async () => {
    const server = await deployed();
    const { status, headers } = await server.ask(`/login?token=${server.token}`);
    const [given = ''] = headers['set-cookie'] ?? [];
    expect([status, headers.location]).toEqual([303, '/']);
    expect(given).toMatch(/; HttpOnly; SameSite=Strict; Max-Age=\d+; Secure$/);
    expect(headers['strict-transport-security']).toBe('max-age=31536000');
    const cookie = given.split(';', 1)[0] as string;
    const asked = await server.ask('/trpc/auth.me', { headers: { cookie, origin: server.url } });
    expect(JSON.parse(asked.text)).toMatchObject({ result: { data: { sub: 'ada' } } });
    expect((await server.ask('/', { headers: { accept: 'text/html' } })).headers['content-security-policy']).toContain(
      `wss://localhost:${server.tlsPort}`,
    );
    const moved = await fetch(`${server.plainUrl}/runs/demo/r1?stage=s1`, { redirect: 'manual' });
    expect([moved.status, moved.headers.get('location')]).toEqual([308, 'https://localhost/runs/demo/r1?stage=s1']);
    for (const path of ['/metrics', '/readyz']) expect((await server.ask(path)).status, path).toBe(404);
  });

  test('[W16] a body over the limit is refused by the server, and a far larger one by the proxy', async () => {
    const server = await deployed();
    const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
    const post = (bytes: number) =>
      server.ask('/api/v1/events', { method: 'POST', headers, body: `"${'x'.repeat(bytes)}"` });
    const own = await post(8 * 1024 * 1024 + 1);
    expect([own.status, JSON.parse(own.text)]).toMatchObject([413, { error: { code: 'TOO_LARGE' } }]);
    const far = await post(10 * 1024 * 1024);
    expect([far.status, far.text]).toEqual([413, expect.stringContaining('nginx')]);
  });

  test('[W16] no log contains a token, whether the server runs or not', async () => {
    const server = await deployed();
    const paths = [`/login?token=${server.token}`, `/hooks/x?key=${server.token}`, `/?token=${server.token}`];
    for (const path of paths) await server.ask(path);
    await fetch(server.plainUrl + paths[0], { redirect: 'manual' });
    await server.stop('SIGTERM');
    for (const path of paths) expect((await server.ask(path)).status).toBe(502);
    await expect.poll(server.logs).toMatch(/ GET \/hooks\/x 502 [\s\S]* GET \/ 502 /);
    expect(server.logs()).toMatch(/ GET \/login 303 /);
    expect(server.logs()).not.toContain(server.token.slice(-20));
  });

  test('[W16] the timeouts allow a silence of more than two heartbeats', () => {
    const config = documentedConfig();
    for (const name of ['proxy_read_timeout', 'proxy_send_timeout']) {
      expect(Number(new RegExp(`${name} (\\d+)s;`).exec(config)?.[1]), name).toBeGreaterThan(
        (2 * HEARTBEAT_MS) / 1_000,
      );
    }
  });
});
