import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { tokenFor } from '../support/harness.ts';
import { completeUpTo, draft, eventsShown, openApp, rowOf, withBrowser } from './page-harness.ts';

/** The page of a run. */

withBrowser();

const of = (type: Parameters<typeof draft>[1], fields: object = {}) => draft('r1', type, fields);
const progress = (value: number, stageId = 's1') => of('stage.progress', { stageId, progress: value });
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const ago = (seconds: number) => ({ timestamp: new Date(Date.now() - seconds * 1_000).toISOString() });
const barOf = async (page: Page, name: string) => {
  const box = await rowOf(page, name).locator('.bar-of').boundingBox();
  if (!box) throw new Error(`the row ${name} has no bar`);
  return box;
};
const isAtEnd = (page: Page) =>
  page.getByRole('log').evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 2);
/** Returns whether the linked event is visible, both in the window and in its list. */
const isInView = (page: Page) =>
  page.locator('.event.marked').evaluate((row) => {
    const { top, bottom } = row.getBoundingClientRect();
    const box = row.closest('.feed')?.getBoundingClientRect();
    const bar = document.querySelector('header')?.getBoundingClientRect();
    return !!box && !!bar && top >= Math.max(box.top, bar.bottom) && bottom <= Math.min(box.bottom, innerHeight);
  });

test('[U5] stages are bars on one axis, which grows while the run is running', async () => {
  const { page, publish, open } = await openApp();
  const plan = ['Fetch', 'Build', 'Test', 'Ship'].map((name) => ({ stageId: name.toLowerCase(), name }));
  await publish(
    of('run.created', { name: 'Nightly', stages: plan, ...ago(100) }),
    of('run.started', ago(100)),
    of('stage.started', { stageId: 'fetch', ...ago(100) }),
    of('stage.completed', { stageId: 'fetch', ...ago(50) }),
    of('stage.started', { stageId: 'build', ...ago(50) }),
  );
  await open('/runs/demo/r1');
  await rowOf(page, 'Build').getByText('running').waitFor();
  const [fetch, build] = [await barOf(page, 'Fetch'), await barOf(page, 'Build')];
  expect(Math.abs(fetch.x + fetch.width - build.x)).toBeLessThan(3);
  expect(Math.abs(fetch.width - build.width)).toBeLessThan(fetch.width / 5);
  // A second later, an ended stage takes a smaller part of the axis.
  await expect.poll(async () => (await barOf(page, 'Fetch')).width).toBeLessThan(fetch.width);

  const fill = () =>
    rowOf(page, 'Build')
      .locator('.fill')
      .evaluate((bar) => (bar as HTMLElement).style.width);
  expect(await fill()).toBe('0%');
  // No progress was published, so the row shows none: `0 %` would be a claim.
  await expect.poll(() => rowOf(page, 'Build').locator('.note').textContent()).toMatch(/^\d+ s$/);
  // The now-line is above the bars, at their end.
  const isOnTop = () =>
    rowOf(page, 'Build')
      .locator('.track')
      .evaluate((track) => {
        const bar = track.querySelector('.bar-of')?.getBoundingClientRect();
        const line = getComputedStyle(track, '::after');
        return Math.abs(Number.parseFloat(line.left) - ((bar?.right ?? 0) - track.getBoundingClientRect().left)) < 2;
      });
  expect(await isOnTop()).toBe(true);
  await publish(progress(40, 'build'));
  await rowOf(page, 'Build').getByText('40 %').waitFor();
  expect(await fill()).toBe('40%');

  await publish(
    of('stage.failed', { stageId: 'build', error: { message: 'out of memory' }, willRetry: true }),
    of('stage.started', { stageId: 'build', attempt: 2 }),
    of('governance.required', { approvalId: 'a1', title: 'May it ship?', stageId: 'build' }),
  );
  await rowOf(page, 'Build').getByText('attempt 2').waitFor();
  await rowOf(page, 'Build').getByText('Approval May it ship?: waiting').waitFor({ state: 'attached' });
  await publish(
    of('stage.failed', { stageId: 'test', error: { message: '1 of 214 failed' } }),
    of('run.failed', { stageId: 'test', error: { message: 'tests failed' } }),
  );
  await rowOf(page, 'Build').getByText('unfinished').waitFor();
  await rowOf(page, 'Ship').getByText('not run').waitFor();
  await rowOf(page, 'Test').getByText('1 of 214 failed').waitFor();
});

