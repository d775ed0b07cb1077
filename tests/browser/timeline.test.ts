import type { Locator, Page } from 'playwright';
import { expect, test } from 'vitest';
import type { RunEventDraft } from '../../shared/events.ts';
import { draft, openApp, rowOf, withBrowser } from './page-harness.ts';

/** The timeline of a run, its stage panel and its banners. */

withBrowser();

const wide = { viewport: { width: 1440, height: 900 } };
const of = (type: Parameters<typeof draft>[1], fields: object = {}) => draft('r1', type, fields);
const ago = (seconds: number) => ({ timestamp: new Date(Date.now() - seconds * 1_000).toISOString() });
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const path = '/runs/demo/r1';
const timelineOf = (page: Page) => page.getByRole('region', { name: 'Timeline' });
const widthOf = async (bar: Locator) => (await bar.boundingBox())?.width ?? 0;
const barsOf = (page: Page, name: string) => rowOf(page, name).locator('.bar-of');
/** A stage that ran from one to another number of seconds ago. */
const ran = (stageId: string, from: number, to: number, name = stageId): RunEventDraft[] => [
  of('stage.started', { stageId, name, ...ago(from) }),
  of('stage.completed', { stageId, ...ago(to) }),
];
const HOUR = 3_600;

async function publishAll(publish: (...events: RunEventDraft[]) => Promise<unknown>, events: RunEventDraft[]) {
  for (let from = 0; from < events.length; from += 1_000) await publish(...events.slice(from, from + 1_000));
}

test('[U41] each attempt of a stage has a bar, with its error, and a line while it waits for the next one', async () => {
  const { page, publish, open } = await openApp(wide);
  await publish(
    of('run.created', { name: 'Nightly', ...ago(600) }),
    of('stage.started', { stageId: 's1', name: 'Build', ...ago(600) }),
    of('stage.failed', { stageId: 's1', error: { message: 'deadlock' }, willRetry: true, ...ago(400) }),
    of('stage.started', { stageId: 's1', attempt: 2, ...ago(350) }),
    of('stage.failed', { stageId: 's1', attempt: 2, error: { message: 'no disk' }, willRetry: true, ...ago(200) }),
    of('stage.started', { stageId: 's1', attempt: 3, ...ago(150) }),
    of('stage.progress', { stageId: 's1', attempt: 3, done: 300, total: 9_000, ...ago(1) }),
  );
  await open(path);
  const bars = barsOf(page, 'Build');
  await bars.nth(2).waitFor();
  await expect.poll(() => bars.count()).toBe(3);
  await expect.poll(() => rowOf(page, 'Build').locator('.retry-of').count()).toBe(2);
  const boxes = await Promise.all([0, 1, 2].map((index) => bars.nth(index).boundingBox()));
  const [first, second, third] = boxes.map((box) => box ?? { x: 0, width: 0 }) as [Box, Box, Box];
  expect(first.width / second.width).toBeCloseTo(200 / 150, 1);
  expect(second.x).toBeGreaterThan(first.x + first.width);
  expect(third.x).toBeGreaterThan(second.x + second.width);
  await bars.nth(1).hover();
  await page.getByText(/^Attempt 2 of 3 · failed .* after 2 min 30 s · no disk$/).waitFor();

  await bars.nth(1).click();
  await expect.poll(() => new URL(page.url()).search).toBe('?stage=s1&attempt=2');
  const panel = page.getByRole('region', { name: 'Build', exact: true });
  const rows = panel.getByRole('table', { name: 'Attempts' }).getByRole('row');
  expect((await rows.allTextContents()).map((text) => text.replace(/\d\d:\d\d:\d\d\.\d{3}/, ' '))).toEqual([
    'AttemptStatusStartedTook',
    '1failed 3 min 20 s',
    'deadlock',
    '2failed 2 min 30 s',
    'no disk',
    expect.stringMatching(/^3running 2 min 3\d s$/),
  ]);
  await panel.getByText(/^300 of 9,000 · 2\/s · about \d+ min left$/).waitFor();
  await page.goBack();
  await panel.waitFor({ state: 'detached' });
  await expect.poll(() => new URL(page.url()).search).toBe('');
});

