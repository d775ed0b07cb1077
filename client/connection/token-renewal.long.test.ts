import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Principal } from '../../server/auth/principal.ts';
import type { RunServerOptions } from '../../server/run-server.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import { countedWebSocket, everyone, progress, startServer, tokenFor } from '../../tests/support/harness.ts';
import { createRunwireClient } from '../index.ts';

/** Subscribes to a run while a condition holds and events are published, and checks that every event arrived once. */
async function readWhile(holds: () => boolean, fetchToken: () => Promise<string>, options: RunServerOptions = {}) {
  await using server = await startServer(options);
  const sockets = countedWebSocket();
  const { client, connection } = createRunwireClient({
    url: server.url,
    token: fetchToken,
    WebSocket: sockets.WebSocket,
    reconnectDelayMs: 1,
  });
  onTestFinished(() => connection.close());
  const states = new Set<string>();
  connection.subscribe(() => states.add(connection.getStatus().state));
  const items: (RunEvent | StreamSignal)[] = [];
  const onError = vi.fn();
  client.onRunEvent.subscribe(
    { runId: 'r1', from: 'start' },
    { onData: ({ data }) => void items.push(data as RunEvent | StreamSignal), onError },
  );
  for (let n = 0; holds(); n++) {
    await server.bus.publish([progress('r1', n % 100)], { actor: 'ada' });
    if (n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const count = server.log.head;
  await expect.poll(() => items.some((item) => !isSignal(item) && item.runSeq === count)).toBe(true);
  const runSeqs = items.flatMap((item) => (isSignal(item) ? [] : [item.runSeq]));
  expect(runSeqs).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  expect(items.filter((item) => item.type === 'stream.gap')).toEqual([]);
  expect(onError).not.toHaveBeenCalled();
  return { opened: sockets.opened, states: [...states], count }; // Copied before the server closes.
}

describe('a client with tokens of a few seconds, during publishing', () => {
  test('[C9] keeps one socket and misses no event', async () => {
    const fetchToken = vi.fn(() => tokenFor({ ttlSeconds: 6 }));
    const { opened, states } = await readWhile(() => fetchToken.mock.calls.length < 4, fetchToken);
    expect(opened).toBe(1);
    expect(states.filter((state) => state === 'reconnecting' || state === 'failed')).toEqual([]);
  });

  test('[C9] reconnects at each expiry when the tokens do not state it, and misses no event', async () => {
    let fetched = 0;
    const authenticate = async (token: string): Promise<Principal> => ({ ...everyone, expiresAtMs: Number(token) });
    const fetchToken = () => {
      fetched++;
      return Promise.resolve(String(Date.now() + 1_500));
    };
    const { opened } = await readWhile(() => fetched < 4, fetchToken, { authenticate });
    expect(opened).toBeGreaterThanOrEqual(3);
    expect(fetched - opened).toBeLessThanOrEqual(1); // The last token may be without its socket yet.
  });
});
