import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { tokenFor } from '../support/harness.ts';
import { draft, openApp, openTab, rowOf, startProcess, withBrowser } from './page-harness.ts';

/** The frame of the web app: navigation, menus, keys, focus, live regions, and what a user may see. */

withBrowser();

const created = (number: number, more: object = {}) =>
  draft(`r${number}`, 'run.created', { name: `Run ${number}.`, ...more });
const asks = (runId: string, approvalId: string, more: object = {}) =>
  draft(runId, 'governance.required', { approvalId, title: `Approve ${approvalId}`, ...more });
const focused = (page: Page) => page.evaluate(() => document.activeElement?.textContent);
const spoken = (page: Page, urgency: 'polite' | 'assertive') => page.locator(`[data-live="${urgency}"]`).textContent();
const viewer = (projects: string[]) => tokenFor({ sub: 'vera', projects, roles: ['viewer'] });

test('[U20] the list of runs loads no script but those of its HTML', async () => {
  const server = await startProcess();
  await server.publish(created(1));
  const page = await openTab();
  const loaded = new Set<string>();
  page.on('request', (request) => request.resourceType() === 'script' && loaded.add(request.url()));
  await page.goto(server.link);
  await rowOf(page, 'Run 1.').waitFor();
  await page.waitForLoadState('networkidle');
  const named = await page.locator('script').evaluateAll((all) => all.map((one) => (one as HTMLScriptElement).src));
  expect([...loaded].sort()).toEqual(named.sort());
});

test('[U20] the code of a page is loaded when the pointer or the focus comes to a link to it', async () => {
  const { page, open } = await openApp();
  await open('/');
  await page.getByText('No runs yet').waitFor();
  const scripts: string[] = [];
  page.on('request', (request) => scripts.push(request.url()));
  await page.getByRole('link', { name: 'Search' }).hover();
  await expect.poll(() => scripts.some((url) => /SearchPage/.test(url))).toBe(true);
  await page.getByRole('link', { name: 'Approvals' }).focus();
  await expect.poll(() => scripts.some((url) => /ApprovalsPage/.test(url))).toBe(true);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Approvals' }).waitFor();
  await expect.poll(() => page.title()).toBe('Approvals · Runwire');
  await expect.poll(() => page.getByRole('link', { name: 'Approvals' }).getAttribute('aria-current')).toBe('page');
  await open('/search');
  await page.getByRole('heading', { level: 1, name: 'Search' }).waitFor();
});

test('[U20] a page that fails to load its code states it, and loads when the user tries again', async () => {
  const { page, open } = await openApp({ expectedErrors: /ERR_FAILED|could not be loaded|dynamically imported/ });
  await open('/');
  await page.getByText('No runs yet').waitFor();
  let isDown = true;
  await page.route(/SearchPage.*\.js/, (route) => (isDown ? route.abort() : route.continue()));
  await page.keyboard.press('g');
  await page.keyboard.press('s');
  await page.getByRole('heading', { name: 'This page could not be loaded' }).waitFor();
  await expect.poll(() => page.getByRole('navigation', { name: 'Main' }).isVisible()).toBe(true);
  isDown = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { level: 1, name: 'Search' }).waitFor();
});