type Box = { x: number; width: number };

test('[U43] a minute of work before and after 15 hours of waiting are both wide; a fold opens, and all are switched off', async () => {
  const { page, publish, open } = await openApp(wide);
  const asked = { approvalId: 'a1', title: 'Start it', authority: 'producer' };
  await publish(
    of('run.created', { name: 'Overnight', ...ago(15 * HOUR + 120) }),
    ...ran('before', 15 * HOUR + 120, 15 * HOUR + 60),
    of('governance.required', { ...asked, ...ago(15 * HOUR + 60) }),
    of('approval.granted', { approvalId: 'a1', decidedBy: 'ann', ...ago(60) }),
    ...ran('after', 60, 0),
    of('run.completed', ago(0)),
  );
  await open(path);
  const [before, after] = [barsOf(page, 'before'), barsOf(page, 'after')];
  await after.waitFor();
  expect(await widthOf(before)).toBeGreaterThanOrEqual(60);
  expect(await widthOf(after)).toBeGreaterThanOrEqual(60);
  const texts = () => page.locator('.ticks .tick').allTextContents();
  expect(await texts()).toContain('0');
  expect((await texts()).some((text) => text.startsWith('15:01 h'))).toBe(true);
  // The row of an approval of the whole run is at the top.
  await expect.poll(() => page.locator('.stage-row').first().textContent()).toContain('Approval: Start it');
  await page.getByRole('button', { name: 'Unfold 15 h 00 min, waiting for approval' }).press('Enter');
  await expect.poll(() => widthOf(after)).toBeLessThan(10);
  await page.reload();
  await expect.poll(() => widthOf(after)).toBeGreaterThanOrEqual(60);
  await page.getByRole('button', { name: 'Fold idle' }).click();
  await expect.poll(() => widthOf(after)).toBeLessThan(10);
  await expect.poll(() => new URL(page.url()).search).toBe('?fold=0');
});

test('[U44] zooming in five times on a run of two far stages leaves a bar in view', async () => {
  const { page, publish, open } = await openApp(wide);
  await publish(
    of('run.created', { name: 'Overnight', ...ago(15 * HOUR) }),
    ...ran('before', 15 * HOUR, 15 * HOUR - 60),
    ...ran('after', 60, 0),
    of('run.completed', ago(0)),
  );
  await open(`${path}?fold=0`);
  await barsOf(page, 'after').waitFor();
  const inView = () =>
    timelineOf(page).evaluate((box) => {
      const { left, right } = box.getBoundingClientRect();
      const names = box.querySelector('.stage-name')?.getBoundingClientRect().right ?? left;
      const bars = [...box.querySelectorAll('.bar-of')].map((bar) => bar.getBoundingClientRect());
      return bars.filter((bar) => bar.right > names && bar.left < right).length;
    });
  for (let press = 1; press <= 8; press++) {
    await page.keyboard.press('+');
    expect(await inView()).toBeGreaterThan(0);
  }
  await page.keyboard.press('0');
  // The selected stage stays, and is seen in its full width.
  await rowOf(page, 'after').click();
  for (let press = 1; press <= 8; press++) await page.keyboard.press('+');
  await expect.poll(() => widthOf(barsOf(page, 'after'))).toBeGreaterThan(50);
  const box = (await barsOf(page, 'after').boundingBox()) as Box;
  const view = (await timelineOf(page).boundingBox()) as Box;
  expect(box.x + box.width).toBeLessThan(view.x + view.width + box.width);
  expect(box.x + box.width).toBeGreaterThan(view.x + 200);
  // The wheel with Ctrl zooms out again, and a drag over the axis zooms to a span.
  await timelineOf(page).hover();
  await page.keyboard.down('Control');
  for (let turn = 0; turn < 60; turn++) await page.mouse.wheel(0, 100);
  await page.keyboard.up('Control');
  await expect.poll(() => page.getByRole('button', { name: 'Zoom out' }).isDisabled()).toBe(true);
  const axis = (await page.locator('.ticks').boundingBox()) as Box & { y: number };
  await page.mouse.move(axis.x + 40, axis.y + 24);
  await page.mouse.down();
  await page.mouse.move(axis.x + 140, axis.y + 24, { steps: 4 });
  await page.mouse.up();
  await expect.poll(() => page.getByRole('button', { name: 'Zoom out' }).isDisabled()).toBe(false);
});

