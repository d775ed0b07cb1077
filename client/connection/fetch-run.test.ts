import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { open } from '../../tests/support/client.ts';
import { fetchRun } from './fetch-run.ts';

test('[C12] a request for a run without an answer is a failure after a minute', async () => {
  const server = createServer(() => undefined).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await vi.waitFor(() => expect(server.listening).toBe(true), 30_000);
  const { port } = server.address() as AddressInfo;
  const { client } = open({ url: `http://127.0.0.1:${port}`, token: 'a' });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const fetched = fetchRun(client, { runId: 'r1' });
  const failed = expect(fetched).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: 'the server gave no answer within 60 s',
  });
  await new Promise((resolve) => server.once('request', resolve));
  await vi.advanceTimersByTimeAsync(60_000);
  await failed;
});