test('[U20] a menu that fails to load its code leaves the page as it is, and opens at the next click', async () => {
  const { page, publish, open } = await openApp({
    expectedErrors: /ERR_FAILED|could not be loaded|dynamically imported/,
  });
  await open('/');
  await publish(created(1));
  await rowOf(page, 'Run 1.').waitFor();
  let isDown = true;
  await page.route(/(UserMenu|Help|PopoverPanel).*\.js/, (route) => (isDown ? route.abort() : route.continue()));
  await page.getByRole('button', { name: 'Menu of' }).click();
  await page.locator('.toast', { hasText: 'The server did not send this part of the page.' }).waitFor();
  // The help fails after its request: a later answer would open it above the menu.
  const refused = page.waitForEvent('requestfailed', (request) => /Help.*\.js/.test(request.url()));
  await page.keyboard.press('?');
  await refused;
  await expect.poll(() => spoken(page, 'polite')).toMatch(/did not send this part/);
  await expect.poll(() => rowOf(page, 'Run 1.').isVisible()).toBe(true);
  isDown = false;
  await page.getByRole('button', { name: 'Menu of' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
});

test('[U20] the title and the navigation count the approvals that wait for the user', async () => {
  const { page, publish, server, open } = await openApp();
  await open('/');
  await publish(created(1));
  await rowOf(page, 'Run 1.').waitFor();
  await expect.poll(() => page.title()).toBe('Runs · Runwire');
  const ci = { actor: 'ci' };
  // The second is of the user's own; the third names other approvers.
  await server.bus.publish([asks('r1', 'a1'), asks('r1', 'a2', { approvers: ['bo'] })], ci);
  await publish(asks('r1', 'a3'));
  await page.getByRole('link', { name: 'Approvals, 1 wait for you' }).waitFor();
  await expect.poll(() => page.title()).toBe('(1) Runs · Runwire');
  const bo = { sub: 'bo', projects: ['*'], roles: ['approver' as const] };
  await server.router
    .createCaller({ principal: bo })
    .approval.grant({ projectId: 'demo', runId: 'r1', approvalId: 'a1' });
  await expect.poll(() => page.title()).toBe('Runs · Runwire');
});

test('[U21] the project menu lists the projects with their running runs, and a choice filters the list', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1), draft('r1', 'run.started'));
  await publish({ ...created(2), projectId: 'airflow%20prod' }, { ...created(3), projectId: 'other' });
  await open('/');
  await rowOf(page, 'Run 3.').waitFor();
  await page.keyboard.press('p');
  const menu = page.getByRole('dialog', { name: 'Project' });
  await expect
    .poll(() => menu.getByRole('option').allTextContents())
    .toEqual(['All projects', 'airflow prod', 'demo1 running', 'other']);
  await page.keyboard.type('air');
  await expect.poll(() => menu.getByRole('option').allTextContents()).toEqual(['airflow prod']);
  await page.keyboard.press('Enter');
  await rowOf(page, 'Run 3.').waitFor({ state: 'detached' });
  await expect.poll(() => new URL(page.url()).search).toBe('?project=airflow%2520prod');
  await page.getByRole('button', { name: 'Project: airflow prod' }).waitFor();
  // The choice is kept from page to page, and Back leaves it.
  await page.getByRole('link', { name: 'Approvals' }).click();
  await expect.poll(() => new URL(page.url()).search).toBe('?project=airflow%2520prod');
  await page.goBack();
  await page.goBack();
  await rowOf(page, 'Run 3.').waitFor();
  // On the page of a run, a choice leads to the runs of the project. The keyboard chooses too.
  await page.getByRole('link', { name: 'Run 1.' }).click();
  await page.getByRole('button', { name: 'Project: demo' }).click();
  await menu.getByRole('option', { name: 'other' }).waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('End');
  await expect.poll(() => focused(page)).toBe('other');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/\?project=other$/);
});

test('[U21] a user of one project sees its name without a menu', async () => {
  const { page, open } = await openApp({ token: await viewer(['demo']) });
  await open('/');
  await page.locator('.project-menu').getByText('demo').waitFor();
  expect(await page.getByRole('button', { name: /^Project/ }).count()).toBe(0);
});

test('[U22] the menu of the user states who is signed in with which rights, keeps choices, and signs out', async () => {
  const { page, publish, open } = await openApp({
    token: await tokenFor({ sub: 'ann.berg', projects: ['a', 'demo'] }),
  });
  await publish(created(1, { timestamp: '2026-01-05T12:00:00.000Z' }));
  await open('/');
  const button = page.getByRole('button', { name: 'Menu of ann.berg' });
  await expect.poll(() => button.textContent()).toBe('AB');
  await button.click();
  const menu = page.getByRole('dialog', { name: 'You' });
  await menu.getByText('ann.berg').waitFor();
  for (const text of ['viewer', 'approver', 'producer', 'admin', 'a', 'demo']) {
    await menu.getByText(text, { exact: true }).waitFor();
  }
  await menu.getByText(/(?:Signed in|Link valid) until/).waitFor();
  await menu.getByText(/^Runwire \d+\.\d+\.\d+$/).waitFor();
  await menu.getByRole('radio', { name: 'Compact' }).click();
  await menu.getByRole('radio', { name: 'UTC' }).click();
  await page.keyboard.press('Escape');
  await expect
    .poll(() => page.evaluate(() => document.activeElement?.getAttribute('aria-label')))
    .toBe('Menu of ann.berg');
  await page.reload();
  expect(await page.evaluate(() => ({ ...document.documentElement.dataset }))).toEqual({
    density: 'compact',
    times: 'utc',
  });
  await button.click();
  await menu.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  expect(await page.context().cookies()).toEqual([]);
});

