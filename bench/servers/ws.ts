import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { peer } from './committed.ts';
import { optionsOf, serve } from './face.ts';

/** Plain `ws`: one string, sent to each reader of the run. A reader sends its run first, and gets a response. */

const { port = 0, heartbeatMs } = optionsOf<{ port?: number; heartbeatMs?: number }>();
const http = createServer();
const wss = new WebSocketServer({ server: http, perMessageDeflate: false });
const readersOf = new Map<string, Set<WebSocket>>();
wss.on('connection', (ws) => {
  ws.on('error', () => ws.terminate());
  ws.once('message', (data) => {
    const run = String(data);
    const readers = readersOf.get(run) ?? new Set();
    readersOf.set(run, readers.add(ws));
    ws.send('started');
    ws.once('close', () => readers.delete(ws));
  });
});
const pingAll = () => {
  for (const ws of wss.clients) ws.ping();
};
if (heartbeatMs) setInterval(pingAll, heartbeatMs);
http.listen(port, '127.0.0.1');
await once(http, 'listening');

await serve({
  port: (http.address() as AddressInfo).port,
  path: '/',
  greetings: ['$RUN', 1],
  subscribed: () => [...readersOf.values()].reduce((sum, readers) => sum + readers.size, 0),
  ...peer((events) => {
    const ready = events.map((event) => ({ runId: event.runId, text: JSON.stringify(event) }));
    return () => {
      for (const { runId, text } of ready) for (const reader of readersOf.get(runId) ?? []) reader.send(text);
    };
  }),
});
