import { expect, onTestFinished, test } from 'vitest';
import { createRunwireClient } from '../../client/index.ts';
import { openServer, progress } from './servers.ts';

test('[A5] without a token, a page of another allowed origin queries and subscribes with the cookie', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  // A different port makes another origin of the same site.
  const url = Object.assign(new URL(server.url), { hostname: location.hostname });
  expect(url.origin).not.toBe(location.origin);
  // biome-ignore lint/suspicious/noDocumentCookie: the test sets the cookie as the server would.
  document.cookie = `${server.cookieName}=${server.token}; Path=/; SameSite=Strict`;
  const { client, connection } = createRunwireClient({ url: url.origin });
  onTestFinished(async () => {
    await connection.close();
    // biome-ignore lint/suspicious/noDocumentCookie: the test removes its cookie.
    document.cookie = `${server.cookieName}=; Path=/; Max-Age=0`;
  });

  expect(await client.auth.me.query()).toMatchObject({ sub: 'ada' });
  const first = await new Promise<string>((resolve, reject) => {
    const observer = { onData: ({ data }: { data: { type: string } }) => resolve(data.type), onError: reject };
    client.onRunEvent.subscribe({ runId: 'r1', from: 'start' }, observer);
  });
  expect(first).toBe('stage.progress');
});
