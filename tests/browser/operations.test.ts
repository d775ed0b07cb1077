import type { Page } from 'playwright';
import { expect, onTestFinished, test } from 'vitest';
import { follow, open as openClient } from '../support/client.ts';
import { everyone, progress, tokenFor, Wire } from '../support/harness.ts';
import { openApp, openTab, startProcess, withBrowser } from './page-harness.ts';

/** The page Operations. */

withBrowser();

type App = Awaited<ReturnType<typeof openApp>>;
const callerOf = ({ server }: App) => server.router.createCaller({ principal: everyone });
const tile = (page: Page, name: string) => page.locator('.tile').filter({ has: page.getByText(name, { exact: true }) });
const plot = (page: Page, title: string) => page.getByRole('region', { name: title, exact: true });
const clientRow = (page: Page, sub: string) => page.locator('.clients tbody tr').filter({ hasText: sub });

/** Publishes an event every 50 ms until the end of the test. */
function publishOn({ publish }: App): void {
  let value = 0;
  const timer = setInterval(() => void publish(progress('load', value++ % 100)), 50);
  onTestFinished(() => clearInterval(timer));
}

/** Resolves once the server has taken `count` further samples. */
async function samplesLater(app: App, count: number): Promise<void> {
  const last = async () => (await callerOf(app).server.history()).samples.at(-1)?.at ?? 0;
  const begin = await last();
  await expect.poll(last).toBeGreaterThan(begin + count * 900);
}

/** Number of pixels of a plot with the colour of a line. */
const pixelsOf = (page: Page, title: string, variable: string) =>
  plot(page, title)
    .locator('canvas')
    .evaluate((canvas, name) => {
      const probe = document.createElement('span');
      probe.style.color = `var(${name})`;
      document.body.append(probe);
      const wanted = getComputedStyle(probe).color.match(/\d+/g)?.map(Number) ?? [];
      probe.remove();
      const { width, height } = canvas as HTMLCanvasElement;
      const { data } = (canvas as HTMLCanvasElement).getContext('2d')?.getImageData(0, 0, width, height) ?? {
        data: [],
      };
      let count = 0;
      // Thin lines are drawn with smooth edges.
      for (let at = 0; at < data.length; at += 4) {
        const isNear = wanted.every((part, of) => Math.abs((data[at + of] ?? 0) - part) < 60);
        if (isNear && (data[at + 3] ?? 0) > 60) count++;
      }
      return count;
    }, variable);

test('[U80] the tiles show the numbers of now, and each plot draws its lines', async () => {
  const app = await openApp({ expectedErrors: /willReadFrequently/ });
  const { page, open } = app;
  await open('/operations');
  await tile(page, 'Connections').getByText('1', { exact: true }).waitFor();
  await tile(page, 'Published').getByText('0/s', { exact: true }).waitFor();
  publishOn(app);
  await tile(page, 'Published')
    .getByText(/^[1-9]\d*\/s$/)
    .waitFor();
  await page.goto(page.url()); // Another visit loads the whole window at once.
  await tile(page, 'p99 publish → send')
    .getByText(/^[\d.]+ ms$/)
    .waitFor();
  await using wire = await Wire.open(app.server.url);
  await wire.call('query', 'run.get', { runId: 'missing' });
  await tile(page, 'Connections').getByText('2', { exact: true }).waitFor();
  await tile(page, 'Refused').getByText('1', { exact: true }).waitFor();
  await plot(page, 'Refused by reason').getByText('RUN_NOT_FOUND').waitFor();
  await expect.poll(() => page.locator('.plot canvas').count()).toBe(6);
  for (const [title, line] of [
    ['Events per second', '--running'],
    ['Event-loop delay, memory', '--completed'],
  ] as const) {
    await expect.poll(() => pixelsOf(page, title, line)).toBeGreaterThan(10);
  }
  await expect.poll(() => page.title()).toBe('Operations · Runwire');
});

