import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { SLICE_MS, Turns } from '../slices.ts';
import { DirectWebSocket, type SocketObserver } from './socket.ts';

const silent: SocketObserver = {
  isAuthenticated: true,
  onReceive() {},
  onOverflow() {},
  onSend() {},
  onStall() {},
  onClose() {},
  turnToAnswer: () => undefined,
  turnToClose: () => undefined,
};

/** A server's socket that keeps its messages back, and the client at its other end. */
async function openPair(observer: Partial<SocketObserver> = {}, perMessageDeflate = false) {
  const options = { host: '127.0.0.1', port: 0, WebSocket: DirectWebSocket, allowSynchronousEvents: false };
  const server = new WebSocketServer({ ...options, perMessageDeflate });
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const [socket, request] = (await once(server, 'connection')) as [DirectWebSocket, { socket: never }];
  socket.open(request.socket, { ...silent, ...observer });
  socket.hold();
  const received: string[] = [];
  socket.receiver = {
    onMessage: (data) => {
      received.push(String(data));
      return undefined;
    },
    onError() {},
    onClose() {},
  };
  if (client.readyState !== client.OPEN) await once(client, 'open');
  return {
    client,
    socket,
    received,
    [Symbol.asyncDispose]: async () => {
      client.terminate();
      socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Counts the turns of the event loop until the test finishes. Returns a function that returns the present one. */
function countTurns(): () => number {
  let turn = 0;
  const count = () => {
    turn++;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  onTestFinished(() => clearImmediate(immediate));
  return () => turn;
}

test('[W1] a closing socket keeps no messages back, whatever the client goes on sending', async () => {
  let onMessage = () => {};
  const arrived = (count: number) =>
    new Promise<void>((resolve) => {
      let left = count;
      onMessage = () => --left === 0 && resolve();
    });
  await using pair = await openPair({ onReceive: () => onMessage() });
  const { client, socket, received } = pair;
  const first = arrived(1);
  client.send('before');
  await first;
  const others = arrived(2);
  client.pause(); // The client does not see the close frame, so it does not close its side.
  socket.close(4401, 'no token');
  client.send('after');
  client.send('after');
  await others;
  socket.release();
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  expect(received).toEqual([]);
});

test('[W19] a socket reads 64 KiB until the token is verified, and then the rest', async () => {
  await using pair = await openPair();
  const { client, socket, received } = pair;
  const messages = Array.from({ length: 100 }, (_, index) => `${index} `.padEnd(60_000, 'x'));
  for (const message of messages) client.send(message);
  await expect.poll(() => socket.isPaused).toBe(true);
  await new Promise(setImmediate);
  // One chunk of 64 KiB may come after the limit, and one waits in the receiver of `ws`.
  expect(socket.tcp.bytesRead).toBeLessThan(256 * 1024);
  expect(received).toEqual([]);
  socket.release();
  await expect.poll(() => received.length).toBe(100);
  expect(received).toEqual(messages);
});

test('[W19] a closed socket reads on, so that the client sees the close code', async () => {
  await using pair = await openPair();
  const { client, socket } = pair;
  for (let index = 0; index < 100; index++) client.send('x'.repeat(60_000));
  await expect.poll(() => socket.isPaused).toBe(true);
  socket.close(4401, 'no token');
  expect((await once(client, 'close'))[0]).toBe(4401);
});

test('[W19] a client that sends too many messages, or too much after decompression, before its token is verified overflows', async () => {
  for (const [isCompressed, message] of [
    [false, 'x'],
    [true, 'x'.repeat(500_000)],
  ] as const) {
    let count = 0;
    let countAtOverflow: number | undefined;
    const observer = {
      isAuthenticated: false,
      onReceive: () => void count++,
      onOverflow: () => {
        countAtOverflow ??= count;
      },
    };
    await using pair = await openPair(observer, isCompressed);
    for (let index = 0; index < (isCompressed ? 5 : 3_000); index++) pair.client.send(message);
    await expect.poll(() => countAtOverflow).toBe(isCompressed ? 3 : 2_049);
  }
});

test('[W50] a client that sends too much after decompression, while its messages are kept back, overflows with a token too', async () => {
  let count = 0;
  let countAtOverflow: number | undefined;
  const observer: Partial<SocketObserver> = {
    onReceive: () => void count++,
    onOverflow: () => {
      countAtOverflow ??= count;
      pair.socket.close(4429, 'too many messages at once');
    },
  };
  await using pair = await openPair(observer, true);
  const { client, received } = pair;
  const message = 'x'.repeat(1024 * 1024);
  for (let index = 0; index < 50; index++) client.send(message);
  expect((await once(client, 'close'))[0]).toBe(4429);
  expect(countAtOverflow).toBe(6);
  expect(received).toEqual([]);
});

test('[W50] what is left of a message is handled in later turns, before the messages that follow', async () => {
  await using pair = await openPair();
  const { client, socket, received } = pair;
  socket.release();
  const turnNow = countTurns();
  const turns: number[] = [];
  const part = (text: string, parts: number) => {
    received.push(text);
    turns.push(turnNow());
    return parts > 1 ? () => part(text, parts - 1) : undefined;
  };
  socket.receiver = { onMessage: (data) => part(String(data), 3), onError() {}, onClose() {} };
  for (const text of ['a', 'b', 'c'.repeat(2_000_000)]) client.send(text);
  await expect.poll(() => received.length).toBe(9);
  expect(received.map(([first]) => first).join('')).toBe('aaabbbccc');
  expect(new Set(turns).size).toBe(9);
  expect(socket.isPaused).toBe(false);
});

test('[W51] messages that arrive together on several sockets are passed on in several turns of the event loop, in order', async () => {
  const turns = new Turns();
  const pairs = await Promise.all(Array.from({ length: 5 }, () => openPair({ turnToAnswer: () => turns.next() })));
  onTestFinished(async () => void (await Promise.all(pairs.map((pair) => pair[Symbol.asyncDispose]()))));
  const turnNow = countTurns();
  const passedIn: number[] = [];
  const texts = pairs.map((): string[] => []);
  for (const [index, { socket, client }] of pairs.entries()) {
    socket.receiver = {
      onMessage: (data) => {
        texts[index]?.push(String(data));
        passedIn.push(turnNow());
        const until = performance.now() + 2 * SLICE_MS;
        while (performance.now() < until);
        return undefined;
      },
      ...{ onError() {}, onClose() {} },
    };
    socket.release();
    for (const text of ['a', 'b', 'c']) client.send(text);
  }
  await expect.poll(() => passedIn.length).toBe(15);
  expect(texts).toEqual(pairs.map(() => ['a', 'b', 'c']));
  expect(new Set(passedIn).size).toBe(15);
  expect(pairs.some(({ socket }) => socket.isPaused)).toBe(false);
});

test('[W40] connections with sockets that close at once end in several turns of the event loop, each once', async () => {
  const turns = new Turns();
  const now = vi.spyOn(performance, 'now');
  onTestFinished(() => now.mockRestore());
  let ms = 0;
  now.mockImplementation(() => ++ms); // Each look at the clock takes a millisecond.
  const [ended, closed]: [number[], number[]] = [[], []];
  for (let n = 0; n < 40; n++) {
    const socket = new DirectWebSocket(null as never, undefined, {});
    socket.observer = { ...silent, turnToClose: () => turns.next(), onClose: () => ended.push(n) };
    socket.on('close', () => closed.push(n));
    socket.emit('close', 1006, Buffer.alloc(0));
  }
  for (let before = 0; ended.length < 40; before = ended.length) {
    expect(ended.length - before).toBeLessThan(10);
    await new Promise(setImmediate);
  }
  expect(ended).toEqual(Array.from({ length: 40 }, (_, n) => n));
  expect(closed).toEqual(ended);
});

test('[W42] a client that has ended its side of the TCP socket still gets what was sent before', async () => {
  await using pair = await openPair();
  const { client, socket } = pair;
  const { _socket: tcp } = client as unknown as { _socket: Socket };
  const received: string[] = [];
  client.on('message', (data) => received.push(String(data)));
  tcp.pause();
  const message = 'x'.repeat(500_000);
  for (let n = 0; n < 40; n++) socket.send(message);
  tcp.end();
  await expect.poll(() => socket.readyState).toBe(WebSocket.CLOSING);
  expect(socket.unsentBytes).toBeGreaterThan(0);
  socket.send('later');
  tcp.resume();
  await once(client, 'close');
  expect(received.length).toBe(40);
});
