import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { initTRPC } from '@trpc/server';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Wire } from '../../tests/support/harness.ts';
import { deliveryMode } from './mode.ts';

type Result = IteratorResult<object>;

/** Serves one subscription with tRPC's handler, as `DirectSubscription` and `encoder.ts` do, and notes each call. */
async function serveItem() {
  const calls: string[] = [];
  const item = {};
  const nothing = new Uint8Array(0);
  let settle: { resolve: (result: Result) => void; reject: (error: Error) => void } | undefined;
  const rest = new Promise<Result>((resolve, reject) => {
    settle = { resolve, reject };
  });
  let requests = 0;
  let isEnded = false;
  const end = () => {
    if (!isEnded) calls.push('end');
    isEnded = true;
  };
  const iterator = {
    next: () => {
      calls.push('next');
      return ++requests === 1 ? Promise.resolve<Result>({ done: false, value: item }) : rest;
    },
    return: async () => {
      end();
      return { done: true, value: undefined };
    },
    [Symbol.asyncDispose]: async () => end(),
    [Symbol.asyncIterator]: () => iterator,
  };
  class Quiet extends WebSocket {
    override send(data: unknown, ...rest: unknown[]): void {
      if (data === nothing) calls.push('dropped');
      else super.send(...([data, ...rest] as Parameters<WebSocket['send']>));
    }
  }
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', WebSocket: Quiet });
  await once(wss, 'listening');
  const t = initTRPC.create();
  applyWSSHandler({
    wss,
    router: t.router({ quiet: t.procedure.subscription(() => iterator as AsyncIterableIterator<unknown>) }),
    experimental_encoder: {
      encode: (message) => {
        const { id, result, error } = message as {
          id: unknown;
          result?: { type?: string; data?: unknown };
          error?: object;
        };
        calls.push(result?.data === item ? `item of ${id}` : error ? 'error' : (result?.type ?? 'other'));
        return result?.data === item ? nothing : JSON.stringify(message);
      },
      decode: (text) => JSON.parse(text as string),
    },
  });
  const wire = new Wire(new WebSocket(`ws://127.0.0.1:${(wss.address() as AddressInfo).port}`));
  onTestFinished(async () => {
    await wire[Symbol.asyncDispose]();
    wss.close();
  });
  await once(wire.ws, 'open');
  wire.send({ id: 7, method: 'subscription', params: { path: 'quiet' } });
  await expect.poll(() => calls.length).toBeGreaterThanOrEqual(5);
  return { calls, wire, ...(settle as NonNullable<typeof settle>) };
}

/** Fails if a version of tRPC breaks a property that direct delivery depends on. */
describe('[D16] the handler of tRPC', () => {
  test('sends `started`, passes the first item and the request id to the encoder, then calls next() again', async () => {
    const { calls } = await serveItem();
    // The order of `started` and the first `next` differs between versions, and does not matter.
    expect(calls.slice(0, 2).sort()).toEqual(['next', 'started']);
    expect(calls.slice(2)).toEqual(['item of 7', 'dropped', 'next']);
  });

  test('ends the iterator at a stop, then sends `stopped`', async () => {
    const { calls, wire } = await serveItem();
    wire.send({ id: 7, method: 'subscription.stop' });
    await wire.until(() => wire.messages.length === 2);
    expect(calls.slice(5)).toEqual(['end', 'stopped']);
  });

  test('ends the iterator when the socket closes', async () => {
    const { calls, wire } = await serveItem();
    wire.ws.terminate();
    await expect.poll(() => calls.filter((call) => call === 'end')).toEqual(['end']);
  });

  test('sends `stopped` once when the second next() is done', async () => {
    const { calls, wire, resolve } = await serveItem();
    resolve({ done: true, value: undefined });
    await wire.until(() => wire.messages.length === 2);
    expect(calls.slice(5).filter((call) => call !== 'end')).toEqual(['stopped']);
  });

  test('sends the error, then `stopped`, when the second next() rejects', async () => {
    const { calls, wire, reject } = await serveItem();
    reject(new Error('the log has failed'));
    await wire.until(() => wire.messages.length === 3);
    expect(calls.slice(5).filter((call) => call !== 'end')).toEqual(['error', 'stopped']);
  });
});

describe('[D20] delivery mode', () => {
  test('a version of tRPC that has not been tested gets the iterator and a warning with its number', () => {
    expect(deliveryMode('direct', '11.19.0')).toEqual({ mode: 'direct' });
    expect(deliveryMode('iterator', '11.26.0')).toEqual({ mode: 'iterator' });
    expect(deliveryMode('direct', '11.26.0')).toEqual({
      mode: 'iterator',
      warning: 'delivery: iterator (tRPC 11.26.0 has not been tested)',
    });
    expect(deliveryMode(undefined, '11.25.2-canary.1').mode).toBe('iterator');
  });

  test('the installed version of tRPC has been tested', () => {
    expect(deliveryMode()).toEqual({ mode: 'direct' });
  });
});