test('[U23] at most six stops of Tab lead to the first run, and the skip link leads there at once', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1), created(2));
  await open('/');
  await rowOf(page, 'Run 2.').waitFor();
  let stops = 0;
  const isInRow = () => page.evaluate(() => document.activeElement?.closest('.runs tbody tr') !== null);
  while (stops < 20 && !(await isInRow())) {
    await page.keyboard.press('Tab');
    stops++;
  }
  expect(stops).toBeLessThanOrEqual(6);
  await expect.poll(() => page.evaluate(() => document.activeElement?.closest('tr')?.textContent)).toContain('Run 2.');
  await open('/');
  await rowOf(page, 'Run 2.').waitFor();
  await page.keyboard.press('Tab');
  await expect.poll(() => focused(page)).toBe('To the runs');
  await page.keyboard.press('Enter');
  await expect.poll(isInRow).toBe(true);
});

test('[U23] arrows move between the links of the navigation', async () => {
  const { page, open } = await openApp();
  await open('/');
  await page.getByText('No runs yet').waitFor();
  await page.getByRole('link', { name: 'Runs', exact: true }).focus();
  for (const [key, name] of [
    ['ArrowRight', 'Approvals'],
    ['ArrowRight', 'Search'],
    ['End', 'Settings'],
    ['ArrowRight', 'Runs'],
  ] as const) {
    await page.keyboard.press(key);
    await expect.poll(() => focused(page)).toBe(name);
  }
});

test('[U23] Back returns the focus to the run that was opened', async () => {
  const { page, publish, open } = await openApp();
  await publish(...Array.from({ length: 60 }, (_, index) => created(100 + index)));
  await open('/');
  await rowOf(page, 'Run 159.').waitFor();
  for (let press = 0; press < 40; press++) await page.keyboard.press('j');
  const run = await page.evaluate(() => document.activeElement?.closest('tr')?.querySelector('a')?.textContent);
  expect(run).toMatch(/^Run 1[12]\d\.$/);
  const scrolled = await page.evaluate(() => window.scrollY);
  expect(scrolled).toBeGreaterThan(0);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: run as string }).waitFor();
  await page.goBack();
  const there = () => page.evaluate(() => document.activeElement?.closest('tr')?.querySelector('a')?.textContent);
  await expect.poll(there).toBe(run);
  expect(await page.evaluate(() => window.scrollY)).toBe(scrolled);
});

test('[U23] the help lists the keys of the page, and single keys can be switched off', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1), draft('r1', 'stage.started', { stageId: 's1' }));
  await open('/');
  await rowOf(page, 'Run 1.').waitFor();
  const help = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
  await page.keyboard.press('?');
  await help.getByText('Go to Approvals').waitFor();
  expect(await help.getByText('Zoom in, out').count()).toBe(0);
  await page.keyboard.press('Escape');
  await help.waitFor({ state: 'hidden' });
  await page.getByRole('link', { name: 'Run 1.' }).click();
  await page.getByRole('heading', { level: 1, name: 'Run 1.' }).waitFor();
  await page.keyboard.press('?');
  await help.getByText('Zoom in, out').waitFor();
  await page.keyboard.press('Escape');
  await help.waitFor({ state: 'hidden' });

  await page.getByRole('button', { name: 'Menu of ada' }).click();
  await page.getByRole('radio', { name: 'Off' }).click();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.keyboard.press('?');
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await expect.poll(() => new URL(page.url()).pathname).toBe('/runs/demo/r1');
  expect(await help.count()).toBe(0);
});

test('[U24] a new approval is announced once; of several texts in 5 s the newest is read', async () => {
  const { page, publish, server, open } = await openApp();
  await open('/');
  await publish(created(1));
  await rowOf(page, 'Run 1.').waitFor();
  await server.bus.publish([asks('r1', 'one')], { actor: 'ci' });
  await expect.poll(() => spoken(page, 'polite')).toBe('New approval: Approve one');
  await server.bus.publish([asks('r1', 'two')], { actor: 'ci' });
  await page.getByRole('link', { name: 'Approvals, 2 wait for you' }).waitFor();
  await server.bus.publish([asks('r1', 'three')], { actor: 'ci' });
  await page.getByRole('link', { name: 'Approvals, 3 wait for you' }).waitFor();
  await expect.poll(() => spoken(page, 'polite')).toBe('New approval: Approve one');
  await expect.poll(() => spoken(page, 'polite')).toBe('New approval: Approve three');
  await expect.poll(() => spoken(page, 'assertive')).toBe('');
});

