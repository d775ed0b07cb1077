import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { DirectWebSocket } from './socket.ts';

test('[W1] a closing socket keeps no messages back, whatever the client goes on sending', async () => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, WebSocket: DirectWebSocket });
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const [socket] = (await once(server, 'connection')) as [DirectWebSocket];
  await once(client, 'open');
  const received: string[] = [];
  socket.on('message', (data: Buffer) => received.push(String(data)));
  const arrived = (count: number) =>
    new Promise<void>((resolve) => {
      let left = count;
      socket.observer = { onReceive: () => --left === 0 && resolve(), onSend() {}, onStall() {}, onClose() {} };
    });

  socket.hold();
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

  client.terminate();
  await new Promise((resolve) => server.close(resolve));
});