test.each([3, -3])(
  '[U12] with a browser clock that is %s days ahead, running and queued times are right',
  async (days) => {
    const { page, publish, open } = await openApp();
    await page.addInitScript((aheadMs) => {
      const { now } = Date;
      Date.now = () => now() + aheadMs;
    }, days * 86_400_000);
    await publish(
      of('run.created', { name: 'Nightly', ...ago(150) }),
      of('run.started', ago(100)),
      of('stage.started', { stageId: 'build', name: 'Build', ...ago(100) }),
      draft('r2', 'run.created', { name: 'Later', ...ago(100) }),
    );
    await open('/runs/demo/r1');
    await page.getByText('Live', { exact: true }).waitFor();
    const isShort = async (text: () => Promise<string | null>) => expect.poll(text).toMatch(/^[1-5] min \d+ s$/);
    await isShort(() => page.locator('.clock', { hasText: 'Running' }).locator('dd').textContent());
    await isShort(() => rowOf(page, 'Build').locator('.note').textContent());
    await open('/runs/demo/r2');
    await isShort(() => page.locator('.clock', { hasText: 'Queued' }).locator('dd').textContent());
  },
);

test('[U2] [U5] the selected stage and the filter for failed stages are in the address', async () => {
  const { page, publish, open } = await openApp();
  const artifact = {
    artifactId: 'a1',
    name: 'core.dump',
    stageId: 's7',
    sizeBytes: 1_234_567,
    sha256: 'ab'.repeat(32),
  };
  await publish(
    of('run.created', { name: 'Nightly' }),
    ...upTo(20).map((n) => of('stage.started', { stageId: `s${n}`, name: `Stage ${n}.` })),
    of('stage.failed', { stageId: 's7', error: { message: 'out of memory', code: 'OOM' } }),
    of('artifact.created', artifact),
  );
  await open('/runs/demo/r1');
  await page.getByRole('button', { name: 'Failed 1' }).click();
  await rowOf(page, 'Stage 8.').waitFor({ state: 'detached' });
  await page.locator('.stage-row').click();
  const panel = page.getByRole('region', { name: 'Stage 7.' });
  await panel.getByText('out of memory OOM').waitFor();
  await panel.getByText('1.2 MB').waitFor();
  await panel.getByRole('button', { name: 'Close Stage 7.' }).press('Enter');
  await panel.waitFor({ state: 'detached' });
  await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toContain('Stage 7.');
  await page.keyboard.press('Enter');
  await panel.getByText('out of memory OOM').waitFor();
  await page.reload();
  await panel.getByText('out of memory OOM').waitFor();
  await expect.poll(() => page.locator('.stage-row').count()).toBe(1);
  await page.keyboard.press('Escape');
  await panel.waitFor({ state: 'detached' });
  await page.keyboard.press('e');
  await rowOf(page, 'Stage 8.').waitFor();
  await expect.poll(() => new URL(page.url()).search).toBe('');
});

test('[U3] [U5] [U10] of 900 stages, fewer than 100 rows are in the page; a link scrolls to a stage, and keys zoom', async () => {
  const { page, publish, open } = await openApp();
  await publish(
    of('run.created', { name: 'Nightly', ...ago(3_000) }),
    ...upTo(900).map((n) => of('stage.started', { stageId: `s${n}`, name: `Stage ${n}.`, ...ago(3_000 - n) })),
  );
  await open('/runs/demo/r1?stage=s880');
  await page.getByRole('row', { name: 'Stage 880.' }).waitFor();
  expect(await page.locator('.stage-row').count()).toBeLessThan(100);
  const { width } = await barOf(page, 'Stage 880.');
  await page.keyboard.press('+');
  await expect.poll(async () => (await barOf(page, 'Stage 880.')).width / width).toBeCloseTo(2, 1);
  for (let presses = 0; presses < 3; presses++) await page.keyboard.press('+');
  // Zooming keeps the middle of the axis in view, and the names stay at the left.
  const timeline = page.getByRole('region', { name: 'Timeline' });
  await expect.poll(() => timeline.evaluate((box) => box.scrollLeft)).toBeGreaterThan(300);
  const name = () =>
    timeline.evaluate((box) => {
      const cell = box.querySelector('.stage-row.selected .stage-name');
      return (cell?.getBoundingClientRect().left ?? 0) - box.getBoundingClientRect().left;
    });
  expect(Math.abs(await name())).toBeLessThan(3);
  await page.keyboard.press('0');
  await expect.poll(async () => (await barOf(page, 'Stage 880.')).width / width).toBeCloseTo(1, 1);
});

