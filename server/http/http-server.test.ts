import { Server } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startServer } from '../../tests/support/harness.ts';

test('[W41] the kernel keeps 4,096 connections until the server accepts them', async () => {
  const listen = vi.spyOn(Server.prototype, 'listen');
  onTestFinished(() => listen.mockRestore());
  await using server = await startServer();
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  const calls = listen.mock.calls as unknown[][];
  expect(calls.map((values) => values.slice(0, 3))).toEqual([[0, '127.0.0.1', 4_096]]);
});
