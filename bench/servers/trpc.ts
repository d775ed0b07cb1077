import EventEmitter, { on, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { initTRPC, tracked } from '@trpc/server';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import { WebSocketServer } from 'ws';
import { z } from 'zod';
import { committing } from './committed.ts';
import type { BenchEvent } from './event.ts';
import { serve } from './face.ts';

/**
 * tRPC as in its documentation: an async generator over `on(emitter)` that yields `tracked()` items. Each run has its own
 * event name: a generator that filters all events costs many times as much.
 * https://trpc.io/docs/server/subscriptions#tracked
 */

const emitter = new EventEmitter();
emitter.setMaxListeners(0);
const t = initTRPC.create();
const router = t.router({
  onRunEvent: t.procedure
    .input(z.object({ runId: z.string(), lastEventId: z.string().nullish() }))
    .subscription(async function* ({ input, signal }) {
      for await (const [data] of on(emitter, input.runId, signal ? { signal } : {})) {
        const event = data as BenchEvent;
        yield tracked(event.eventId, event);
      }
    }),
});
const http = createServer();
const wss = new WebSocketServer({ server: http, perMessageDeflate: false });
applyWSSHandler({ wss, router });
http.listen(0, '127.0.0.1');
await once(http, 'listening');

const emitBy = await committing();
await serve({
  port: (http.address() as AddressInfo).port,
  path: '/',
  greetings: [
    JSON.stringify({ id: 1, method: 'subscription', params: { path: 'onRunEvent', input: { runId: '$RUN' } } }),
    1,
  ],
  // Each `on()` also listens to errors.
  subscribed: () => emitter.listenerCount('error'),
  emit: emitBy((events) => () => {
    for (const event of events) emitter.emit(event.runId, event);
  }),
});