test('[U45] sixty names with a common prefix have sixty different texts, and the prefix is shown once', async () => {
  const { page, publish, open } = await openApp({ viewport: { width: 1440, height: 2_200 } });
  const names = upTo(60).map(
    (n) =>
      `warehouse.marts.finance.${n % 2 ? 'revenue' : 'cost'}_by_region_and_product_line_v${n} (incremental, full refresh)`,
  );
  await publish(
    of('run.created', { name: 'Marts', stages: names.map((name, index) => ({ stageId: `s${index}`, name })) }),
  );
  await open(path);
  const cells = page.locator('.stage-name .name');
  await expect.poll(() => cells.count()).toBe(60);
  const shown = await cells.evaluateAll((all) =>
    all.map((cell) => {
      const text = cell.querySelector('[aria-hidden]') ?? cell;
      const box = cell as HTMLElement;
      return { text: text.textContent ?? '', isCut: box.scrollWidth > box.clientWidth + 1 };
    }),
  );
  expect(new Set(shown.map(({ text }) => text)).size).toBe(60);
  expect(shown.filter(({ isCut }) => isCut)).toEqual([]);
  expect(shown.some(({ text }) => text.includes('warehouse'))).toBe(false);
  await page.getByRole('columnheader', { name: 'warehouse.marts.finance.' }).waitFor();
  await page.getByRole('row', { name: names[36] as string }).waitFor();

  const border = page.getByRole('separator', { name: 'Width of the names' });
  const before = Number(await border.getAttribute('aria-valuenow'));
  for (let press = 0; press < 4; press++) await border.press('ArrowRight');
  expect(Number(await border.getAttribute('aria-valuenow'))).toBe(before + 64);
  await page.reload();
  await expect.poll(() => border.getAttribute('aria-valuenow')).toBe(String(before + 64));
});

test('[U46] of 10,000 planned stages, the running ones are in view until the reader scrolls; counts filter, and names are searched', async () => {
  const { page, publish, open } = await openApp(wide);
  const stages = upTo(10_000).map((n) => ({ stageId: `s${n}`, name: `Shard ${n}. of the index` }));
  await publish(of('run.created', { name: 'Big', stages, ...ago(1_000) }));
  const ended = upTo(3_000).flatMap((n) => [
    of('stage.started', { stageId: `s${n}`, ...ago(900) }),
    n % 1_000 === 7
      ? of('stage.failed', { stageId: `s${n}`, error: { message: `broken ${n}` }, ...ago(800) })
      : of('stage.completed', { stageId: `s${n}`, ...ago(800) }),
  ]);
  await publishAll(publish, ended);
  await publish(...upTo(10).map((n) => of('stage.started', { stageId: `s${9_000 + n}`, ...ago(5) })));
  await open(path);
  const isInView = (name: string) =>
    rowOf(page, name).evaluate((row) => {
      const box = row.closest('.timeline')?.getBoundingClientRect();
      const { top, bottom } = row.getBoundingClientRect();
      return box !== undefined && top >= box.top && bottom <= box.bottom;
    });
  await rowOf(page, 'Shard 9010.').waitFor();
  for (const n of [9_001, 9_005, 9_010]) expect(await isInView(`Shard ${n}.`)).toBe(true);
  expect(await page.locator('.stage-row').count()).toBeLessThan(100);
  const follow = page.getByRole('button', { name: 'Follow running' });
  await expect.poll(() => follow.getAttribute('aria-pressed')).toBe('true');
  await publish(...upTo(40).map((n) => of('stage.started', { stageId: `s${9_010 + n}` })));
  await rowOf(page, 'Shard 9050.').waitFor();
  await expect.poll(() => isInView('Shard 9050.')).toBe(true);
  await timelineOf(page).hover();
  await page.mouse.wheel(0, -2_000);
  await expect.poll(() => follow.getAttribute('aria-pressed')).toBe('false');

  for (const [chip, count] of [
    ['All 10,000', ''],
    ['Running 50', '?show=running'],
    ['Done 2,997', '?show=done'],
    ['Not run 6,950', '?show=not-run'],
    ['Failed 3', '?show=failed'],
  ] as const) {
    await page.getByRole('button', { name: chip, exact: true }).click();
    await expect.poll(() => new URL(page.url()).search).toBe(count);
  }
  await expect.poll(() => page.locator('.stage-row').count()).toBe(3);
  await page.getByRole('button', { name: 'All 10,000', exact: true }).click();
  await page.keyboard.press('f');
  await page.keyboard.type('shard 77');
  await page.getByText('111 of 10,000').waitFor();
  await page.keyboard.press('Escape');
  await expect.poll(() => new URL(page.url()).search).toBe('');
});