test('[U40] events are beside the timeline in a wide window, below it in another, and in place of it in a narrow one', async () => {
  const { page, publish, open } = await openApp({ viewport: { width: 1440, height: 900 } });
  await publish(
    of('run.created', { name: 'Nightly', ...ago(100) }),
    of('stage.started', { stageId: 's1', name: 'Build', ...ago(90) }),
  );
  await open('/runs/demo/r1');
  const stages = page.getByRole('region', { name: 'Stages' });
  const events = page.getByRole('region', { name: 'Events' });
  const boxOf = async (of: typeof stages) => (await of.boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
  const share = async () => {
    const [left, right] = [await boxOf(stages), await boxOf(events)];
    expect(left.y).toBe(right.y);
    return Math.round((100 * left.width) / (left.width + right.width));
  };
  await stages.waitFor();
  expect(await share()).toBe(58);
  const separator = page.getByRole('separator', { name: 'Width of the timeline' });
  await separator.press('ArrowLeft');
  await expect.poll(() => separator.getAttribute('aria-valuenow')).toBe('56');
  await expect.poll(share).toBe(56);
  for (const [key, bound] of [
    ['End', 75],
    ['Home', 30],
  ] as const) {
    await separator.press(key);
    await expect.poll(share).toBe(bound);
  }
  const { x, y, width } = await boxOf(separator);
  await page.mouse.move(x + width / 2, y + 200);
  await page.mouse.down();
  await page.mouse.move(700, y + 200);
  await page.mouse.up();
  await expect.poll(async () => Math.abs((await boxOf(separator)).x - 700)).toBeLessThan(30);
  const kept = await share();
  await page.reload();
  await expect.poll(share).toBe(kept);

  await page.setViewportSize({ width: 900, height: 900 });
  await separator.waitFor({ state: 'detached' });
  const [above, below] = [await boxOf(stages), await boxOf(events)];
  expect(below.y).toBeGreaterThan(above.y + above.height);

  await page.setViewportSize({ width: 390, height: 844 });
  await events.waitFor({ state: 'detached' });
  await page.getByRole('link', { name: /^Events/ }).click();
  await events.waitFor();
  await stages.waitFor({ state: 'detached' });
});

test('[U5] [U9] a run without stages shows a note in place of the axis', async () => {
  const { page, publish, open } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }));
  await open('/runs/demo/r1');
  const stages = page.getByRole('region', { name: 'Stages' });
  await stages.getByText('No stages yet').waitFor();
  expect(await stages.getByRole('table').count()).toBe(0);
  await publish(of('stage.started', { stageId: 's1' }));
  await rowOf(page, 's1').getByText('running').waitFor();
  await barOf(page, 's1');
});

test('[U5] the end of the axis cuts no tick text', async () => {
  const { page, publish, open } = await openApp();
  await publish(of('run.created', { name: 'Nightly', ...ago(3_000) }), of('stage.started', { stageId: 's1' }));
  await open('/runs/demo/r1');
  await barOf(page, 's1');
  for (let width = 700; width < 820; width += 17) {
    await page.setViewportSize({ width, height: 800 });
    const cut = () =>
      page.locator('.ticks').evaluate((axis) => {
        const { right } = axis.getBoundingClientRect();
        const marks = [...axis.querySelectorAll('span:not(.unseen)')];
        return marks.length > 1 ? marks.filter((mark) => mark.getBoundingClientRect().right > right).length : 'none';
      });
    await expect.poll(cut).toBe(0);
  }
});

test('[U2] [U9] an unknown stage in the address is ignored, and the page states it', async () => {
  const { page, publish, open } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }), of('stage.started', { stageId: 's1' }));
  await open('/runs/demo/r1?stage=s2');
  await page.getByText('There is no stage “s2” in this run').waitFor();
  await page.getByRole('link', { name: 'Clear' }).click();
  await page.getByText('There is no stage').waitFor({ state: 'detached' });
  await expect.poll(() => new URL(page.url()).search).toBe('');
});

