import { expect, onTestFinished, test } from 'vitest';
import { createRunwireClient } from '../../client/index.ts';
import { until } from './mount.tsx';
import { openServer, progress } from './servers.ts';

test('[C12] a Content-Security-Policy that forbids the server fails each attempt with its cause, and a lifted one connects', async () => {
  const server = await openServer();
  const frame = document.createElement('iframe');
  frame.srcdoc = `<meta http-equiv="Content-Security-Policy" content="connect-src 'none'">`;
  const loaded = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }));
  document.body.append(frame);
  onTestFinished(() => frame.remove());
  await loaded;
  const inside = frame.contentWindow as unknown as { WebSocket: typeof WebSocket };
  let Allowed: typeof WebSocket = inside.WebSocket;
  let count = 0;
  // A constructor of this page that gives sockets of the frame: the policy of the frame holds for them.
  const WebSocketOfFrame = class {
    constructor(url: string | URL) {
      count++;
      // biome-ignore lint/correctness/noConstructorReturn: the socket itself, and no subclass.
      return new Allowed(url);
    }
  } as unknown as typeof WebSocket;
  const { client, connection } = createRunwireClient({
    url: server.url,
    token: server.token,
    WebSocket: WebSocketOfFrame,
    reconnectDelayMs: 1,
    maxReconnectDelayMs: 500,
  });
  onTestFinished(() => connection.close());
  const received: string[] = [];
  client.onRunEvent.subscribe({ runId: 'r1', from: 'start' }, { onData: ({ data }) => void received.push(data.type) });
  await until(() => expect(connection.getStatus()).toMatchObject({ state: 'failed', attempts: 6 }));
  expect(count).toBe(6);
  expect(connection.getStatus().error).toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('connect-src'),
  });
  Allowed = WebSocket;
  await server.publish(progress('r1', 1));
  await until(() => expect(received).toContain('stage.progress'));
  expect(connection.getStatus()).toMatchObject({ state: 'connected', attempts: 0, error: null });
});

test('[C14] in a worker, the client follows a run over an absence of the server', async () => {
  const server = await openServer();
  const worker = new Worker(new URL('./follower.worker.ts', import.meta.url), { type: 'module' });
  onTestFinished(() => worker.terminate());
  const seqs: number[] = [];
  let state = '';
  worker.addEventListener('message', ({ data }) => {
    if (data.runSeq !== undefined) seqs.push(data.runSeq);
    if (data.state !== undefined) state = data.state;
  });
  worker.postMessage({ url: server.url, token: server.token });
  await server.publish(progress('r1', 1));
  await until(() => expect(seqs).toEqual([1]));
  await server.away();
  await until(() => expect(state).toBe('reconnecting'));
  await server.back();
  await server.publishInside(progress('r1', 2));
  await until(() => expect(seqs).toEqual([1, 2]));
});
