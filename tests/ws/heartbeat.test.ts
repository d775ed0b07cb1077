import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { created, isLive, startServer, tokenFor, Wire } from '../support/harness.ts';
import { publisher, query } from './setup.ts';

describe('heartbeat', () => {
  test('[W2] every client is pinged regularly; a client that answers stays, a silent one is closed', async () => {
    await using server = await startServer({ heartbeatMs: 150 });
    await using lively = await Wire.open(server.url);
    await using talking = await Wire.open(server.url, { options: { autoPong: false } });
    await using silent = await Wire.open(server.url, { options: { autoPong: false } });
    const alive = lively.subscribe('onEvent', {});
    await alive.until(isLive);
    let pings = 0;
    const pinged = new Promise<void>((resolve) => {
      lively.ws.on('ping', () => {
        if (++pings === 5) resolve();
      });
    });
    // Any message counts as an answer.
    talking.ws.on('ping', () => talking.send({ id: 99, method: 'subscription.stop' }));
    let silentPings = 0;
    silent.ws.on('ping', () => silentPings++);
    expect((await silent.closed).code).toBe(1006);
    expect(silentPings).toBeGreaterThanOrEqual(1);
    expect(silentPings).toBeLessThanOrEqual(3);
    await pinged;
    expect([lively, talking].map(({ ws }) => ws.readyState)).toEqual([WebSocket.OPEN, WebSocket.OPEN]);
    await expect.poll(() => server.getStats().connections).toBe(2);
    await server.bus.publish([created('r1')], publisher);
    await alive.until((item) => item.type === 'run.created');
  });

  test('[W2] after a pause of its own, the server closes no client that answered', async () => {
    const heartbeatMs = 200;
    await using server = await startServer({ heartbeatMs });
    await using wire = await Wire.open(server.url);
    await wire.call('query', 'auth.me');
    const until = performance.now() + 5 * heartbeatMs;
    while (performance.now() < until); // Blocks the event loop, as a busy or suspended machine does.
    let pings = 0;
    wire.ws.on('ping', () => pings++);
    await expect.poll(() => pings).toBeGreaterThan(2);
    expect(wire.ws.readyState).toBe(WebSocket.OPEN);
  });
});

describe('clients that send no token', () => {
  // Fakes Date only: sockets and timers stay real.
  const later = (ms: number) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    vi.setSystemTime(Date.now() + ms);
  };

  test('[W5] a socket without a token closes after the time limit, and one with a token stays', async () => {
    await using server = await startServer({ limits: { identifyMs: 1_000 } });
    await using named = await Wire.open(server.url);
    const stream = named.subscribe('onEvent', {});
    await stream.until(isLive);
    await using silent = await Wire.open(server.url, { isSilent: true });
    expect(await silent.closed).toEqual({ code: 4401, reason: 'no token' });
    expect(named.ws.readyState).toBe(WebSocket.OPEN);
  });

  test('[W5] a change of the system clock closes no socket', async () => {
    await using server = await startServer({ heartbeatMs: 400 });
    await using named = await Wire.open(server.url, { token: await tokenFor({ ttlSeconds: 86_400 }) });
    await named.subscribe('onEvent', {}).until(isLive);
    await using silent = await Wire.open(server.url, { isSilent: true });
    later(3_600_000);
    // One ping: before the second, a client may be silent for two intervals.
    await new Promise((resolve) => named.ws.once('ping', resolve));
    expect(silent.ws.readyState).toBe(WebSocket.OPEN);
  });

  test('[W5] a socket without connectionParams and without a cookie closes at once', async () => {
    await using server = await startServer();
    await using nobody = await Wire.open(server.url, { token: null });
    nobody.send(query({ path: 'auth.me' }));
    expect(await nobody.closed).toEqual({ code: 4401, reason: 'no token' });
    expect(nobody.messages).toEqual([]);
  });
});