test('[U24] the page of a run announces its end', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1), draft('r1', 'run.started'));
  await open('/runs/demo/r1');
  await page.getByRole('heading', { level: 1, name: 'Run 1.' }).waitFor();
  await page.getByText('Live').waitFor();
  await publish(draft('r1', 'run.failed', { error: { message: 'out of memory' } }));
  await expect.poll(() => spoken(page, 'polite')).toBe('Run failed: out of memory');
});

test('[U25] bars and dots are drawn in forced colours', async () => {
  const { page, publish, open } = await openApp({ forcedColors: 'active' });
  await publish(created(1), draft('r1', 'stage.started', { stageId: 's1' }));
  await publish(draft('r1', 'stage.progress', { stageId: 's1', progress: 50 }));
  await open('/');
  const bar = rowOf(page, 'Run 1.').locator('progress');
  await bar.waitFor();
  const style = (selector: string, property: string) =>
    page
      .locator(selector)
      .first()
      .evaluate((one, name) => getComputedStyle(one).getPropertyValue(name), property);
  expect(await style('.badge .dot', 'border-top-style')).toBe('solid');
  expect(await style('.runs progress', 'border-top-style')).toBe('solid');
  // Half of the bar is filled: its two halves differ in the picture.
  const picture = await bar.screenshot();
  const [left, right] = await page.evaluate(
    async (data) => {
      const image = await createImageBitmap(new Blob([Uint8Array.from(data)]));
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext('2d', { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
      context.drawImage(image, 0, 0);
      const y = Math.floor(image.height / 2);
      return [0.25, 0.75].map((part) => [...context.getImageData(Math.floor(image.width * part), y, 1, 1).data].join());
    },
    [...picture],
  );
  expect(left).not.toBe(right);
});

test('[U26] in a narrow window the pages are at the bottom, and the badge opens the whole sentence', async () => {
  const { page, publish, open } = await openApp({ viewport: { width: 360, height: 740 }, hasTouch: true });
  await open('/');
  await publish(created(1));
  await page.getByText('Run 1.').waitFor();
  const nav = page.getByRole('navigation', { name: 'Main' });
  const box = await nav.boundingBox();
  expect(Math.round((box?.y ?? 0) + (box?.height ?? 0))).toBe(740);
  await nav.getByRole('button', { name: 'More' }).click();
  await page.getByRole('link', { name: 'Operations' }).click();
  await page.getByRole('heading', { level: 1, name: 'Operations' }).waitFor();
  await nav.getByRole('link', { name: 'Runs' }).click();
  await page.getByRole('button', { name: /^Live · up to date/ }).click();
  await page.getByRole('dialog', { name: 'Connection' }).getByText('Live · up to date').waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
});

test('[U27] a user without the rights for a page reads which right is missing', async () => {
  const { page, publish, open } = await openApp({
    token: await viewer(['demo']),
    expectedErrors: /status of 40[34]/,
  });
  await publish({ ...created(1), projectId: 'trials' });
  for (const path of ['/runs/trials/r1', '/runs/trials/none', '/?project=trials', '/search?project=trials']) {
    await open(path);
    await page.getByRole('heading', { name: 'You cannot see project “trials”' }).waitFor();
    await page.getByText('You are signed in as vera and can see: demo.').waitFor();
  }
  await open('/operations');
  await page.getByRole('heading', { name: 'Operations is for administrators' }).waitFor();
  await page.getByText('You are vera (viewer).').waitFor();
  const links = page.getByRole('navigation', { name: 'Main' }).getByRole('link');
  await expect.poll(() => links.allTextContents()).toEqual(['Runs', 'Approvals', 'Search']);
});

test('[U28] a page that is still loading after 10 s states it, and tries again', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const page = await openTab();
  await page.clock.install();
  await page.goto(server.link);
  await rowOf(page, 'Long run').waitFor();
  let isHeld = true;
  const requests: string[] = [];
  await page.route(/run\.list/, async (route) => {
    requests.push(route.request().url());
    if (!isHeld) await route.continue();
  });
  await page.reload();
  await expect.poll(() => requests.length).toBe(1);
  await page.clock.runFor(9_000);
  expect(await page.getByText('Still loading…').count()).toBe(0);
  await page.clock.runFor(2_000);
  await page.getByText('Still loading…').waitFor();
  isHeld = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await rowOf(page, 'Long run').waitFor();
});
