import type { BrowserContext, Page } from 'playwright';
import { expect, onTestFinished, test } from 'vitest';
import type { RunServerOptions } from '../../server/run-server.ts';
import type { RunEventDraft } from '../../shared/events.ts';
import { startServer, tokenFor } from '../support/harness.ts';
import { type ProviderOptions, startProvider } from '../support/oidc-provider.ts';
import { completeUpTo, draft, eventsShown, openTab, rowOf, startProcess, withBrowser } from './page-harness.ts';

/** Signing in and out of the web app, with a real identity provider. */

withBrowser();
/** The browser reports each answer with a status of an error, and a socket that the server has closed. */
const refused = /status of (401|503)|ERR_|WebSocket/;

const both = {
  vera: { name: 'Vera Lind', projects: ['demo'], roles: ['viewer'] },
  ida: { name: 'Ida Roth', projects: ['trials'], roles: ['viewer'] },
};

async function openWorld(providerOptions: ProviderOptions = {}, options: Partial<RunServerOptions> = {}) {
  const provider = await startProvider({ accounts: structuredClone(both), ...providerOptions });
  const server = await startServer({ ...provider.options, ...options });
  // Another name of this machine, so that the cookies of both are kept apart.
  const url = server.url.replace('127.0.0.1', 'localhost');
  provider.allow(url);
  onTestFinished(async () => {
    await server.close();
    await provider.close();
  });
  const publish = (...events: RunEventDraft[]) => server.bus.publish(events, { actor: 'ci' });
  await publish(draft('r1', 'run.created', { name: 'Nightly' }));
  await publish({ ...draft('t1', 'run.created', { name: 'Backfill' }), projectId: 'trials' } as RunEventDraft);
  return { provider, server, url, publish };
}

async function atProvider(page: Page, user: string): Promise<void> {
  await page.getByRole('heading', { name: 'Sign in at the provider' }).waitFor();
  await page.getByLabel('User').fill(user);
  await page.getByRole('button', { name: 'Continue' }).click();
}

/** Opens an address in a new tab and signs in at the provider. */
async function signIn({ url, provider }: { url: string; provider: { issuer: string } }, path = '/', user = 'vera') {
  const page = await openTab({ expectedErrors: refused });
  await page.goto(url + path);
  await page.getByRole('link', { name: `Sign in with ${new URL(provider.issuer).host}` }).click();
  await atProvider(page, user);
  return page;
}

/** Opens a further tab of the same browser. */
async function tabOf(page: Page, url: string): Promise<Page> {
  const tab = await page.context().newPage();
  await tab.goto(url);
  return tab;
}

const sessionOf = async (context: BrowserContext) =>
  (await context.cookies()).find(({ name }) => /^runwire_(?!signin)/.test(name));

test('[A20] [U100] a user signs in at the provider, and comes back to the page of the address', async () => {
  const world = await openWorld();
  const page = await openTab({ expectedErrors: refused });
  await page.goto(`${world.url}/runs/demo/r1?show=errors`);
  await page.getByRole('heading', { name: 'Sign in to Runwire' }).waitFor();
  const host = new URL(world.provider.issuer).host;
  await page.getByText(`You will be sent to ${host}.`).waitFor();
  expect(await page.getByRole('navigation').count()).toBe(0);
  await page.getByRole('link', { name: `Sign in with ${host}` }).click();
  await atProvider(page, 'vera');
  await page.getByRole('heading', { level: 1, name: 'Nightly' }).waitFor();
  await expect.poll(() => page.url()).toBe(`${world.url}/runs/demo/r1?show=errors`);
  const cookie = await sessionOf(page.context());
  expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict' });
  await page.getByRole('button', { name: 'Menu of vera' }).click();
  await page.getByText('Vera Lind').waitFor();
  await page.getByText(/Signed in until .* renews by itself/).waitFor();
});

