import { expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Session } from './session.ts';

test('[C2] maxReconnectAttempts: Infinity and the default need different sessions', () => {
  vi.stubGlobal('WebSocket', WebSocket); // Node.js before 22 has none. The session opens no socket.
  const url = 'http://127.0.0.1:1';
  const session = new Session({ url, maxReconnectAttempts: Number.POSITIVE_INFINITY });
  expect(session.isFor({ url, maxReconnectAttempts: Number.POSITIVE_INFINITY })).toBe(true);
  expect(session.isFor({ url })).toBe(false);
});
