import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { initTRPC, TRPCError, tracked } from '@trpc/server';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Wire } from '../../tests/support/harness.ts';
import { ClientCalls } from './client-calls.ts';
import type { Connection } from './connection.ts';

/** Runwire's errors have messages of its own. */
const t = initTRPC.create({
  isDev: false,
  errorFormatter: ({ shape: { code, data } }) => ({ code, data: { code: data.code, path: data.path } }),
});

/** Endless until it is returned, as a subscription of Runwire is. */
function quiet(): AsyncIterableIterator<string> {
  let end = () => {};
  const ended = new Promise<IteratorResult<string>>((resolve) => {
    end = () => resolve({ done: true, value: undefined });
  });
  return {
    next: () => ended,
    return: () => {
      end();
      return ended;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

const echoInput = t.procedure.input((value) => value);
const router = t.router({
  echo: echoInput.query(({ input }) => input),
  nothing: t.procedure.query(() => undefined),
  write: echoInput.mutation(({ input }) => ({ input })),
  fails: t.procedure.query(() => {
    throw new TRPCError({ code: 'FORBIDDEN', message: 'no' });
  }),
  items: echoInput.subscription(async function* ({ input }) {
    yield 'plain';
    yield tracked('cursor', { input });
  }),
  failsLater: t.procedure.subscription(async function* () {
    yield 1;
    throw new TRPCError({ code: 'NOT_FOUND', message: 'gone' });
  }),
  refused: t.procedure.subscription((): AsyncIterable<number> => {
    throw new TRPCError({ code: 'FORBIDDEN', message: 'no' });
  }),
  quiet: t.procedure.subscription(quiet),
});

type Serve = (socket: WebSocket) => void;
const byRunwire: Serve = (socket) => {
  const line = { send: (text: string) => socket.send(text), isOpen: true };
  const connection = { countMessage: () => true } as Connection;
  const calls = new ClientCalls(line, connection, { router, onError: () => undefined });
  socket.on('message', (data: Buffer, isBinary) => calls.onMessage(data, isBinary));
};

/** Returns what a server answers to messages. Sends each one after the answers to the former. */
async function answersOf(serve: Serve | 'tRPC', messages: [message: unknown, answers: number][]): Promise<string[]> {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  if (serve === 'tRPC') applyWSSHandler({ wss, router });
  else wss.on('connection', serve);
  await once(wss, 'listening');
  const wire = new Wire(new WebSocket(`ws://127.0.0.1:${(wss.address() as AddressInfo).port}`));
  onTestFinished(async () => {
    await wire[Symbol.asyncDispose]();
    wss.close();
  });
  await once(wire.ws, 'open');
  let count = 0;
  for (const [message, answers] of messages) {
    wire.send(message);
    count += answers;
    await wire.until(() => wire.texts.length >= count);
  }
  wire.send({ id: 99, method: 'query', params: { path: 'nothing' } });
  await wire.until(() => wire.texts.some((text) => text.startsWith('{"id":99')));
  return wire.texts;
}

const call = (method: string, path: string, more: object = {}, id: unknown = 1) => ({
  id,
  method,
  params: { path, ...more },
});
const stop = (id: unknown = 1) => ({ id, method: 'subscription.stop' });

const exchanges: [string, [unknown, number][]][] = [
  ['PING', [['PING', 1]]],
  [
    'queries and mutations',
    [
      [call('query', 'echo', { input: { a: 1 } }), 1],
      [{ ...call('query', 'nothing', {}, 'two'), jsonrpc: '2.0' }, 1],
      [call('mutation', 'write', { input: 'x' }), 1],
    ],
  ],
  ['a batch', [[[call('query', 'echo', { input: 1 }, 1), call('mutation', 'write', {}, 2)], 2]]],
  [
    'errors of calls',
    [
      [call('query', 'fails'), 1],
      [call('query', 'nowhere'), 1],
      [call('mutation', 'echo'), 1],
      [{ ...call('subscription', 'refused', {}, 'three'), jsonrpc: '2.0' }, 1],
      [call('subscription', 'echo'), 1],
    ],
  ],
  [
    'malformed messages',
    [
      ['{', 1],
      [Buffer.from('{}'), 1],
      ['[1]', 1],
      [{ ...call('query', 'echo'), id: null }, 1],
      [{ ...call('query', 'echo'), id: {} }, 1],
      [{ ...call('query', 'echo'), jsonrpc: '1.0' }, 1],
    ],
  ],
  ['a subscription that ends', [[{ ...call('subscription', 'items', { input: { a: 1 } }), jsonrpc: '2.0' }, 4]]],
  [
    'the cursor in the input',
    [
      [call('subscription', 'items', { input: { a: 1 }, lastEventId: 'c' }), 4],
      [call('subscription', 'items', { lastEventId: 'c' }, 2), 4],
      [call('subscription', 'items', { input: [1], lastEventId: 'c' }, 3), 4],
    ],
  ],
  ['a subscription that fails', [[call('subscription', 'failsLater'), 4]]],
  [
    'a stop, and the id again',
    [
      [call('subscription', 'quiet'), 1],
      [stop(), 1],
      [call('subscription', 'quiet'), 1],
      [stop(7), 0],
      [stop(), 1],
    ],
  ],
  [
    'an id that is in use',
    [
      [call('subscription', 'quiet'), 1],
      [call('subscription', 'quiet'), 1],
      [stop(), 1],
    ],
  ],
];

test.each(exchanges)('[D16] a client is sent the messages that tRPC itself sends: %s', async (_name, messages) => {
  expect(await answersOf(byRunwire, messages)).toEqual(await answersOf('tRPC', messages));
});

test('[W50] 50 requests of a message begin in a turn of the event loop, and none after the one that is over the rate', () => {
  const sent: string[] = [];
  let left = 119;
  const connection = { countMessage: () => left-- > 0 } as Connection;
  const line = { send: (text: string) => void sent.push(text), isOpen: true };
  const calls = new ClientCalls(line, connection, { router, onError: () => undefined });
  // Each is refused at once, and the first one is counted by the connection.
  const message = Buffer.from(
    JSON.stringify(Array.from({ length: 200 }, () => ({ ...call('query', 'echo'), id: null }))),
  );
  let rest = calls.onMessage(message, false);
  const counts = [sent.length];
  while (rest) {
    rest = rest();
    counts.push(sent.length);
  }
  expect(counts).toEqual([50, 100, 120]);
});

test('[W25] a message is parsed in pieces, each in a turn of the event loop', async () => {
  const sent: string[] = [];
  const line = { send: (text: string) => void sent.push(text), isOpen: true };
  const calls = new ClientCalls(line, {} as Connection, { router, onError: () => undefined });
  const input = Array.from({ length: 20_000 }, (_, index) => ({ [`key ${index}`]: 'ä'.repeat(10) }));
  const message = Buffer.from(JSON.stringify(call('query', 'echo', { input })));
  let rest = calls.onMessage(message, false);
  let turns = 1;
  for (; rest; turns++) rest = rest();
  expect(turns).toBeGreaterThan(message.length / 2 / 65_536);
  await vi.waitFor(() => expect(sent).toHaveLength(1));
  expect(JSON.parse(sent[0] as string)).toEqual({ id: 1, result: { type: 'data', data: input } });
});

test('[W25] a message of many levels is answered under its id', async () => {
  const sent: string[] = [];
  const line = { send: (text: string) => void sent.push(text), isOpen: true };
  const calls = new ClientCalls(line, {} as Connection, { router, onError: () => undefined });
  const text = JSON.stringify(call('query', 'echo', { input: 'DEEP' }));
  expect(
    calls.onMessage(Buffer.from(text.replace('"DEEP"', '['.repeat(1_000) + ']'.repeat(1_000))), false),
  ).toBeUndefined();
  await vi.waitFor(() => expect(sent).toHaveLength(1));
  expect(JSON.parse(sent[0] as string)).toMatchObject({ id: 1, result: { type: 'data' } });
});
