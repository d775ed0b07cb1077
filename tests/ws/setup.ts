import { expect } from 'vitest';
import { WebSocket } from 'ws';
import { isSignal } from '../../shared/protocol.ts';
import { isLive, keptLog, progress, startServer, tokenFor, Wire } from '../support/harness.ts';

/** Shared by the tests of the WebSocket protocol. */

export const publisher = { actor: 'ada' };

export const canary = 'CANARY-51b2';

export const upwards = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

export const subscription = (params: unknown, id: unknown = 1) => ({ id, method: 'subscription', params });

export const query = (params: unknown, id: unknown = 1) => ({ id, method: 'query', params });

/** A server with a bystander: a client with an open subscription. */
export async function withBystander(options: Parameters<typeof startServer>[0] = {}) {
  const { logger, lines } = keptLog();
  const server = await startServer({ logger, ...options });
  const bystander = await Wire.open(server.url, { token: await tokenFor({ sub: 'bystander' }) });
  const stream = bystander.subscribe('onEvent', {});
  await stream.until(isLive);
  let count = 0;
  return {
    ...server,
    lines,
    /** Checks that the server runs, and that the bystander receives the next event. */
    check: async () => {
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      await server.bus.publish([progress('bystander', ++count % 100)], publisher);
      await stream.until((item) => !isSignal(item) && item.seq === server.log.head);
      expect(stream.messages.every(({ error }) => !error)).toBe(true);
      expect(bystander.ws.readyState).toBe(WebSocket.OPEN);
    },
    [Symbol.asyncDispose]: async () => {
      await bystander[Symbol.asyncDispose]();
      await server.close();
    },
  };
}
