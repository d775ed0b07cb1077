import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { peer } from './committed.ts';
import { optionsOf, serve } from './face.ts';

/** Socket.IO: a room per run, WebSocket transport from the start. */

const http = createServer();
const { heartbeatMs = 600_000 } = optionsOf<{ heartbeatMs?: number }>();
const io = new Server(http, { transports: ['websocket'], pingInterval: heartbeatMs });
io.on('connection', (socket) => {
  void socket.join(String(socket.handshake.auth.run));
});
http.listen(0, '127.0.0.1');
await once(http, 'listening');

await serve({
  port: (http.address() as AddressInfo).port,
  path: '/socket.io/?EIO=4&transport=websocket',
  greetings: [1, '40{"run":"$RUN"}', 1],
  subscribed: () => io.sockets.sockets.size,
  ...peer((events) => () => {
    for (const event of events) io.to(event.runId).emit('event', event);
  }),
});
