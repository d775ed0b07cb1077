import type { Server } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';

/** The app's own WebSockets: what one editor sends, all others receive. */
export function serveCollaboration(httpServer: Server): void {
  const editors = new WebSocketServer({ server: httpServer, path: '/collaboration' });
  editors.on('connection', (editor) => {
    editor.on('message', (data, isBinary) => {
      for (const other of editors.clients) {
        if (other !== editor && other.readyState === WebSocket.OPEN) other.send(data, { binary: isBinary });
      }
    });
  });
}