test('[U6] the feed follows the latest event until the user scrolls up, and again after a click', async () => {
  const { page, publish, open } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }), ...upTo(299).map((n) => progress(n / 3)));
  await open('/runs/demo/r1?all=1');
  await page.locator('.event[aria-posinset="300"] .what').waitFor();
  await expect.poll(() => isAtEnd(page)).toBe(true);
  await publish(progress(100), progress(100));
  await page.locator('.event[aria-posinset="302"] .what').waitFor();
  await expect.poll(() => isAtEnd(page)).toBe(true);

  await page.getByRole('log').hover();
  await page.mouse.wheel(0, -1_500);
  await page.getByRole('button', { name: 'Jump to latest' }).waitFor();
  const place = () => page.getByRole('log').evaluate((box) => box.scrollTop);
  await expect.poll(async () => (await eventsShown(page)).at(-1)).toBeLessThan(302);
  const before = await place();
  await publish(...upTo(40).map(() => progress(100)));
  await page.getByRole('button', { name: '40 new events' }).waitFor();
  expect(await place()).toBe(before);
  const button = await page.getByRole('button', { name: '40 new events' }).boundingBox();
  const list = await page.getByRole('log').boundingBox();
  expect((button?.y ?? 0) + (button?.height ?? 0)).toBeLessThanOrEqual(list?.y ?? 0);

  await page.getByRole('button', { name: '40 new events' }).click();
  await page.locator('.event[aria-posinset="342"] .what').waitFor();
  await publish(progress(100));
  await page.locator('.event[aria-posinset="343"] .what').waitFor();
  await expect.poll(() => isAtEnd(page)).toBe(true);
});

test('[U6] a focused event stays in the page while many events arrive', async () => {
  const { page, publish, open, server } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }), ...upTo(299).map((n) => progress(n / 3)));
  await open('/runs/demo/r1?all=1');
  await page.locator('.event[aria-posinset="300"] .what').waitFor();
  await page.locator('.event[aria-posinset="299"] button').focus();
  for (const n of upTo(20)) await publish(...upTo(10).map(() => progress(n)));
  await completeUpTo(page, server.log.head);
  const focused = () => page.evaluate(() => document.activeElement?.closest('.event')?.getAttribute('aria-posinset'));
  await expect.poll(() => focused()).toBe('299');

  // The button disappears, and the focus moves to the list, which is at its end.
  await page.getByRole('button', { name: '200 new events' }).click();
  await page.getByRole('button', { name: /new|latest/ }).waitFor({ state: 'detached' });
  await expect.poll(() => isAtEnd(page)).toBe(true);
  expect(await page.getByRole('log').evaluate((box) => box === document.activeElement)).toBe(true);
});

test('[U6] a row keeps its element while the list scrolls, so that a press on it ends as a click', async () => {
  const { page, publish, open } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }), ...upTo(299).map((n) => progress(n / 3)));
  await open('/runs/demo/r1?all=1&event=200');
  await page.locator('.event.marked .what').waitFor();
  const row = await page.locator('.event[aria-posinset="206"]').elementHandle();
  await page.getByRole('button', { name: 'JSON', exact: true }).click();
  const first = async () => Math.min(...(await eventsShown(page)));
  const before = await first();
  await page.getByRole('log').evaluate((box) => box.scrollBy(0, 120));
  await expect.poll(first).toBeGreaterThan(before);
  expect(await row?.evaluate((element) => element.isConnected)).toBe(true);
  await expect.poll(() => page.locator('.details pre').count()).toBe(1);
});

test('[U6] the JSON of an opened event follows its row, also in the order of the document', async () => {
  const { page, publish, open } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }), ...upTo(9).map((n) => progress(n)));
  await open('/runs/demo/r1?all=1');
  await page.locator('.event[aria-posinset="3"] button').click();
  const order = await page
    .getByRole('log')
    .locator('li')
    .evaluateAll((all) => all.map((one) => one.getAttribute('aria-posinset')));
  expect(order.slice(0, 5)).toEqual(['1', '2', '3', null, '4']);
});

