import EventEmitter, { on, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { initTRPC, tracked } from '@trpc/server';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import { WebSocketServer } from 'ws';
import { z } from 'zod';
import { peer } from './committed.ts';
import type { BenchEvent } from './event.ts';
import { optionsOf, serve } from './face.ts';

/**
 * tRPC as in its documentation: an async generator over `on(emitter)` that yields `tracked()` items. Each run has its own
 * event name: a generator that filters all events costs many times as much.
 * https://trpc.io/docs/server/subscriptions#tracked
 *
 * `isIterator`: an async iterator written by hand instead, without the promises of a generator and the queues of `on`.
 */

const {
  isIterator = false,
  port = 0,
  heartbeatMs,
} = optionsOf<{
  isIterator?: boolean;
  port?: number;
  heartbeatMs?: number;
}>();

const emitter = new EventEmitter();
emitter.setMaxListeners(0);
/** The iterators that read. A generator is counted as the listener to errors that each `on()` adds. */
let iterators = 0;

async function* generator(runId: string, signal: AbortSignal | undefined) {
  for await (const [data] of on(emitter, runId, signal ? { signal } : {})) {
    const event = data as BenchEvent;
    yield tracked(event.eventId, event);
  }
}

function iterator(runId: string) {
  type Item = ReturnType<typeof tracked<BenchEvent>>;
  const items: Item[] = [];
  let wake: ((result: IteratorResult<Item, void>) => void) | undefined;
  const end = { done: true, value: undefined } as const;
  const listen = (event: BenchEvent) => {
    const value = tracked(event.eventId, event);
    wake?.({ done: false, value });
    if (!wake) items.push(value);
    wake = undefined;
  };
  emitter.on(runId, listen);
  iterators++;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next(): Promise<IteratorResult<Item, void>> {
      const value = items.shift();
      if (value) return Promise.resolve({ done: false, value });
      return new Promise((resolve) => {
        wake = resolve;
      });
    },
    async return(): Promise<IteratorResult<Item, void>> {
      emitter.off(runId, listen);
      iterators--;
      wake?.(end);
      return end;
    },
  };
}

const t = initTRPC.create();
const router = t.router({
  onRunEvent: t.procedure
    .input(z.object({ runId: z.string(), lastEventId: z.string().nullish() }))
    .subscription(({ input, signal }) => (isIterator ? iterator(input.runId) : generator(input.runId, signal))),
});
const http = createServer();
const wss = new WebSocketServer({ server: http, perMessageDeflate: false });
applyWSSHandler({ wss, router, keepAlive: { enabled: heartbeatMs !== undefined, pingMs: heartbeatMs ?? 0 } });
http.listen(port, '127.0.0.1');
await once(http, 'listening');

await serve({
  port: (http.address() as AddressInfo).port,
  path: '/',
  greetings: ['{"id":$ID,"method":"subscription","params":{"path":"onRunEvent","input":{"runId":"$RUN"}}}', 1],
  subscribed: () => (isIterator ? iterators : emitter.listenerCount('error')),
  ...peer((events) => () => {
    for (const event of events) emitter.emit(event.runId, event);
  }),
});