test('[U80] a hidden page and a paused page ask for nothing, and then show what they missed', async () => {
  const app = await openApp();
  const { page, open } = app;
  publishOn(app);
  let requests = 0;
  page.on('request', (request) => {
    if (request.url().includes('server.history')) requests++;
  });
  const quiet = async () => {
    await samplesLater(app, 1); // A request may be under way.
    const before = requests;
    await samplesLater(app, 3);
    expect(requests - before).toBe(0);
  };
  const show = (state: string) =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'visibilityState', { value, configurable: true });
      window.dispatchEvent(new Event('visibilitychange'));
    }, state);
  await open('/operations');
  await tile(page, 'Published').waitFor();
  await show('hidden');
  await quiet();
  await show('visible');
  const visible = requests;
  await expect.poll(() => requests).toBeGreaterThan(visible);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByText('Paused since').waitFor();
  await quiet();
  await plot(page, 'Events per second').getByRole('button', { name: 'Show as table' }).click();
  const newest = () => page.locator('.plot-table tbody th').first().textContent();
  const shown = await newest();
  await page.getByRole('button', { name: 'Resume' }).click();
  await expect.poll(newest).not.toBe(shown);
  // Without a gap: each second has a row.
  expect(await page.locator('.plot-table').getByText('no samples').count()).toBe(0);
});

test('[U81] the table of a plot has the same numbers as the samples, and is copied as CSV', async () => {
  const app = await openApp({ timezoneId: 'UTC', permissions: ['clipboard-read', 'clipboard-write'] });
  const { page, open } = app;
  publishOn(app);
  await open('/operations');
  await tile(page, 'Published').waitFor();
  await samplesLater(app, 4);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByText('Paused since').waitFor();
  const events = plot(page, 'Events per second');
  await events.getByRole('button', { name: 'Show as table' }).click();
  const rows = await events
    .locator('tbody tr')
    .evaluateAll((all) => all.map((row) => [...row.children].map(({ textContent }) => textContent)));
  expect(rows.length).toBeGreaterThan(3);
  const { samples } = await callerOf(app).server.history();
  const expected = samples
    .map(({ at, published, delivered }) => [
      new Date(at).toISOString().slice(11, 19),
      String(published),
      delivered.toLocaleString('en-US'),
    ])
    .reverse();
  const skipped = expected.findIndex(([time]) => time === rows[0]?.[0]);
  expect(rows).toEqual(expected.slice(skipped, skipped + rows.length));
  await events.getByRole('button', { name: 'Copy as CSV' }).click();
  await page.getByText('Copied: Events per second').first().waitFor();
  const [head, ...lines] = (await page.evaluate(() => navigator.clipboard.readText())).trim().split('\n');
  expect(head).toBe('time,published,delivered');
  expect(lines.map((line) => line.split(',').slice(1))).toEqual(
    rows.map(([, ...numbers]) => numbers.map((text) => (text ?? '').replace(',', ''))).reverse(),
  );
});

test('[U81] all plots have one cursor, and the legends show the values at it as text', async () => {
  const app = await openApp({ timezoneId: 'UTC' });
  const { page, open } = app;
  publishOn(app);
  await open('/operations');
  await samplesLater(app, 3);
  const over = plot(page, 'Event-loop delay, memory').locator('.u-over');
  const { width, height } = (await over.boundingBox()) ?? { width: 0, height: 0 };
  await over.hover({ position: { x: width - 1, y: height / 2 } });
  await expect.poll(() => page.locator('.plot-title small').count()).toBeGreaterThanOrEqual(5);
  const times = await page.locator('.plot-title small').allTextContents();
  expect(new Set(times).size).toBe(1);
  expect(times[0]).toMatch(/^\d\d:\d\d:\d\d$/);
  await plot(page, 'Events per second')
    .getByText(/published/)
    .getByText(/^\d+$/)
    .waitFor();
  const styles = await plot(page, 'Log: sizes, commit')
    .locator('.legend line')
    .evaluateAll((all) => all.map((line) => line.getAttribute('stroke-dasharray')));
  expect(new Set(styles).size).toBe(3);
  await page.mouse.move(1, 1);
  await expect.poll(() => page.locator('.plot-title small').count()).toBe(0);
});

test('[U83] the window and the tab are in the address', async () => {
  const { page, open } = await openApp();
  await open('/operations?window=1h');
  await page.locator('.choice [aria-current]').getByText('1 h').waitFor();
  await tile(page, 'Gaps').getByText('in 1 h').waitFor();
  await page.getByRole('link', { name: '10 min' }).click();
  await tile(page, 'Gaps').getByText('in 10 min').waitFor();
  await expect.poll(() => new URL(page.url()).search).toBe('');
  await page.getByRole('tab', { name: 'Record' }).click();
  await page.getByText('One node.').waitFor();
  await expect.poll(() => new URL(page.url()).search).toBe('?tab=record');
});

