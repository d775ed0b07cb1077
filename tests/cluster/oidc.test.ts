import { describe, expect, onTestFinished, test } from 'vitest';
import { keptLog } from '../support/harness.ts';
import { Browser, cookieOf, signIn } from '../support/oidc-browser.ts';
import { startProvider } from '../support/oidc-provider.ts';
import { isAvailable, open } from './open.ts';

describe.skipIf(!isAvailable)('sessions of OpenID Connect on several servers (needs PostgreSQL)', () => {
  test('[A23] two tabs that renew one session at two servers at once stay signed in', async () => {
    const provider = await startProvider({ lifeSeconds: 1 });
    onTestFinished(() => provider.close());
    const { lines, logger } = keptLog();
    const { urls } = await open({ ...provider.options, logger }, { count: 2 });
    provider.allow(...urls);
    const [first, second] = urls.map((url) => ({ server: { url } })) as [Site, Site];
    const { browser } = await signIn(first);
    const cookie = cookieOf(browser, first) ?? '';
    const renew = ({ server: { url } }: Site) =>
      new Browser().post(`${url}/auth/renew`, { cookie }).then(({ status }) => status);
    const me = ({ server: { url } }: Site) =>
      fetch(`${url}/trpc/auth.me`, { headers: { cookie, 'sec-fetch-site': 'same-origin' } }).then(
        ({ status }) => status,
      );
    await expect.poll(() => me(second)).toBe(401); // The session is due.
    const tokens = () => provider.requests.filter((request) => request === 'POST /token').length;
    const before = tokens();
    const release = provider.holdToken();
    const here = renew(first);
    await expect.poll(tokens).toBe(before + 1);
    const there = renew(second);
    await expect.poll(() => lines.join()).toContain('invalid_grant');
    release();
    expect(await Promise.all([here, there])).toEqual([200, 200]);
  });
});

type Site = { server: { url: string } };