test('[A21] [U100] a user who cancels at the provider reads so, with the code, and can sign in again', async () => {
  const world = await openWorld();
  const page = await openTab({ expectedErrors: refused });
  await page.goto(`${world.url}/search`);
  await page.getByRole('link', { name: /^Sign in with/ }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  const host = new URL(world.provider.issuer).host;
  await page.getByRole('alert').getByText(`${host} did not sign you in: access denied.`).waitFor();
  await page.getByText('Details').click();
  await page.getByText('access_denied', { exact: true }).waitFor();
  await page.getByRole('link', { name: /^Sign in with/ }).click();
  await atProvider(page, 'vera');
  await page.waitForURL(`${world.url}/search`);
});

test('[A24] [U100] a return address of another site leads to the first page', async () => {
  const world = await openWorld();
  const page = await signIn(world);
  await rowOf(page, 'Nightly').waitFor();
  for (const path of [
    '//evil.example',
    '/\\evil.example',
    '/.//evil.example',
    'https://evil.example',
    '/\t/evil.example',
  ]) {
    for (const way of ['/sign-in', '/auth/login']) {
      await page.goto(`${world.url}${way}?return=${encodeURIComponent(path)}`);
      await page
        .getByText(/Nightly|Page not found/)
        .first()
        .waitFor();
      await expect.poll(() => new URL(page.url()).origin).toBe(world.url);
    }
  }
});

test('[A23] [U101] a session is renewed unseen while the page is open, and no event is missed over it', async () => {
  // A busy machine renews late. Of this time, two seconds are left at the renewal.
  const world = await openWorld({ lifeSeconds: 10 });
  const page = await signIn(world, '/runs/demo/r1');
  await completeUpTo(page, 2);
  const sockets: string[] = [];
  page.on('websocket', (socket) => sockets.push(socket.url()));
  const renewals = () => world.provider.requests.filter((request) => request === 'POST /token').length;
  let count = 0;
  while (renewals() < 3) {
    // Of two stages in turn: the list folds the progress of one.
    await world.publish(draft('r1', 'stage.progress', { stageId: `s${count % 2}`, progress: count++ % 100 }));
    await page.waitForTimeout(100);
  }
  await completeUpTo(page, world.server.log.head);
  await expect.poll(async () => (await eventsShown(page)).at(-1)).toBe(count + 1);
  expect(sockets).toEqual([]);
  expect(await page.getByText('What you see is of then').count()).toBe(0);
});

test('[A23] [U101] a tab that slept over the end of its session renews it at once when it wakes', async () => {
  const world = await openWorld({ lifeSeconds: 20 });
  const page = await openTab({ expectedErrors: refused });
  await page.clock.install();
  let wake = () => {};
  const asleep = new Promise<void>((resolve) => {
    wake = resolve;
  });
  await page.route('**/auth/renew', async (route) => {
    await asleep;
    await route.continue();
  });
  await page.goto(world.url);
  await page.getByRole('link', { name: /^Sign in with/ }).click();
  await page.getByLabel('User').fill('vera');
  await page.getByRole('button', { name: 'Continue' }).click();
  await rowOf(page, 'Nightly').waitFor();
  const lost = page.waitForEvent('websocket', { predicate: () => true }).catch(() => undefined);
  // The timers of the page stand still, nothing of it renews the session, and the server ends it.
  await page.clock.pauseAt(Date.now() + 60_000);
  await expect.poll(async () => (await page.request.get(`${world.url}/trpc/auth.me`)).status()).toBe(401);
  await expect.poll(() => world.server.getStats().connections).toBe(0);
  world.provider.setLife(3_600);
  wake();
  await page.clock.resume();
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await lost;
  await world.publish(draft('r2', 'run.created', { name: 'After the sleep' }));
  await expect.poll(() => page.getByText(/After the sleep|1 new run/).count()).toBeGreaterThan(0);
  expect(await page.getByText('What you see is of then').count()).toBe(0);
});

test('[A23] [U101] a session that the provider revokes ends in mid-page: the page stays, and a new sign-in goes on', async () => {
  const world = await openWorld({ lifeSeconds: 10 });
  const page = await signIn(world, '/runs/demo/r1');
  await completeUpTo(page, 2);
  await world.provider.revokeGrants();
  await page.getByText(/You were signed out at \d+:\d+.*\. What you see is of then\./).waitFor();
  await page.getByRole('heading', { level: 1, name: 'Nightly' }).waitFor();
  await world.publish(draft('r1', 'run.started'));
  const popup = page.waitForEvent('popup');
  await page.getByRole('button', { name: 'Sign in again' }).click();
  const window = await popup;
  await Promise.race([window.waitForEvent('close'), window.getByText('You can close this window').waitFor()]);
  await completeUpTo(page, 3);
  await page.getByText('What you see is of then').waitFor({ state: 'detached' });
  await expect.poll(() => page.url()).toBe(`${world.url}/runs/demo/r1`);
});

test('[A25] [U102] a sign-out ends every tab within a second, and leaves nothing of the data', async () => {
  const world = await openWorld();
  const page = await signIn(world);
  await rowOf(page, 'Nightly').waitFor();
  const other = await tabOf(page, `${world.url}/runs/demo/r1`);
  await other.getByRole('heading', { level: 1, name: 'Nightly' }).waitFor();
  await page.getByRole('button', { name: 'Menu of vera' }).click();
  const begun = Date.now();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await other.getByRole('heading', { name: 'You are signed out' }).waitFor();
  expect(Date.now() - begun).toBeLessThan(20_000);
  const host = new URL(world.provider.issuer).host;
  for (const tab of [page, other]) {
    await tab.getByText(`You are still signed in at ${host}.`).waitFor();
    await tab.getByRole('link', { name: 'Sign out there too' }).waitFor();
    expect(await tab.getByText('Nightly').count()).toBe(0);
  }
  expect(await sessionOf(page.context())).toBeUndefined();
  // A sign-in in one tab brings both back to their pages.
  await page.getByRole('link', { name: 'Sign in', exact: true }).click();
  await rowOf(page, 'Nightly').waitFor();
  await other.getByRole('heading', { level: 1, name: 'Nightly' }).waitFor();
});

test('[A25] [U102] a sign-out ends a tab that is still loading the code of its page', async () => {
  const world = await openWorld();
  const page = await signIn(world);
  await rowOf(page, 'Nightly').waitFor();
  const other = await page.context().newPage();
  await other.route(/\/assets\/RunPage-.*\.js/, () => undefined); // It never arrives.
  await other.goto(`${world.url}/runs/demo/r1`);
  await other.getByText('Loading the page').waitFor();
  await page.getByRole('button', { name: 'Menu of vera' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await other.getByRole('heading', { name: 'You are signed out' }).waitFor();
  expect(await other.getByText('Nightly').count()).toBe(0);
});

test('[A25] [U102] when another user signs in, the other tabs throw everything of the former user away', async () => {
  const world = await openWorld();
  const page = await signIn(world);
  await rowOf(page, 'Nightly').waitFor();
  await page.evaluate(() => sessionStorage.setItem('runwire:decision', 'a comment of vera'));
  // As on a shared machine: the provider has another user now.
  await page.context().clearCookies({ domain: '127.0.0.1' });
  const other = await tabOf(page, `${world.url}/auth/login`);
  await atProvider(other, 'ida');
  await rowOf(other, 'Backfill').waitFor();
  await rowOf(page, 'Backfill').waitFor();
  expect(await page.getByText('Nightly').count()).toBe(0);
  expect(await page.evaluate(() => sessionStorage.getItem('runwire:decision'))).toBeNull();
  await page.getByRole('button', { name: 'Menu of ida' }).waitFor();
});

test('[A26] [U100] a user without a role reads so, and can sign out', async () => {
  const world = await openWorld({ accounts: { vera: { name: 'Vera Lind' } } });
  const page = await signIn(world);
  await page.getByText('You are signed in as vera, but have no access to any project.').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
});

test('[A20] [U100] while the provider is away, the page says so', async () => {
  const world = await openWorld();
  world.provider.setDown(true);
  const page = await openTab({ expectedErrors: refused });
  await page.goto(world.url);
  await page.getByRole('link', { name: /^Sign in with/ }).click();
  await page.getByRole('alert').getByText('cannot be reached now. Try again in a moment.').waitFor();
  world.provider.setDown(false);
  await page.getByRole('link', { name: /^Sign in with/ }).click();
  await atProvider(page, 'vera');
  await rowOf(page, 'Nightly').waitFor();
});

test('[A23] [U101] without a refresh token, a session is renewed by a hidden sign-in', async () => {
  const world = await openWorld({ lifeSeconds: 10, isRefreshing: false });
  const page = await openTab({ expectedErrors: refused });
  // One site, as `runs.example.org` and `login.example.org` are: browsers keep the cookies of others out of frames.
  world.provider.allow(world.server.url);
  await page.goto(`${world.server.url}/runs/demo/r1`);
  await page.getByRole('link', { name: /^Sign in with/ }).click();
  await atProvider(page, 'vera');
  await completeUpTo(page, 2);
  const logins = () => world.provider.requests.filter((request) => request === 'GET /auth').length;
  const before = logins();
  await expect.poll(logins, { timeout: 60_000 }).toBeGreaterThan(before + 1);
  await world.publish(draft('r1', 'run.started'));
  await completeUpTo(page, 3);
  expect(await page.getByText('What you see is of then').count()).toBe(0);
});

test('[A29] [U100] with a secret, the page takes a token, and says what is wrong with it', async () => {
  const server = await startServer();
  onTestFinished(() => server.close());
  await server.bus.publish([draft('r1', 'run.created', { name: 'Nightly' })], { actor: 'ci' });
  const page = await openTab({ expectedErrors: refused });
  await page.goto(`${server.url}/runs/demo/r1`);
  await page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor();
  await page.getByText('Ask your administrator for a sign-in link, or paste a token.').waitFor();
  const field = page.getByLabel('Token');
  await expect.poll(() => field.getAttribute('type')).toBe('password');
  await field.fill('nonsense');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('This token is not valid').waitFor();
  await field.fill(await tokenFor());
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Nightly' }).waitFor();
  // Nothing of the token stays in the address or the page's storage.
  expect(
    await page.evaluate(() => location.href + JSON.stringify({ ...localStorage, ...sessionStorage })),
  ).not.toContain('eyJ');
});

test('[A29] [U100] a link that has expired, and one of another server, say so above the way to sign in', async () => {
  const server = await startProcess();
  const page = await openTab({ expectedErrors: refused });
  const foreign = await tokenFor();
  await page.goto(`${server.origin}/login?token=${foreign}`);
  await page.getByRole('alert').getByText('This link was made by another server or before a restart.').waitFor();
  await page.getByText('Open the link that the server printed when it started. It is valid for a day.').waitFor();
  await page.getByText("Lost it? Run runwire login in the server's folder.").waitFor();
  await page.getByRole('button', { name: 'Copy the command' }).waitFor();
  await page.getByText('Paste a token, or ask the person who runs Runwire for a link.').waitFor();
  await expect.poll(() => page.getByLabel('Token').getAttribute('type')).toBe('password');
  await page.goto(`${server.origin}/sign-in?reason=expired&at=${Date.UTC(2025, 10, 25, 14, 2)}`);
  await page.getByText(/This link has expired \(.*25.*\)\. Links are valid for a day\./).waitFor();
  // The right link, opened in another tab, brings this one in too.
  await page.goto(`${server.origin}/search`);
  await page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor();
  await tabOf(page, server.link);
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
});

test('[U100] a clock that is off is named', async () => {
  const server = await startServer();
  onTestFinished(() => server.close());
  const page = await openTab({ expectedErrors: refused });
  await page.clock.setFixedTime(Date.now() + 7 * 60_000);
  await page.goto(`${server.url}/sign-in`);
  await page.getByText("Your computer's clock is 7 min off.").waitFor();
});
