import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { openSqlite } from '../../server/event-log/sqlite/driver.ts';
import { optionsOf, serve } from './face.ts';

/**
 * The peer of catching up: reads the rows of a run from the SQLite file page by page, and writes their JSON to the socket
 * as WebSocket frames, one write per page. Nothing else.
 */

const PAGE_ROWS = 256;
const { path } = optionsOf<{ path: string }>();
const db = openSqlite(path, { readOnly: true });
// Keeps a reference: garbage collection would close the connection under its statements.
process.once('exit', () => db.close());
const page = db.prepare('SELECT seq, payload FROM events WHERE run_row = 1 AND seq > ? ORDER BY seq LIMIT ?');

function frameOf(json: string): Buffer {
  const bytes = Buffer.byteLength(json);
  const frame = Buffer.allocUnsafe(4 + bytes);
  frame.writeUInt16BE(0x817e, 0);
  frame.writeUInt16BE(bytes, 2);
  frame.write(json, 4);
  return frame;
}

async function sendAll(socket: Socket): Promise<void> {
  for (let after = 0; ; ) {
    const rows = page.all(after, PAGE_ROWS) as { seq: number; payload: string }[];
    if (rows.length === 0) return;
    after = rows.at(-1)?.seq ?? after;
    if (!socket.write(Buffer.concat(rows.map(({ payload }) => frameOf(payload))))) await once(socket, 'drain');
  }
}

const http = createServer();
http.on('upgrade', (request, duplex) => {
  const socket = duplex as Socket;
  const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = createHash('sha1').update(key).digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.on('error', () => socket.destroy());
  socket.once('data', () => void sendAll(socket).catch(() => socket.destroy()));
});
http.listen(0, '127.0.0.1');
await once(http, 'listening');

await serve({
  port: (http.address() as AddressInfo).port,
  path: '/',
  greetings: ['$RUN'],
  subscribed: () => 0,
});
