import { expect, onTestFinished, test } from 'vitest';
import { everyone, startServer, tokenFor } from '../support/harness.ts';

/** Sign-in with a link and with a pasted token. */

const page = { accept: 'text/html' };

async function open(url: string) {
  const { status, headers } = await fetch(url, { redirect: 'manual', headers: page });
  return { status, location: headers.get('location'), cookie: headers.get('set-cookie') };
}

test('[A29] a link that cannot sign in leads to the page with its reason, and sets no cookie', async () => {
  const server = await startServer();
  onTestFinished(() => server.close());
  const links: [string, RegExp][] = [
    [await tokenFor({ ttlSeconds: -60 }), /^\/sign-in\?reason=expired&at=\d{13}$/],
    [await tokenFor({ secret: 'another secret that is also long enough' }), /^\/sign-in\?reason=invalid$/],
    [
      await tokenFor({ secret: 'another secret that is also long enough', ttlSeconds: -60 }),
      /^\/sign-in\?reason=invalid$/,
    ],
    ['CANARY', /^\/sign-in\?reason=invalid$/],
    ['', /^\/sign-in\?reason=invalid$/],
  ];
  for (const [token, location] of links) {
    expect(await open(`${server.url}/login?token=${token}`)).toEqual({
      status: 303,
      location: expect.stringMatching(location),
      cookie: null,
    });
  }
  const revoked = await tokenFor({ sub: 'gone' });
  await server.router.createCaller({ principal: everyone }).auth.revoke({ sub: 'gone' });
  expect((await open(`${server.url}/login?token=${revoked}`)).location).toBe('/sign-in?reason=revoked');
});

test('[A24] [A29] a link opens the page that it names, of this server alone', async () => {
  const server = await startServer();
  onTestFinished(() => server.close());
  const link = `${server.url}/login?token=${await tokenFor()}&return=`;
  expect((await open(`${link}${encodeURIComponent('/runs/demo/r1?stage=a')}`)).location).toBe('/runs/demo/r1?stage=a');
  for (const path of ['//evil.example', '/\\evil.example', '/a\r\nset-cookie:x=y', 'https://evil.example']) {
    const { location } = await open(link + encodeURIComponent(path));
    expect(new URL(location ?? '', server.url).origin).toBe(server.url);
  }
});

test('[A29] a pasted token signs in, from a page of the server alone, and a bad one sets no cookie', async () => {
  const server = await startServer();
  onTestFinished(() => server.close());
  const paste = (token: unknown, origin = server.url) =>
    fetch(`${server.url}/auth/token`, { method: 'POST', headers: { origin }, body: JSON.stringify({ token }) });
  const token = await tokenFor({ ttlSeconds: 600 });
  const good = await paste(` ${token}\n`);
  expect(good.status).toBe(204);
  expect(good.headers.get('set-cookie')).toMatch(
    /^runwire_\S+=\S+; Path=\/; HttpOnly; SameSite=Strict; Max-Age=(5\d\d|600)$/,
  );
  const bad: [unknown, string | undefined, number][] = [
    [token, 'https://evil.example', 403],
    [await tokenFor({ ttlSeconds: -1 }), undefined, 401],
    ['', undefined, 401],
    [1, undefined, 400],
    ['x'.repeat(13_000), undefined, 400],
  ];
  for (const [value, origin, status] of bad) {
    const response = await paste(value, origin);
    expect([response.status, response.headers.get('set-cookie')]).toEqual([status, null]);
  }
  const { entries } = await server.router.createCaller({ principal: everyone }).audit.access({ action: 'login' });
  expect(entries.map(({ outcome }) => outcome)).toEqual(expect.arrayContaining(['ok', 'UNAUTHENTICATED', 'FORBIDDEN']));
});
