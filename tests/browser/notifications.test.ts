import type { BrowserContext, Page } from 'playwright';
import { expect, test } from 'vitest';
import { draft, openApp, rowOf, withBrowser } from './page-harness.ts';

/** Notifications of the browser. Headless Chromium shows none, so a class in the page records them. */

withBrowser();

type Recorded = { title: string; body?: string; tag?: string; isClosed: boolean };
type Recording = { notes: Recorded[]; live: { onclick: (() => void) | null }[]; asked: number };

/** Replaces `Notification` in every page of the context. `answer` is that of the user to the question for permission. */
async function record(context: BrowserContext, answer: NotificationPermission, before: NotificationPermission) {
  await context.addInitScript(
    ([given, first]) => {
      const recording: Recording = { notes: [], live: [], asked: 0 };
      class Recorder {
        onclick: (() => void) | null = null;
        readonly #note: Recorded;
        constructor(title: string, options: { body?: string; tag?: string }) {
          this.#note = { title, ...options, isClosed: false };
          recording.notes.push(this.#note);
          recording.live.push(this);
        }
        static get permission() {
          return localStorage.getItem('test:permission') ?? first;
        }
        static async requestPermission() {
          recording.asked++;
          localStorage.setItem('test:permission', given);
          return given;
        }
        close() {
          this.#note.isClosed = true;
        }
      }
      Object.assign(window, { Notification: Recorder, recording });
    },
    [answer, before] as const,
  );
}

const recordingOf = (page: Page) =>
  page.evaluate(() => {
    const { notes, asked } = (window as never as { recording: Recording }).recording;
    return { notes, asked };
  });
const titles = async (page: Page) => (await recordingOf(page)).notes.map(({ title }) => title);
/** The user looks at another window. */
const leave = (page: Page) =>
  page.evaluate(() => {
    document.hasFocus = () => false;
    window.dispatchEvent(new Event('blur'));
  });
const asks = (approvalId: string, more: object = {}) =>
  draft('r1', 'governance.required', { approvalId, title: `Approve ${approvalId}`, ...more });

async function openWith(answer: NotificationPermission, before: NotificationPermission = 'default') {
  const app = await openApp();
  await record(app.page.context(), answer, before);
  await app.publish(draft('r1', 'run.created', { name: 'Nightly', createdBy: 'ada' }));
  await app.open('/');
  await rowOf(app.page, 'Nightly').waitFor();
  return app;
}

async function turnOn(page: Page) {
  await page.getByRole('button', { name: 'Menu of ada' }).click();
  await page.getByRole('button', { name: 'Notifications…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Notifications' });
  await dialog.getByRole('button', { name: 'Turn on notifications' }).click();
  return dialog;
}

test('[U29] the browser is asked after a click only; then approvals for the user are notified, and closed when decided', async () => {
  const { page, server } = await openWith('granted');
  expect(await recordingOf(page)).toEqual({ notes: [], asked: 0 });
  const dialog = await turnOn(page);
  await dialog.getByRole('checkbox', { name: 'An approval waits for me' }).waitFor();
  expect((await recordingOf(page)).asked).toBe(1);
  await dialog.getByRole('button', { name: 'Close' }).click();
  await leave(page);
  const ci = { actor: 'ci' };
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await expect.poll(() => server.getStats().subscriptions).toBeGreaterThanOrEqual(4);
  await server.bus.publish([asks('a1')], ci);
  await expect.poll(() => titles(page)).toEqual(['Approval: Approve a1']);
  expect((await recordingOf(page)).notes[0]).toMatchObject({ body: 'demo / r1', isClosed: false });
  const bo = { sub: 'bo', projects: ['*'], roles: ['approver' as const] };
  await server.router
    .createCaller({ principal: bo })
    .approval.grant({ projectId: 'demo', runId: 'r1', approvalId: 'a1' });
  await expect.poll(async () => (await recordingOf(page)).notes[0]?.isClosed).toBe(true);

  // A click leads to the card.
  await server.bus.publish([asks('a2')], ci);
  await expect.poll(() => titles(page)).toEqual(['Approval: Approve a1', 'Approval: Approve a2']);
  await page.evaluate(() => (window as never as { recording: Recording }).recording.live.at(-1)?.onclick?.());
  await page.waitForURL(/\/approvals\?box=mine&a=/);
});

test('[U29] without “Show details” a notification has no text of a producer, and in front there is none', async () => {
  const { page, server } = await openWith('granted');
  const dialog = await turnOn(page);
  await dialog.getByRole('checkbox', { name: /Show details/ }).click();
  await dialog.getByRole('button', { name: 'Close' }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await expect.poll(() => server.getStats().subscriptions).toBeGreaterThanOrEqual(4);
  await page.bringToFront();
  await server.bus.publish([asks('a1')], { actor: 'ci' });
  await page.getByRole('link', { name: 'Approvals, 1 wait for you' }).waitFor();
  await leave(page);
  await server.bus.publish([asks('a2')], { actor: 'ci' });
  await expect.poll(() => titles(page)).toEqual(['An approval waits for you']);
  expect((await recordingOf(page)).notes[0]?.body).toBeUndefined();
});

test('[U29] the end of a run is notified to the user who started it, and to one who asked for it on its page', async () => {
  const { page, publish, server, open } = await openWith('granted');
  await publish(draft('other', 'run.created', { name: 'Of somebody else', createdBy: 'bo' }));
  await open('/runs/demo/other');
  await page.getByRole('button', { name: 'Tell me when this run ends' }).click();
  await page.getByRole('button', { name: 'Tell me when this run ends', pressed: true }).waitFor();
  await expect.poll(() => server.getStats().subscriptions).toBeGreaterThanOrEqual(5);
  await leave(page);
  await publish(draft('r1', 'run.completed'));
  await expect.poll(() => titles(page)).toEqual(['Completed: Nightly']);
  await publish(draft('other', 'run.failed', { error: { message: 'CUDA out of memory', code: 'OOM' } }));
  await expect.poll(() => titles(page)).toEqual(['Completed: Nightly', 'Failed: Of somebody else']);
  expect((await recordingOf(page)).notes[1]?.body).toBe('CUDA out of memory');
  expect(await page.evaluate(() => localStorage.getItem('runwire:followed'))).toBe('[]');
});

test('[U29] of two tabs one notifies, and the other goes on when that one is closed', async () => {
  const { page, server } = await openWith('granted', 'granted');
  await page.evaluate(() => localStorage.setItem('runwire:notify', '["approvals","details"]'));
  await page.reload();
  const other = await page.context().newPage();
  await other.goto(page.url());
  const tabs = [page, other];
  for (const tab of tabs) await rowOf(tab, 'Nightly').waitFor();
  for (const tab of tabs) await leave(tab);
  const locks = () =>
    page.evaluate(async () => {
      const { held = [], pending = [] } = await navigator.locks.query();
      const of = (all: LockInfo[]) => all.filter(({ name }) => name?.startsWith('runwire:notify:')).length;
      return [of(held), of(pending)];
    });
  await expect.poll(locks).toEqual([1, 1]);
  await expect.poll(() => server.getStats().subscriptions).toBeGreaterThanOrEqual(6);
  await server.bus.publish([asks('a1')], { actor: 'ci' });
  await expect.poll(async () => (await Promise.all(tabs.map(titles))).flat()).toEqual(['Approval: Approve a1']);
  // The first tab has had the lock: it was there first.
  await page.close();
  await expect.poll(() => other.evaluate(async () => ((await navigator.locks.query()).pending ?? []).length)).toBe(0);
  await expect.poll(() => server.getStats().subscriptions).toBeGreaterThanOrEqual(4);
  await server.bus.publish([asks('a2')], { actor: 'ci' });
  await expect.poll(() => titles(other)).toContain('Approval: Approve a2');
});

test('[U29] a browser that refuses is named, with what to do', async () => {
  const { page, open } = await openWith('denied');
  const host = new URL(page.url()).host;
  const text = `Blocked by your browser. Allow notifications for ${host} in its settings.`;
  const dialog = await turnOn(page);
  await dialog.getByText(text).waitFor();
  await open('/runs/demo/r1');
  await page.getByRole('button', { name: 'Tell me when this run ends' }).click();
  await page.locator('.toast').getByText(text).waitFor();
});
