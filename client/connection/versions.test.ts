import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { created, startProxy, startServer, tokenFor } from '../../tests/support/harness.ts';
import { type ConnectionOptions, createRunwireClient } from '../index.ts';

/** Properties that differ between versions of tRPC's client, unless the connection sees to them. */

function open(options: Partial<ConnectionOptions> & { url: string }) {
  const { client, connection } = createRunwireClient({ token: () => tokenFor(), WebSocket, ...options });
  onTestFinished(() => connection.close());
  return { client, connection };
}

test('[C16] (a) the client of a server that shuts down moves to the next server without a failure or a delay', async () => {
  await using first = await startServer();
  await using second = await startServer();
  let { port } = first;
  await using proxy = await startProxy(() => port);
  // A planned retry would be too late for this test.
  const delays = { reconnectDelayMs: 1_000_000, maxReconnectDelayMs: 1_000_000 };
  const { client, connection } = open({ url: `http://127.0.0.1:${proxy.port}`, ...delays });
  const items: string[] = [];
  client.onRunEvent.subscribe({ runId: 'r1', from: 'start' }, { onData: ({ data }) => void items.push(data.type) });
  await expect.poll(() => items).toEqual(['stream.live']);

  port = second.port;
  await first.close();
  await expect.poll(() => items).toEqual(['stream.live', 'stream.gap', 'stream.live']);
  await second.bus.publish([created('r1')], { actor: 'ada' });
  await expect.poll(() => items.at(-1)).toBe('run.created');
  expect(connection.getStatus()).toMatchObject({ state: 'connected', error: null, attempts: 0, retryAtMs: null });
  expect(proxy.opened).toBe(2);
});

test('[C16] (b) a subscription that ends is stopped on the server while another one uses the socket', async () => {
  await using server = await startServer();
  const { client } = open({ url: server.url });
  let received = 0;
  client.onEvent.subscribe({}, { onData: () => void received++ });
  const second = client.onRunEvent.subscribe({ runId: 'r1' }, { onData: () => void received++ });
  await expect.poll(() => received).toBe(2);
  expect(server.getStats().subscriptions).toBe(2);
  second.unsubscribe();
  await expect.poll(() => server.getStats().subscriptions).toBe(1);
});
