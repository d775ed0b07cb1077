import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { created, isLive, openServer, tokenFor, Wire } from '../support/harness.ts';
import { publisher } from './setup.ts';

describe('attach to an existing HTTP server', () => {
  type Handler = (request: IncomingMessage, response: ServerResponse) => void;
  async function listening(handler?: Handler): Promise<{ host: Server; url: string } & AsyncDisposable> {
    const host = handler ? createServer(handler) : createServer();
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
    const { port } = host.address() as AddressInfo;
    return {
      host,
      url: `http://127.0.0.1:${port}`,
      [Symbol.asyncDispose]: async () => {
        host.closeAllConnections();
        await new Promise((resolve) => host.close(resolve));
      },
    };
  }
  /** A small application: one page, its own health check, and 404. */
  const application: Handler = (request, response) => {
    if (request.url === '/' || request.url === '/healthz') {
      response.end(`the application's ${request.url}`);
      return;
    }
    response.writeHead(404);
    response.end("the application's 404");
  };
  const collaboration = (server: Server) => {
    const wss = new WebSocketServer({ server, path: '/collaboration' });
    wss.on('connection', (ws) => ws.send('the collaboration'));
    return wss;
  };
  const said = (url: string) =>
    new Promise<string>((resolve, reject) => {
      const ws = new WebSocket(url.replace('http', 'ws'));
      ws.once('message', (data) => {
        resolve(data.toString());
        ws.terminate();
      });
      ws.once('error', reject);
    });

  const checkApplication = async (url: string) => {
    expect(await (await fetch(url)).text()).toBe("the application's /");
    expect(await (await fetch(`${url}/healthz`)).text()).toBe("the application's /healthz");
    const missing = await fetch(`${url}/nowhere`);
    expect([missing.status, await missing.text()]).toEqual([404, "the application's 404"]);
  };
  const checkRunwire = async (url: string, publish: () => Promise<unknown>) => {
    const token = await tokenFor();
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const posted = await fetch(`${url}/api/v1/events`, {
      method: 'POST',
      headers,
      body: JSON.stringify(created('r9')),
    });
    expect(await posted.json()).toMatchObject({ accepted: 1 });
    expect((await fetch(`${url}/trpc/auth.me`, { headers })).status).toBe(200);
    expect((await fetch(`${url}/api/v1/nowhere`, { headers })).status).toBe(404);
    await using wire = await Wire.open(url);
    const stream = wire.subscribe('onEvent', {});
    await stream.until(isLive);
    await publish();
    await stream.until((item) => item.type === 'run.created');
  };

  test.each(['before', 'after'] as const)(
    '[W3] Runwire handles its own paths and leaves all others, and another WebSocket set up %s it, to the application',
    async (when) => {
      await using place = await listening(application);
      await using server = await openServer();
      const before = when === 'before' ? collaboration(place.host) : undefined;
      server.attach(place.host);
      const wss = before ?? collaboration(place.host);
      await checkApplication(place.url);
      await checkRunwire(place.url, () => server.bus.publish([created('r1')], publisher));
      expect(await said(`${place.url}/collaboration`)).toBe('the collaboration');
      await server.close();
      await checkApplication(place.url);
      expect(await said(`${place.url}/collaboration`)).toBe('the collaboration');
      const left = await fetch(`${place.url}/trpc/auth.me`);
      expect([left.status, await left.text()]).toEqual([404, "the application's 404"]);
      wss.close();
    },
  );

  test('[W3] handlers added after it, as by Express, receive the other paths only', async () => {
    await using place = await listening();
    await using server = await openServer();
    server.attach(place.host);
    const seen: (string | undefined)[] = [];
    place.host.on('request', (request: IncomingMessage, response: ServerResponse) => {
      seen.push(request.url);
      application(request, response);
    });
    await checkApplication(place.url);
    await checkRunwire(place.url, () => server.bus.publish([created('r1')], publisher));
    expect(seen).toEqual(['/', '/healthz', '/nowhere']);
  });

  test('[W3] an upgrade that no handler takes is refused', async () => {
    await using place = await listening(application);
    await using server = await openServer();
    server.attach(place.host);
    await expect(said(`${place.url}/elsewhere`)).rejects.toThrow(/Unexpected server response: 4\d\d/);
  });

  test('[W3] an upgrade that no handler takes is refused with two attached servers, and a close restores the first state', async () => {
    await using place = await listening(application);
    const { emit } = place.host;
    const first = await openServer();
    const second = await openServer();
    first.attach(place.host);
    second.attach(place.host);
    await expect(said(`${place.url}/elsewhere`)).rejects.toThrow(/Unexpected server response: 4\d\d/);
    await second.close();
    await first.close();
    expect(place.host.emit).toBe(emit);
    expect(place.host.listenerCount('upgrade')).toBe(0);
  });

  test('[W3] two servers can attach to one HTTP server, one after the other', async () => {
    await using place = await listening(application);
    const first = await openServer();
    first.attach(place.host);
    await checkRunwire(place.url, () => first.bus.publish([created('r1')], publisher));
    await first.close();
    await using second = await openServer();
    second.attach(place.host);
    await checkRunwire(place.url, () => second.bus.publish([created('r1')], publisher));
    await checkApplication(place.url);
  });

  test('[W3] HTTP streams end when it closes, though the HTTP server keeps running', async () => {
    await using place = await listening(application);
    await using server = await openServer();
    server.attach(place.host);
    const headers = { authorization: `Bearer ${await tokenFor()}`, accept: 'text/event-stream' };
    const response = await fetch(`${place.url}/trpc/onEvent?input=%7B%7D`, { headers });
    let text = '';
    let closing: Promise<void> | undefined;
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk);
      if (text.includes('stream.live')) closing ??= server.close();
    }
    await closing;
    expect(text).toContain('UNAVAILABLE');
    await checkApplication(place.url);
  });
});