test('[U2] [U3] [U6] a link leads to any event of a long run, which opens as JSON equal to the log', async () => {
  const { page, publish, open, server } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }));
  for (let round = 0; round < 5; round++) await publish(...upTo(1_000).map((n) => progress(n / 10)));
  await open('/runs/demo/r1?event=2500');
  const marked = page.locator('.event.marked');
  await marked.getByText('49.9 %').waitFor();
  expect(await page.locator('.event').count()).toBeLessThan(100);
  await expect.poll(() => marked.getAttribute('aria-posinset')).toBe('2500');
  await expect.poll(() => isInView(page)).toBe(true);
  await page.getByRole('button', { name: 'JSON', exact: true }).click();
  const { events } = await server.router
    .createCaller({ principal: { sub: 'ada', projects: ['*'], roles: ['viewer'] } })
    .run.history({ runId: 'r1', fromRunSeq: 2_500, limit: 1 });
  expect(JSON.parse((await page.locator('.details pre').textContent()) ?? '')).toEqual(events[0]);

  // Scrolling to a position fetches its events.
  await page.getByRole('log').evaluate((box) => box.scrollTo(0, 0));
  await page.locator('.event[aria-posinset="1"] .what').getByText('Nightly').waitFor();
  await page.locator('.event[aria-posinset="7"] .seq').click();
  await expect.poll(() => new URL(page.url()).searchParams.get('event')).toBe('7');
  await page.getByRole('link', { name: 's1' }).last().click();
  await expect.poll(() => new URL(page.url()).search).toBe('?event=7&stage=s1');
  // The snapshot, the events and the stages share one subscription. The count of approvals has another.
  expect(server.getStats()).toMatchObject({ connections: 1, subscriptions: 2 });
});

test('[U2] [U6] a link to an event scrolls to it, or the page states that the run has no such event', async () => {
  // In a window of this width the events are below the timeline.
  const { page, publish, open } = await openApp({ viewport: { width: 1100, height: 640 } });
  await publish(
    draft('other', 'run.created', { name: 'Other' }),
    of('run.created', { name: 'Nightly' }),
    ...upTo(100).map((n) => of('stage.started', { stageId: `s${n}`, name: `Stage ${n}.` })),
    ...upTo(60).map((n) => of('artifact.created', { artifactId: `a${n}`, name: `Artifact ${n}.` })),
  );
  await open('/runs/demo/r1?event=50');
  const marked = page.locator('.event.marked');
  await marked.getByText('Stage 49.').waitFor();
  await expect.poll(() => isInView(page)).toBe(true);
  await page.getByText('Event 50 of the run, seq 51 of the log').waitFor();

  // A link to a visible event does not scroll.
  const before = await page.evaluate(() => window.scrollY);
  expect(before).toBeGreaterThan(0);
  await page.locator('.event[aria-posinset="51"] .seq').click();
  await page.locator('.event.marked[aria-posinset="51"]').waitFor();
  expect(await page.evaluate(() => window.scrollY)).toBe(before);

  for (const [requested, note] of [
    ['99999', 'There is no event 99,999 in this run'],
    ['x1', 'There is no event “x1” in this run'],
  ] as const) {
    await open(`/runs/demo/r1?event=${requested}`);
    const missing = page.getByText(note);
    await missing.waitFor();
    await expect.poll(() => missing.evaluate((one) => one.getBoundingClientRect().bottom < innerHeight)).toBe(true);
    expect(await marked.count()).toBe(0);
    await expect.poll(() => isAtEnd(page)).toBe(true);
  }
  await page.getByRole('link', { name: 'Jump to latest' }).click();
  await page.getByText('There is no event').waitFor({ state: 'detached' });
  await expect.poll(() => new URL(page.url()).search).toBe('');
});

test('[U6] events that retention has removed are marked', async () => {
  const { page, publish, open, server } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }), ...upTo(29).map((n) => progress(n)));
  await server.log.trim(Date.now() + 60_000); // Trimming never removes the newest event.
  await publish(progress(50));
  await open('/runs/demo/r1');
  await page.locator('.event[aria-posinset="30"] .what').waitFor();
  await page.getByText('Events 1–29: Removed by retention').waitFor();
});