test('[U84] clients are listed by lag, and no row moves while the pointer is in the table', async () => {
  const app = await openApp();
  const { page, open, server } = app;
  await using slow = await Wire.open(server.url, { token: await tokenFor({ sub: 'slow-reader' }) });
  await slow.subscribe('onRunEvent', { runId: 'load', projectId: 'demo' }).until(({ type }) => type === 'stream.live');
  await open('/operations?tab=clients');
  await clientRow(page, 'slow-reader').waitFor();
  const order = () => page.locator('.clients tbody tr').evaluateAll((rows) => rows.map((row) => row.textContent ?? ''));
  const placeOf = async () => (await order()).findIndex((text) => text.includes('slow-reader'));
  const others = await Promise.all(
    ['aa', 'bb', 'cc'].map(async (sub) => Wire.open(server.url, { token: await tokenFor({ sub }) })),
  );
  onTestFinished(() => {
    for (const { ws } of others) ws.terminate();
  });
  await clientRow(page, 'cc').hover();
  const before = await page.locator('.clients tbody tr .user-cell').allTextContents();
  slow.ws.pause();
  const message = 'words of a long message '.repeat(80);
  for (let batch = 0; batch < 60; batch++) {
    await server.bus.publish(
      Array.from({ length: 100 }, (_, at) => progress('load', at % 100, { message: `${batch} ${at} ${message}` })),
      { actor: 'ci' },
    );
  }
  await clientRow(page, 'slow-reader').getByText('slow', { exact: true }).waitFor();
  await expect.poll(() => page.locator('.clients tbody tr .user-cell').allTextContents()).toEqual(before);
  // A client that leaves keeps its row meanwhile, so that no other row comes under the pointer.
  others[0]?.ws.terminate();
  await clientRow(page, 'aa').getByText('gone').waitFor();
  await page.mouse.move(1, 1);
  await expect.poll(placeOf).toBe(0);
  await clientRow(page, 'aa').waitFor({ state: 'detached' });
});

