import { createTRPCClient, createWSClient, wsLink } from '@trpc/client';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { isSignal } from '../../shared/protocol.ts';
import type { AppRouter } from '../../shared/router.ts';
import {
  created,
  isLive,
  openServer,
  progress,
  startProxy,
  startServer,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';
import { freePort } from '../support/ports.ts';
import { publisher, upwards } from './setup.ts';

describe('shutdown', () => {
  test('[W4] each of 200 clients receives the notice and 1001, no subscription is stopped, and no accepted event is lost', async () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    const server = await startServer({ databaseUrl, shutdownSpreadMs: 300 });
    const token = await tokenFor();
    const wires = await Promise.all(upwards(1, 200).map(() => Wire.open(server.url, { token })));
    const streams = wires.map((wire) => wire.subscribe('onEvent', {}));
    await Promise.all(streams.map((stream) => stream.until(isLive)));
    const order: number[] = [];
    for (const [i, wire] of wires.entries()) {
      void wire.until(() => wire.messages.some(({ method }) => method === 'reconnect')).then(() => order.push(i));
    }
    // Publishing continues during the shutdown.
    let accepted = 0;
    const publishing = (async () => {
      try {
        for (;;) accepted = (await server.bus.publish([progress('r1', 1)], publisher)).seq;
      } catch (error) {
        return error;
      }
    })();
    await server.close();
    const ends = await Promise.all(wires.map(({ closed }) => closed));
    expect(ends.every(({ code }) => code === 1001)).toBe(true);
    for (const wire of wires) {
      expect(wire.messages.filter(({ method }) => method === 'reconnect')).toEqual([{ id: null, method: 'reconnect' }]);
      expect(wire.messages.at(-1)?.method).toBe('reconnect');
      expect(wire.messages.some(({ result, error }) => error || result?.type === 'stopped')).toBe(false);
    }
    expect(order).toHaveLength(200);
    expect(order).not.toEqual(upwards(0, 199));
    expect(await publishing).toMatchObject({ code: 'UNAVAILABLE' });

    await using again = await openServer({ databaseUrl });
    expect(again.log.head).toBe(accepted);
    expect(accepted).toBeGreaterThan(0);
  });

  test('[W4] clients are closed over the whole shutdown time', async () => {
    const server = await startServer({ shutdownSpreadMs: 10_000 });
    const token = await tokenFor();
    const wires = await Promise.all(upwards(1, 200).map(() => Wire.open(server.url, { token })));
    await Promise.all(wires.map((wire) => wire.call('query', 'auth.me')));
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const noticed = () => wires.filter(({ messages }) => messages.some(({ method }) => method === 'reconnect')).length;
    const closing = server.close();
    for (const share of [0.25, 0.5, 0.75]) {
      vi.advanceTimersByTime(2_500);
      // Six standard deviations below the expected count.
      await expect.poll(noticed).toBeGreaterThan(200 * share - 42);
      expect(noticed()).toBeLessThan(200);
    }
    vi.advanceTimersByTime(2_500);
    await closing;
    expect(noticed()).toBe(200);
  });

  test('[W4] a connection during the shutdown is refused, and the port is free after it', async () => {
    const server = await startServer({ shutdownSpreadMs: 200, port: await freePort() });
    await using wire = await Wire.open(server.url);
    const closing = server.close();
    await expect(Wire.open(server.url)).rejects.toThrow();
    await closing;
    expect((await wire.closed).code).toBe(1001);
    await using next = await startServer({ port: server.port });
    expect(next.port).toBe(server.port);
  });

  test('[W4] a client that does not close is disconnected, and a second close does nothing', async () => {
    const server = await startServer();
    const deaf = await Wire.open(server.url);
    await deaf.subscribe('onEvent', {}).until(isLive);
    deaf.ws.pause();
    await Promise.all([server.close(), server.close()]);
    deaf.ws.terminate();
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
  });
});

describe('the stock client', () => {
  test('[W6] the stock client receives every event of the run in order while its socket is cut again and again', async () => {
    await using server = await startServer();
    await using proxy = await startProxy(server.port);
    const token = await tokenFor();
    const wsClient = createWSClient({
      url: `ws://127.0.0.1:${proxy.port}/ws`,
      WebSocket: WebSocket as never,
      connectionParams: () => ({ token }),
      retryDelayMs: () => 5,
    });
    const client = createTRPCClient<AppRouter>({ links: [wsLink({ client: wsClient })] });
    const seen: number[] = [];
    const faults: unknown[] = [];
    await server.bus.publish([created('r1'), created('other')], publisher);
    const subscription = client.onRunEvent.subscribe(
      { runId: 'r1', from: 'start' },
      {
        onData: ({ data }) => {
          if (isSignal(data)) {
            if (data.type === 'stream.gap') faults.push(data);
          } else seen.push(data.runSeq);
        },
        onError: (error) => faults.push(error),
        onStopped: () => faults.push('stopped'),
      },
    );
    await expect.poll(() => seen.length).toBeGreaterThan(0);
    const total = 601;
    for (let i = 0; i < 60; i++) {
      await server.bus.publish(
        upwards(1, 10).map((n) => progress('r1', n)),
        publisher,
      );
      await server.bus.publish([progress('other', 1)], publisher);
      if (i % 4 === 0) proxy.cut();
      // The client reconnects before the next batch in some rounds only.
      if (i % 8 === 0) await expect.poll(() => seen.at(-1)).toBe(1 + (i + 1) * 10);
    }
    await expect.poll(() => seen.at(-1)).toBe(total);
    expect(proxy.opened).toBeGreaterThan(5);
    expect(faults).toEqual([]);
    // The wire may repeat items that a cut socket had begun to send. Without repetitions, the order is complete.
    expect([...new Set(seen)]).toEqual(upwards(1, total));
    subscription.unsubscribe();
    await wsClient.close();
  });
});