test('[U4] the page shows the time in the queue, the reason and the approvers of a wait, and the reason of a failure', async () => {
  const { page, publish, open } = await openApp();
  await publish(
    of('run.created', {
      name: 'Nightly',
      parentRunId: 'season',
      createdBy: 'grace',
      labels: { team: 'ops' },
      ...ago(90),
    }),
    of('run.started', ago(60)),
    of('stage.started', { stageId: 's1', name: 'Release' }),
    of('governance.required', {
      approvalId: 'a1',
      title: 'Release it',
      reason: 'Two checks are missing.',
      approvers: ['ada', 'lin'],
      requiredApprovals: 2,
      authority: 'producer',
      stageId: 's1',
    }),
    of('approval.granted', { approvalId: 'a1', decidedBy: 'lin' }),
  );
  await open('/runs/demo/r1');
  const summary = page.getByRole('region', { name: 'Summary' });
  const fact = (name: string) => summary.locator('dl > div').filter({ hasText: name }).locator('dd');
  await expect.poll(() => fact('Queued').textContent()).toBe('30 s');
  await expect.poll(() => fact('Running').textContent()).toMatch(/^1 min \d\d s$/);
  await expect.poll(() => page.getByRole('link', { name: 'season' }).getAttribute('href')).toBe('/runs/demo/season');
  const waiting = page.getByRole('region', { name: 'Release it' });
  for (const text of ['Waiting for approval', 'Two checks are missing.', 'ada, lin', '1 of 2', 'Release']) {
    await waiting.getByText(text).first().waitFor();
  }
  await publish(of('run.failed', { stageId: 's1', error: { message: 'nobody came', code: 'E_TIME' } }));
  await page.getByRole('region', { name: 'Failed in Release E_TIME' }).getByText('nobody came').waitFor();
  await waiting.getByText(/The run ended first \(failed/).waitFor();
  expect(await waiting.getByText('Waiting for approval').count()).toBe(0);
});

test('[U4] each approval shows its decisions with user and comment, its evidence, and its expiry', async () => {
  const { page, publish, open } = await openApp();
  const asks = (approvalId: string, more: object = {}) =>
    of('governance.required', { approvalId, title: `May it ${approvalId}?`, authority: 'producer', ...more });
  await publish(
    of('run.created', { name: 'Nightly' }),
    of('artifact.created', { artifactId: 'a1', name: 'Report', uri: 'https://example.org/report' }),
    of('artifact.created', { artifactId: 'a2', name: 'Trap', uri: 'javascript:alert(1)' }),
    asks('build', { evidence: ['a1', 'a2', 'a3'] }),
    asks('test'),
    asks('ship'),
    of('approval.granted', { approvalId: 'build', decidedBy: 'lin', comment: 'Checked twice.' }),
    of('approval.denied', { approvalId: 'test', decidedBy: 'grace', reason: 'Too early.' }),
  );
  await open('/runs/demo/r1');
  const approvals = page.locator('#approval');
  const line = (name: string) => approvals.locator('summary').filter({ hasText: name });
  await line('May it build?')
    .getByText(/Approved by lin,.*\(1 of 1\)/)
    .waitFor();
  // The last denial is in the banner, until a stage goes on.
  const banner = page.getByRole('region', { name: 'Outcome of the last approval' });
  await banner.getByText(/Denied by grace,.*Too early\./).waitFor();
  await banner.getByRole('heading', { name: 'May it test?' }).waitFor();
  await line('May it build?').click();
  const built = page.getByRole('region', { name: 'May it build?' });
  await built.getByText('Checked twice.').waitFor();
  const evidence = built.locator('.evidence-list');
  await evidence.getByText('a3 not published yet').waitFor();
  await expect.poll(() => evidence.getByRole('link').allTextContents()).toEqual(['example.org ↗']);
  const ship = page.getByRole('region', { name: 'May it ship?' });
  await ship.getByText('Waiting for approval').waitFor();
  await publish(
    of('approval.denied', { approvalId: 'ship', decidedBy: 'system', reason: 'expired', expired: true }),
    of('run.completed'),
  );
  await ship.getByText(/The run ended first/).waitFor();
  await line('May it build?')
    .getByText(/Approved by lin/)
    .waitFor();
});

test('[U8] text of a producer is never markup, and no link runs a script', async () => {
  const { page, publish, open } = await openApp();
  const evil = '<img src=x onerror="document.title=1"><b>bold</b>';
  const uris = [
    'javascript:alert(1)',
    ' JavaScript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    's3://bucket/x',
  ];
  await publish(
    of('run.created', { name: evil, createdBy: evil, labels: { [evil]: evil }, parentRunId: 'x"><b>' }),
    of('stage.started', { stageId: 's1', name: evil }),
    of('stage.progress', { stageId: 's1', message: evil }),
    of('governance.required', { approvalId: 'a1', title: evil, reason: evil }),
    of('artifact.created', { artifactId: 'ok', name: 'fine', uri: 'https://example.org/x' }),
    ...uris.map((uri, index) => of('artifact.created', { artifactId: `a${index}`, name: `trap ${index}`, uri })),
    of('stage.failed', { stageId: 's1', error: { message: evil, code: evil } }),
    of('run.failed', { stageId: 's1', error: { message: evil } }),
  );
  await open('/runs/demo/r1?stage=s1');
  await page.getByRole('heading', { level: 1, name: evil }).waitFor();
  await page.locator('.event').filter({ hasText: 'stage failed' }).waitFor();
  expect(await page.locator('main img, main b, main script').count()).toBe(0);
  await page.getByRole('tab', { name: /^Artifacts/ }).click();
  await page.getByRole('row').filter({ hasText: 'trap 3' }).waitFor();
  expect(await page.locator('main img, main b, main script').count()).toBe(0);
  const protocols = await page
    .locator('main a')
    .evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).protocol));
  expect(protocols.filter((protocol) => protocol !== 'http:' && protocol !== 'https:')).toEqual([]);
  await expect.poll(() => page.getByRole('link', { name: 'fine' }).getAttribute('href')).toBe('https://example.org/x');
});

