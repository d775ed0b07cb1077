import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { RunServerOptions } from '../../server/run-server.ts';
import { openServer } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';

/** A real server with connections that can be cut without a close frame, as on a failing network. Default: a free port. */
export async function startCuttableServer(options: RunServerOptions = {}, at?: number) {
  const port = at ?? (await freePort());
  const server = await openServer(options);
  const sockets = new Set<Socket>();
  const http = createServer((_request, response) => response.writeHead(404).end());
  http.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.attach(http);
  const webSockets = new Set<Socket>();
  const { emit } = http;
  http.emit = function (this: typeof http, event: string, ...args: unknown[]) {
    if (event === 'upgrade') webSockets.add(args[1] as Socket);
    return (emit as (...args: unknown[]) => boolean).call(this, event, ...args);
  };
  const listen = async () => {
    http.listen(port, '127.0.0.1');
    await once(http, 'listening');
  };
  await listen();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const away = async () => {
    const closed = new Promise((resolve) => http.close(resolve));
    cut();
    await closed;
  };
  const close = async () => {
    await server.close();
    await away();
  };
  return {
    ...server,
    url: `http://127.0.0.1:${port}`,
    cut,
    /** Stops the traffic of all open WebSockets in both directions, as on a network that drops all packets. */
    freeze: () => {
      for (const socket of webSockets) {
        socket.pause();
        socket.cork();
      }
    },
    /** Stops listening and destroys all connections. The log stays open. */
    away,
    /** Listens again at the same address. */
    back: listen,
    close,
    [Symbol.asyncDispose]: close,
  };
}