test('[U46] stages are ordered by start, duration or status, and grouped by the beginning of their names', async () => {
  const { page, publish, open } = await openApp(wide);
  await publish(
    of('run.created', { name: 'Nightly', ...ago(100) }),
    ...upTo(35).flatMap((n) => ran(`a${n}`, 90 - n, 90 - n - (n % 9) - 1, `load / part ${n}`)),
    ...upTo(35).flatMap((n) => ran(`b${n}`, 40 - n, 39 - n, `check / part ${n}`)),
    of('stage.started', { stageId: 'c', name: 'zip', ...ago(99) }),
  );
  await open(`${path}?order=duration`);
  const names = () => page.locator('.stage-name .name').allTextContents();
  await expect.poll(async () => (await names())[0]).toBe('zip');
  await page.getByRole('button', { name: 'Order: duration' }).click();
  await page.getByRole('menuitemradio', { name: 'Start' }).click();
  await expect.poll(async () => (await names()).slice(0, 2)).toEqual(['zip', 'load / part 1']);
  await page.getByRole('button', { name: 'Group' }).click();
  await expect.poll(async () => (await names())[0]).toBe('zip');
  const group = rowOf(page, 'load').first();
  await expect.poll(() => group.getAttribute('aria-expanded')).toBe('true');
  await group.getByText('35 done').waitFor();
  await group.click();
  await expect.poll(() => names()).not.toContain('load / part 1');
  await expect.poll(() => new URL(page.url()).search).toBe('?order=start&group=1');
});

test('[U47] the time of a run is split into queued, running and waiting, which add up; the part that grows is marked', async () => {
  const { page, publish, open } = await openApp(wide);
  await publish(
    of('run.created', { name: 'Release', ...ago(600) }),
    of('run.started', ago(590)),
    ...ran('s1', 590, 400),
    of('governance.required', { approvalId: 'a1', title: 'Go on', authority: 'producer', ...ago(300) }),
  );
  await open(path);
  const clock = page.locator('.facts .clock');
  await clock.nth(2).waitFor();
  const texts = await clock.allTextContents();
  expect(texts.map((text) => text.replace(/\d+ s$/, 's'))).toEqual([
    'Queueds',
    'Running4 min s',
    'Waiting for approval5 min s',
  ]);
  const secondsOf = (text: string) => {
    const [, minutes = '0', seconds = '0'] = /(?:(\d+) min )?(\d+) s$/.exec(text) ?? [];
    return Number(minutes) * 60 + Number(seconds);
  };
  const sum = texts.reduce((total, text) => total + secondsOf(text), 0);
  expect(Math.abs(sum - 600)).toBeLessThan(20);
  await expect.poll(() => page.locator('.facts .growing dt').allTextContents()).toEqual(['Waiting for approval']);
});

