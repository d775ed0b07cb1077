import { expect, onTestFinished, test, vi } from 'vitest';
import { createRunwireClient } from '../index.ts';
import { endpointsOf } from './endpoints.ts';

test('[C15] the server URL may be of HTTP or of the WebSocket, with a prefix and a query', () => {
  for (const url of [
    'https://a.example/p',
    'https://a.example/p/',
    'wss://a.example/p/ws',
    'wss://a.example/p/ws/#x',
  ]) {
    expect(endpointsOf(url)).toEqual({
      webSocket: 'wss://a.example/p/ws',
      trpc: 'https://a.example/p/trpc',
      events: 'https://a.example/p/api/v1/events',
    });
  }
  expect(endpointsOf('HTTP://127.0.0.1:3001?key=1')).toMatchObject({
    webSocket: 'ws://127.0.0.1:3001/ws?key=1',
    trpc: 'http://127.0.0.1:3001/trpc?key=1',
  });
});

test('[C15] in a page, a relative URL is resolved against the address of the page', () => {
  vi.stubGlobal('location', new URL('https://app.example/deep/page?x=1#y'));
  onTestFinished(() => void vi.unstubAllGlobals());
  expect(endpointsOf('/').webSocket).toBe('wss://app.example/ws');
  expect(endpointsOf('/runs').trpc).toBe('https://app.example/runs/trpc');
  expect(endpointsOf('//other.example/runs').trpc).toBe('https://other.example/runs/trpc');
});

test('[C15] a URL without a host or of another scheme is refused before any request, and is not quoted', () => {
  const urls = [
    '',
    'localhost:3001',
    'runs.example.org',
    'ftp://x',
    'file:///x',
    'javascript:1',
    'https://',
    'http:// a:secret',
  ];
  for (const url of urls) {
    const refused = expect.objectContaining({ name: 'RunwireError', code: 'INVALID_INPUT', path: 'url' });
    expect(() => createRunwireClient({ url }), url).toThrow(refused);
    expect(() => endpointsOf(url)).not.toThrow(/secret|ftp/);
  }
});

test('[C15] outside of a page, a relative URL fails at the first use, not at the start: a server may render the page', async () => {
  const { client, connection } = createRunwireClient({ url: '/runs' });
  onTestFinished(() => connection.close());
  await expect(client.auth.me.query()).rejects.toThrow('a relative URL works in a page only');
  client.onRunEvent.subscribe({ runId: 'r1' }, {});
  await expect.poll(() => connection.getStatus()).toMatchObject({ state: 'failed', error: { code: 'INVALID_INPUT' } });
});