test('[U9] the copy button states a failure', async () => {
  const { page, publish, open } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }));
  await open('/runs/demo/r1');
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
  });
  await page.getByRole('button', { name: 'Copy the run id' }).click();
  await page.getByRole('button', { name: 'Copy failed' }).waitFor();
});

test('[U9] a run of an unreadable project looks like an unknown run', async () => {
  const token = await tokenFor({ projects: ['trials'], roles: ['viewer'] });
  const { page, publish, open } = await openApp({ token, expectedErrors: /status of 404/ });
  await publish(of('run.created', { name: 'Nightly' }));
  for (const path of ['/runs/demo/r1', '/runs/demo/nowhere', '/runs/trials/r1']) {
    await open(path);
    await page.getByText(path.includes('demo') ? 'You cannot see project “demo”' : 'has not started').waitFor();
    expect(await page.getByText('Nightly').count()).toBe(0);
  }
});

test('[U2] ids with any characters have an address', async () => {
  const { page, publish, server, open } = await openApp();
  await open('/');
  const [projectId, runId] = ['a/b', 'r?x=1#%2F&é'.replace('é', '+')];
  await publish(draft(runId, 'run.created', { projectId, name: 'Odd' }));
  await page.getByRole('link', { name: 'Odd' }).click();
  await page.getByRole('heading', { level: 1, name: 'Odd' }).waitFor();
  await page.goto(`${server.url}/runs/${encodeURIComponent(projectId)}/${encodeURIComponent(runId)}?event=1`);
  await page.locator('.event.marked').waitFor();
});

test('[U94] an open event shows the run as of it, and Back is live again', async () => {
  const { page, publish, open } = await openApp();
  await publish(of('run.created', { name: 'Nightly' }), of('run.started'), progress(10), progress(20));
  await open('/runs/demo/r1?event=2');
  await page.getByRole('button', { name: 'See the run at this event' }).click();
  await page.getByText('event 2 of 4').first().waitFor();
  await expect.poll(() => new URL(page.url()).searchParams.get('at')).toBe('2');
  await page.goBack();
  await page.getByText('Live', { exact: true }).waitFor();
});

test.each([
  ['run.completed', {}, 'Run completed'],
  ['run.failed', { error: { message: 'no disk' } }, 'Run failed: no disk'],
] as const)(
  '[U94] the page of a run announces %s, and not the end that it was opened after',
  async (type, fields, text) => {
    const { page, publish, open } = await openApp();
    await publish(of('run.created', { name: 'Nightly' }), of('run.started'));
    await open('/runs/demo/r1');
    await completeUpTo(page, 2);
    await publish(of(type, fields));
    const polite = page.locator('[data-live="polite"]');
    await polite.filter({ hasText: text }).waitFor({ state: 'attached' });
    await page.reload();
    await completeUpTo(page, 3);
    await expect.poll(() => polite.textContent()).toBe('');
  },
);