test('[U47] the header has at most three lines of labels, and the rest is in a list; scrolled away, one line stays', async () => {
  const { page, publish, open } = await openApp({ viewport: { width: 1440, height: 380 } });
  const labels = Object.fromEntries(upTo(14).map((n) => [`dbt.target.${n}`, `value-of-the-label-${n}`]));
  await publish(of('run.created', { name: 'Release', labels }), of('stage.started', { stageId: 's1' }));
  await open(path);
  const summary = page.getByRole('region', { name: 'Summary' });
  await summary.getByRole('button', { name: 'All 14 labels' }).click();
  const list = page.getByRole('dialog', { name: 'Labels' });
  await expect.poll(() => list.getByRole('row').count()).toBe(14);
  await expect
    .poll(() => list.getByRole('link', { name: 'value-of-the-label-9' }).getAttribute('href'))
    .toBe('/?label=dbt.target.9%3Dvalue-of-the-label-9');
  await page.keyboard.press('Escape');
  await expect.poll(async () => (await summary.boundingBox())?.height).toBeLessThan(130);
  expect(await page.locator('.run-line .line').count()).toBe(0);
  await page.mouse.move(5, 300);
  await page.mouse.wheel(0, 400);
  await page.locator('.run-line .line').getByText('Release').waitFor();
});

test('[U48] the error of the failed stage comes first, in full up to six lines; buttons lead to the event and the stage', async () => {
  const { page, publish, open } = await openApp(wide);
  const lines = upTo(9).map((n) => `line ${n} of the error`);
  await publish(
    of('run.created', { name: 'Train' }),
    of('stage.started', { stageId: 'train', name: 'Train model' }),
    of('stage.failed', { stageId: 'train', error: { message: lines.join('\n'), code: 'OOM' } }),
    of('run.failed', { stageId: 'train', error: { message: 'stage train failed' } }),
  );
  await open(path);
  const failure = page.getByRole('region', { name: 'Failed in Train model OOM' });
  const cause = failure.locator('.cause');
  await failure.getByText('stage train failed').waitFor();
  expect(
    await cause.evaluate((text) =>
      text.compareDocumentPosition(text.parentElement?.querySelector('.own-words') as Node),
    ),
  ).toBe(4);
  const height = async () => (await cause.boundingBox())?.height ?? 0;
  const cut = await height();
  await failure.getByRole('button', { name: 'More' }).click();
  await expect.poll(height).toBeGreaterThan(cut * 1.4);
  await failure.getByRole('button', { name: 'Show the event' }).click();
  await page.locator('.event.marked[aria-posinset="3"]').waitFor();
  await failure.getByRole('button', { name: 'Show the stage' }).click();
  await page.getByRole('region', { name: 'Train model', exact: true }).waitFor();
});

test('[U48] a denied or expired approval is stated below the header until a stage goes on', async () => {
  const { page, publish, open } = await openApp(wide);
  const asked = { title: 'Release', authority: 'producer', requiredApprovals: 2 };
  await publish(
    of('run.created', { name: 'Release' }),
    of('governance.required', { approvalId: 'a1', ...asked }),
    of('approval.denied', { approvalId: 'a1', decidedBy: 'bo', reason: 'site 7 is missing' }),
  );
  await open(path);
  const banner = page.getByRole('region', { name: 'Outcome of the last approval' });
  await banner.getByText(/^Denied by bo, .*: site 7 is missing$/).waitFor();
  await banner.getByText('The run goes on until its producer ends it.').waitFor();
  expect(await page.locator('.folded-approval').count()).toBe(0);
  await publish(of('stage.started', { stageId: 's1', timestamp: new Date(Date.now() + 5_000).toISOString() }));
  await banner.waitFor({ state: 'detached' });
  const later = { timestamp: new Date(Date.now() + 10_000).toISOString() };
  await publish(
    of('governance.required', { approvalId: 'a2', ...asked, ...later }),
    of('approval.granted', { approvalId: 'a2', decidedBy: 'ann', ...later }),
    of('approval.denied', { approvalId: 'a2', decidedBy: 'system', reason: 'expired', expired: true, ...later }),
  );
  await banner.getByText(/^Nobody decided in time\. Expired .* with 1 of 2 approvals$/).waitFor();
});

