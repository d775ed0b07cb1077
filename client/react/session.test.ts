import { expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Session } from './session.ts';

test('[C2] a session that never gives up is another one than that with the default', () => {
  vi.stubGlobal('WebSocket', WebSocket); // It is for browsers, and opens none yet.
  const url = 'http://127.0.0.1:1';
  const session = new Session({ url, maxReconnectAttempts: Number.POSITIVE_INFINITY });
  expect(session.isFor({ url, maxReconnectAttempts: Number.POSITIVE_INFINITY })).toBe(true);
  expect(session.isFor({ url })).toBe(false);
});