test('[U84] the table of clients is one tab stop, and Enter opens the actions of a row', async () => {
  const { page, open, server } = await openApp();
  await using _ = await Wire.open(server.url, { token: await tokenFor({ sub: 'vera' }) });
  await open('/operations?tab=clients');
  await clientRow(page, 'vera').waitFor();
  await expect.poll(() => page.locator('.clients [tabindex="0"]').count()).toBe(1);
  await page.keyboard.press('j');
  await expect.poll(() => page.evaluate(() => document.activeElement?.tagName)).toBe('TR');
  await page.keyboard.press('Enter');
  await page.getByRole('menuitem', { name: 'Copy id' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('menuitem', { name: 'Copy id' }).waitFor({ state: 'detached' });
});

test('[U85] a client that is drained or disconnected from the page comes back and misses nothing', async () => {
  const app = await openApp();
  const { page, open, server, publish } = app;
  const { client } = openClient({ url: server.url, token: await tokenFor({ sub: 'vera' }) });
  const reader = follow(client, 'r1');
  await publish(progress('r1', 1));
  await reader.until(() => reader.seqs().length === 1);
  await open('/operations?tab=clients');
  const idOf = async () => (await callerOf(app).server.stats()).clients.find(({ sub }) => sub === 'vera')?.id;
  const act = async (item: RegExp) => {
    await clientRow(page, 'vera').last().getByRole('button', { name: 'Actions for vera' }).click();
    await page.getByRole('menuitem', { name: item }).click();
  };
  const first = await idOf();
  await act(/^Drain/);
  await page.getByText('Drained vera: it connects again by itself').first().waitFor();
  for (let value = 2; value <= 10; value++) await publish(progress('r1', value));
  await reader.until(() => reader.seqs().length === 10);
  await expect.poll(idOf).not.toBe(first);
  await page.mouse.move(1, 1);
  await page.locator('main').focus();
  const second = await idOf();
  await expect
    .poll(() =>
      page.locator('.clients tbody tr').evaluateAll((rows) => rows.map((row) => (row as HTMLElement).dataset.row)),
    )
    .toContain(String(second));
  await act(/^Disconnect/);
  const dialog = page.getByRole('dialog', { name: 'Disconnect vera (127.0.0.1)?' });
  await dialog.getByText('It will reconnect unless its token is revoked.').waitFor();
  await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toBe('Cancel');
  await expect.poll(() => dialog.getByRole('checkbox', { name: 'and revoke its sessions' }).isChecked()).toBe(false);
  await dialog.getByRole('button', { name: 'Disconnect' }).click();
  await page.getByText('Disconnected vera').first().waitFor();
  for (let value = 11; value <= 20; value++) await publish(progress('r1', value));
  await reader.until(() => reader.seqs().length >= 20);
  expect(reader.seqs()).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  const { entries } = await callerOf(app).audit.access({ sub: 'ada' });
  expect(entries.map(({ action }) => action)).toEqual(expect.arrayContaining(['server.drain', 'server.disconnect']));
});

test('[U85] a client with revoked sessions does not come back', async () => {
  const { page, open, server } = await openApp();
  const token = await tokenFor({ sub: 'vera' });
  await using wire = await Wire.open(server.url, { token });
  await open('/operations?tab=clients');
  await clientRow(page, 'vera').getByRole('button').click();
  await page.getByRole('menuitem', { name: /^Disconnect/ }).click();
  await page.getByRole('checkbox', { name: 'and revoke its sessions' }).check();
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  expect((await wire.closed).code).toBe(4403);
  await using again = await Wire.open(server.url, { token });
  expect((await again.closed).code).toBe(4403);
});

test('[U86] the record states the log and its proof, and is verified from the page', async () => {
  const app = await openApp();
  const { page, open, publish } = app;
  await publish(progress('r1', 1), progress('r1', 2), progress('r1', 3));
  await callerOf(app).audit.checkpoint();
  await callerOf(app).audit.erase({ seq: 2, reason: 'asked for' });
  await open('/operations?tab=record');
  const fact = (name: string) => page.locator('.record > div').filter({ has: page.getByText(name, { exact: true }) });
  await fact('Head').getByText('event 3').waitFor();
  await fact('Oldest').getByText('event 1').waitFor();
  await fact('Last checkpoint')
    .getByText(/^event 3, (now|\d+ s ago)$/)
    .waitFor();
  await fact('Erasures').getByText('1 event without their text').waitFor();
  await fact('Retention').getByText('events are kept for good').waitFor();
  await fact('Nodes').getByText('One node.').waitFor();
  await page.getByRole('button', { name: 'Verify now' }).click();
  await fact('Last verification')
    .getByText(/^Intact: 3 events, head [0-9a-f]{8}…$/)
    .waitFor();
  await fact('Last verification').getByText('ada').waitFor();
});

test('[U27] the page is for administrators, and asks nothing of the server for anybody else', async () => {
  const { page, open } = await openApp({ token: await tokenFor({ sub: 'vera', roles: ['viewer'] }) });
  let requests = 0;
  page.on('request', (request) => {
    if (request.url().includes('/trpc/server.')) requests++;
  });
  await open('/operations');
  await page.getByText('Operations is for administrators').waitFor();
  await page.getByText('You are vera (viewer).').waitFor();
  expect(requests).toBe(0);
});

test('[U87] without an answer of the server the numbers stay, the badge states it, and nothing can be done', async () => {
  const { link, start, kill } = await startProcess();
  const page = await openTab({ expectedErrors: /net::ERR_|WebSocket/ });
  await page.goto(link);
  await page.goto(new URL('/operations?tab=record', link).href);
  await page.getByText('One node.').waitFor();
  const verify = page.getByRole('button', { name: 'Verify now' });
  await expect.poll(() => verify.isEnabled()).toBe(true);
  await kill();
  await page.getByText('Connection lost').waitFor();
  await page.getByText('One node.').waitFor();
  await expect.poll(() => verify.isDisabled()).toBe(true);
  await start();
  await page.getByText('Live', { exact: true }).waitFor();
  await expect.poll(() => verify.isEnabled()).toBe(true);
});

test('[U88] the code of the plots is loaded only for the tab that shows them', async () => {
  const { page, open } = await openApp();
  const scripts: string[] = [];
  page.on('request', (request) => scripts.push(request.url()));
  await open('/operations?tab=clients');
  await page.locator('.clients tbody tr').first().waitFor();
  expect(scripts.filter((url) => url.includes('/Overview-'))).toEqual([]);
  await page.getByRole('tab', { name: 'Overview' }).click();
  await page.locator('.plot canvas').first().waitFor();
  expect(scripts.some((url) => url.includes('/Overview-'))).toBe(true);
});