test('[U49] in forced colours, bars, the parts of them that are done, and failures are seen', async () => {
  const { page, publish, open } = await openApp(wide);
  await page.emulateMedia({ forcedColors: 'active' });
  await publish(
    of('run.created', { name: 'Nightly', ...ago(300) }),
    ...ran('done', 300, 200),
    of('stage.started', { stageId: 'failed', ...ago(300) }),
    of('stage.failed', { stageId: 'failed', error: { message: 'x' }, ...ago(200) }),
    of('stage.started', { stageId: 'half', ...ago(300) }),
    of('stage.progress', { stageId: 'half', progress: 50 }),
  );
  await open(path);
  await barsOf(page, 'half').waitFor();
  /** The share of the pixels of a bar that differ from the page's background. */
  const inkOf = async (name: string) => {
    const png = await barsOf(page, name).first().screenshot();
    return page.evaluate(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes]));
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      const context = canvas.getContext('2d') as OffscreenCanvasRenderingContext2D;
      context.drawImage(bitmap, 0, 0);
      const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
      const probe = document.createElement('span');
      probe.style.cssText = 'forced-color-adjust:none;color:Canvas';
      document.body.append(probe);
      const [red = 0, green = 0, blue = 0] = getComputedStyle(probe).color.match(/\d+/g)?.map(Number) ?? [];
      let ink = 0;
      for (let at = 0; at < data.length; at += 4) {
        const difference = [red, green, blue].reduce(
          (sum, one, part) => sum + Math.abs((data[at + part] ?? 0) - one),
          0,
        );
        if (difference > 120) ink++;
      }
      return ink / (data.length / 4);
    }, png.toString('base64'));
  };
  expect(await inkOf('done')).toBeGreaterThan(0.8);
  expect(await inkOf('half')).toBeGreaterThan(0.4);
  expect(await inkOf('half')).toBeLessThan(0.8);
  const failed = await inkOf('failed');
  expect(failed).toBeGreaterThan(0.2);
  expect(failed).toBeLessThan(0.8);
});

test('[U42] the timeline is one tab stop; arrows move, Enter opens the panel at the right, and the keys then move the selection', async () => {
  const { page, publish, open } = await openApp(wide);
  await publish(
    of('run.created', { name: 'Nightly', ...ago(100) }),
    ...upTo(30).flatMap((n) => ran(`s${n}`, 100 - n, 99 - n, `Stage ${n}.`)),
  );
  await open(path);
  await rowOf(page, 'Stage 1.').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toContain('Stage 3.');
  await expect.poll(() => new URL(page.url()).search).toBe('');
  await page.keyboard.press('Enter');
  const panel = page.locator('.stage-panel');
  await panel.getByRole('heading', { name: 'Stage 3.' }).waitFor();
  const [stages, box] = [await page.getByRole('region', { name: 'Stages' }).boundingBox(), await panel.boundingBox()];
  expect(box?.x).toBeGreaterThanOrEqual((stages?.x ?? 0) + (stages?.width ?? 0));
  await page.keyboard.press('j');
  await panel.getByRole('heading', { name: 'Stage 4.' }).waitFor();
  await page.keyboard.press('End');
  await panel.getByRole('heading', { name: 'Stage 30.' }).waitFor();
  await expect.poll(() => page.locator('[data-list="stages"] [tabindex="0"][data-row]').count()).toBe(1);
  await page.keyboard.press('Escape');
  await panel.waitFor({ state: 'detached' });
  await expect.poll(() => new URL(page.url()).search).toBe('');
});

test('[U93] the note of a retried stage stands right of its last attempt', async () => {
  const { page, publish, open } = await openApp(wide);
  await publish(
    of('run.created', { name: 'Nightly', ...ago(600) }),
    ...ran('s0', 600, 300),
    of('stage.started', { stageId: 's1', name: 'Build', ...ago(300) }),
    of('stage.failed', { stageId: 's1', error: { message: 'deadlock' }, willRetry: true, ...ago(200) }),
    of('stage.started', { stageId: 's1', attempt: 2, ...ago(150) }),
    of('stage.failed', { stageId: 's1', attempt: 2, error: { message: 'no disk is left for it' }, ...ago(1) }),
    of('run.failed', { error: { message: 'no disk is left for it' } }),
  );
  await open(path);
  const last = await barsOf(page, 'Build').last().boundingBox();
  const note = await rowOf(page, 'Build').locator('.note').boundingBox();
  expect(note?.x).toBeGreaterThanOrEqual((last?.x ?? 0) + (last?.width ?? 0) - 1);
});
