import { expect, test } from 'vitest';
import { draft, openApp, withBrowser } from './page-harness.ts';

/** The events of a run in a real Chromium: filters, folding, times, links, keyboard; and the other tabs of the run. */

withBrowser();

type Type = Parameters<typeof draft>[1];
const of = (type: Type, fields: object = {}) => draft('r1', type, fields);
const progress = (stageId: string, value: number, more: object = {}) =>
  of('stage.progress', { stageId, progress: value, ...more });
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const failed = (stageId: string, message: string, more: object = {}) =>
  of('stage.failed', { stageId, error: { message }, ...more });

type App = Awaited<ReturnType<typeof openApp>>;
/** The first column of the rows that are in the page: the number of the event. */
const shown = ({ page }: App) =>
  page.locator('.event').evaluateAll((all) => all.map((one) => Number(one.getAttribute('aria-posinset'))));
const count = ({ page }: App) => page.locator('.shown-count').textContent();
const search = ({ page }: App) => new URL(page.url()).searchParams;

/** Two stages: `a` fails once, `b` completes. Events 1–10. */
const story = [
  of('run.created', { name: 'Nightly' }),
  of('run.started'),
  of('stage.started', { stageId: 'a', name: 'Align reads' }),
  of('stage.started', { stageId: 'b', name: 'Build' }),
  failed('a', 'CUDA out of memory', { willRetry: true }),
  of('stage.started', { stageId: 'a', attempt: 2 }),
  of('stage.completed', { stageId: 'b' }),
  of('governance.required', { approvalId: 'x', title: 'Release it?', authority: 'producer' }),
  of('approval.granted', { approvalId: 'x', decidedBy: 'lin', comment: 'memory is fine' }),
  of('stage.completed', { stageId: 'a', attempt: 2 }),
];

test('[U50] filters by text, type, stage and attempt are in the address, survive a reload, and count what matches', async () => {
  const app = await openApp();
  const { page, publish, open } = app;
  await publish(...story);
  await open('/runs/demo/r1');
  await expect.poll(() => shown(app)).toEqual(upTo(10));
  await expect.poll(() => count(app)).toBe('10 of 10');

  await page.getByRole('searchbox', { name: 'Filter events by text' }).fill('memory');
  await expect.poll(() => shown(app)).toEqual([5, 9]);
  await expect.poll(() => count(app)).toBe('2 of 10');
  await expect.poll(() => search(app).get('q')).toBe('memory');
  await page.reload();
  await expect.poll(() => shown(app)).toEqual([5, 9]);
  await page.getByRole('button', { name: 'Clear all filters' }).click();
  await expect.poll(() => shown(app)).toEqual(upTo(10));

  await page.getByRole('button', { name: 'Type ▾' }).click();
  await page.getByRole('checkbox', { name: 'stage started 3' }).check();
  await expect.poll(() => shown(app)).toEqual([3, 4, 6]);
  await page.getByRole('checkbox', { name: 'stage failed 1' }).check();
  await expect.poll(() => shown(app)).toEqual([3, 4, 5, 6]);
  await expect.poll(() => search(app).get('types')).toBe('stage.started,stage.failed');
  await page.keyboard.press('Escape');

  await open('/runs/demo/r1?stage=a&attempt=2');
  await expect.poll(() => shown(app)).toEqual([6, 10]);
  await page.getByRole('button', { name: 'Remove Attempt 2' }).click();
  await expect.poll(() => shown(app)).toEqual([3, 5, 6, 10]);
  await page.getByRole('button', { name: 'Remove Stage: Align reads' }).click();
  await expect.poll(() => shown(app)).toEqual(upTo(10));
  await expect.poll(() => search(app).has('stage')).toBe(false);

  await page.getByRole('button', { name: 'Failed and decisions only' }).click();
  await expect.poll(() => shown(app)).toEqual([5, 9]);
  await page.getByRole('button', { name: 'Failed and decisions only' }).click();
  await page.getByRole('button', { name: 'Stage ▾' }).click();
  await page.getByRole('button', { name: 'Build 2' }).click();
  await expect.poll(() => shown(app)).toEqual([4, 7]);
});

test('[U50] counts by type and the filtered list grow while events arrive', async () => {
  const app = await openApp();
  const { page, publish, open } = app;
  await publish(...story);
  await open('/runs/demo/r1?types=stage.failed');
  await expect.poll(() => shown(app)).toEqual([5]);
  await page.getByRole('button', { name: 'Type: stage failed ▾' }).click();
  await page.getByRole('checkbox', { name: 'stage failed 1' }).waitFor();
  await publish(of('stage.started', { stageId: 'c' }), failed('c', 'no disk'), failed('d', 'no disk'));
  await page.getByRole('checkbox', { name: 'stage failed 3' }).waitFor();
  await expect.poll(() => shown(app)).toEqual([5, 12, 13]);
  await expect.poll(() => count(app)).toBe('3 of 13');
});

test('[U50] a filter without a match states it and can be cleared, and a type that the server does not know is an error', async () => {
  const app = await openApp({ expectedErrors: /400/ });
  const { page, publish, open } = app;
  await publish(...story);
  await open('/runs/demo/r1?q=nowhere');
  await page.getByText('No events match.').waitFor();
  await page.getByRole('link', { name: 'Clear all filters' }).click();
  await expect.poll(() => shown(app)).toEqual(upTo(10));
  await open('/runs/demo/r1?types=none.such');
  await page.getByRole('alert').getByText('The events could not be listed').waitFor();
});

test('[U51] a filter looks through a run of 30,000 events, and the page holds the rows near the viewport', async () => {
  const app = await openApp();
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }));
  for (let part = 0; part < 30; part++) {
    await publish(...upTo(999).map((n) => progress(n % 2 ? 'a' : 'b', n / 10)), failed('a', `round ${part}`));
  }
  await open('/runs/demo/r1?types=stage.failed');
  await expect.poll(() => count(app)).toBe('30 of 30,001');
  expect((await shown(app)).at(-1)).toBe(30_001);
  await open('/runs/demo/r1');
  await page.locator('.event[aria-posinset="30001"] .what').waitFor();
  expect(await page.locator('.event').count()).toBeLessThan(100);
  await page.getByRole('log').evaluate((box) => box.scrollTo(0, 0));
  await expect
    .poll(async () => {
      await page.getByRole('log').evaluate((box) => box.scrollTo(0, 0));
      return page.locator('.event[aria-posinset="1"]').count();
    })
    .toBe(1);
  await page.locator('.event[aria-posinset="1"]').getByText('Nightly').waitFor();
});

test('[U52] times have milliseconds and a zone, days have rows, and an event that happened earlier is marked', async () => {
  const app = await openApp({ timezoneId: 'Europe/Berlin' });
  const { page, publish, open } = app;
  const at = (timestamp: string) => ({ timestamp });
  await publish(
    of('run.created', { name: 'Nightly', ...at('2026-11-25T21:30:00.120Z') }),
    of('run.started', at('2026-11-25T22:59:59.999Z')),
    of('stage.started', { stageId: 'a', ...at('2026-11-25T23:00:00.001Z') }),
    of('stage.completed', { stageId: 'a', ...at('2026-11-25T23:00:00.000Z') }),
  );
  await open('/runs/demo/r1');
  await page.getByText('UTC+1', { exact: true }).waitFor();
  const times = ['22:30:00.120', '23:59:59.999', '00:00:00.001', '00:00:00.000'];
  await expect.poll(() => page.locator('.event time').allTextContents()).toEqual(times);
  const list = page.getByRole('log').locator('li');
  await expect.poll(() => list.nth(2).textContent()).toMatch(/^Thu 26 Nov/);
  await expect.poll(() => page.getByRole('img', { name: 'Happened earlier' }).count()).toBe(1);
  await expect.poll(() => page.locator('.event[aria-posinset="4"]').getByRole('img').count()).toBe(1);
  await page.getByRole('button', { name: 'Relative times' }).click();
  await page.locator('.event[aria-posinset="3"]').getByText('+0.0 s').waitFor();
  await expect.poll(() => search(app).get('relative')).toBe('1');
});

test('[U53] five progress events of a stage in a row are one row, which opens in place; All events shows each', async () => {
  const app = await openApp();
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), ...upTo(4).map((n) => progress('a', n)));
  await publish(failed('a', 'once', { willRetry: true }), ...upTo(100).map((n) => progress('a', 30 + n / 4)));
  await open('/runs/demo/r1');
  await page.getByText('100 progress events · 30.2 % → 55 %').waitFor();
  await expect.poll(() => shown(app)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  await publish(progress('a', 61.1));
  await page.getByText('101 progress events · 30.2 % → 61.1 %').waitFor();
  await page.locator('.event.folded button').click();
  await page.locator('.event:not(.folded)[aria-posinset="8"]').getByText('30.5 %').waitFor();
  await page.locator('.event.folded button').click();
  await page.locator('.event[aria-posinset="8"]').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'All events' }).click();
  await page.locator('.event:not(.folded)[aria-posinset="107"]').waitFor();
  expect(await page.locator('.folded').count()).toBe(0);
  // A link to a folded event opens its row.
  await open('/runs/demo/r1?event=50');
  await page.locator('.event.marked[aria-posinset="50"]').getByText('41 %').waitFor();
});

test('[U54] a link to an event that the filter hides says so, and shows it', async () => {
  const app = await openApp();
  const { page, publish, open } = app;
  await publish(...story);
  await open('/runs/demo/r1?event=3&types=stage.failed');
  await page.getByText('Hidden by filter:').waitFor();
  await expect.poll(() => shown(app)).toEqual([5]);
  await page.getByRole('button', { name: 'show', exact: true }).click();
  await page.locator('.event.marked[aria-posinset="3"]').waitFor();
  await expect.poll(() => page.url()).toMatch(/\?event=3$/);
});

test('[U55] the list is one tab stop; arrows move, Enter opens fields and JSON, and l copies the link', async () => {
  const app = await openApp();
  const { page, publish, open, server } = app;
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await publish(...story);
  await open('/runs/demo/r1');
  await expect.poll(() => shown(app)).toEqual(upTo(10));
  await expect.poll(() => page.locator('.feed [tabindex="0"]').count()).toBe(1);
  await page.locator('.feed [tabindex="0"]').focus();
  await page.keyboard.press('Home');
  for (const _ of upTo(4)) await page.keyboard.press('ArrowDown');
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-posinset'));
  await expect.poll(() => focused()).toBe('5');
  await page.keyboard.press('Enter');
  await page.locator('.details').getByRole('row', { name: 'stageId a' }).waitFor();
  await page.getByRole('button', { name: 'JSON', exact: true }).click();
  await page.locator('.details pre').getByText('"CUDA out of memory"').waitFor();
  await page.locator('.event[aria-posinset="5"]').focus();
  await page.keyboard.press('l');
  await page.getByText('Link to event 5 copied').first().waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toBe(`${server.url}/runs/demo/r1?event=5`);
});

test('[U56] the tabs are in the address; artifacts have size, hash and a link to http alone', async () => {
  const app = await openApp();
  const { page, publish, open } = app;
  const artifact = { sizeBytes: 1_200_000, sha256: 'ab'.repeat(32) };
  await publish(
    of('run.created', { name: 'Nightly' }),
    of('artifact.created', { artifactId: 'a1', name: 'Report', uri: 'https://files.example.org/r', ...artifact }),
    of('artifact.created', { artifactId: 'a2', name: 'Trap', uri: 'javascript:alert(1)' }),
  );
  await open('/runs/demo/r1');
  await page.getByRole('tab', { name: 'Artifacts 2' }).click();
  const row = page.getByRole('row').filter({ hasText: 'Report' });
  await row.getByText('1.2 MB').waitFor();
  await row.getByText('files.example.org').waitFor();
  await expect.poll(() => page.getByRole('table').getByRole('link').count()).toBe(1);
  await expect.poll(() => search(app).get('tab')).toBe('artifacts');
  await page.reload();
  await row.waitFor();
  expect(await page.getByRole('tab', { name: 'Output' }).count()).toBe(0);
});

test('[U57] the audit tab shows the state of the record, erasures, decisions, publishers, and accesses page by page', async () => {
  const app = await openApp();
  const { page, publish, open, server } = app;
  await publish(...story, progress('a', 5, { message: 'a slip of the pen' }));
  const admin = server.router.createCaller({ principal: { sub: 'eve', projects: ['*'], roles: ['admin'] } });
  await admin.audit.erase({ seq: 11, reason: 'asked for' });
  await open('/runs/demo/r1?tab=audit');
  await page.getByText('Not verified since the server started.').waitFor();
  await page.getByRole('button', { name: 'Verify this run' }).click();
  await page.getByText('Record intact').waitFor();
  await page.getByRole('button', { name: 'Copy the head hash' }).waitFor();
  await page.getByRole('row').filter({ hasText: 'asked for' }).getByText('eve').waitFor();
  await page.getByRole('row').filter({ hasText: 'approved “Release it?”' }).getByText('lin').first().waitFor();
  await page.getByRole('row').filter({ hasText: 'published 11 events' }).waitFor();
  const seen = page.getByRole('table', { name: 'Accesses, newest first' });
  await expect
    .poll(async () => {
      await page.getByRole('button', { name: 'Reload' }).click();
      return seen.getByText('run.get').count();
    })
    .toBeGreaterThan(0);
  await page.getByRole('searchbox', { name: 'Who' }).fill('eve');
  await page.getByRole('button', { name: 'Filter', exact: true }).click();
  await expect.poll(() => seen.getByText('run.get').count()).toBe(0);
});

test('[U57] without the role admin, nothing can be verified, and the record of access is for administrators', async () => {
  const { tokenFor } = await import('../support/harness.ts');
  const app = await openApp({ token: await tokenFor({ sub: 'vera', projects: ['demo'], roles: ['viewer'] }) });
  const { page, publish, open } = app;
  await publish(...story);
  await open('/runs/demo/r1?tab=audit');
  await page.getByText('The record of access is for administrators.').waitFor();
  await page.getByText('Not verified since the server started.').waitFor();
  expect(await page.getByRole('button', { name: 'Verify this run' }).count()).toBe(0);
});

test('[U58] exports have all events or those of the filter, and Share copies link, id and Markdown', async () => {
  const app = await openApp();
  const { page, publish, open, server } = app;
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await publish(...story, of('run.failed', { error: { message: 'no [memory]' }, durationMs: 264_000 }));
  await open('/runs/demo/r1?types=stage.failed&q=memory');
  await expect.poll(() => shown(app)).toEqual([5]);
  const linesOf = async (name: string) => {
    await page.getByRole('button', { name: 'Export ▾' }).click();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name }).click()]);
    const stream = await download.createReadStream();
    let text = '';
    for await (const part of stream) text += part;
    return text.trim().split('\n');
  };
  expect(await linesOf('All events (NDJSON)')).toHaveLength(11);
  expect((await linesOf('Events as filtered (NDJSON)')).map((line) => JSON.parse(line).runSeq)).toEqual([5]);
  expect(await linesOf('Events as filtered (CSV)')).toHaveLength(2);
  expect(JSON.parse((await linesOf('Run as JSON')).join('\n'))).toMatchObject({ runId: 'r1', status: 'failed' });
  expect((await linesOf('Timeline as PNG'))[0]).toContain('PNG');
  const copied = async (menu: string, name: string) => {
    await page.getByRole('button', { name: menu }).click();
    await page.getByRole('menuitem', { name }).click();
    return page.evaluate(() => navigator.clipboard.readText());
  };
  expect(await copied('Share ▾', 'Copy run id')).toBe('r1');
  await expect
    .poll(() => copied('Share ▾', 'Copy link, as seen'))
    .toBe(`${server.url}/runs/demo/r1?types=stage.failed&q=memory`);
  await expect
    .poll(() => copied('Share ▾', 'Copy as Markdown'))
    .toBe(`[Nightly](${server.url}/runs/demo/r1) failed after 4 min 24 s: no \\[memory\\]`);
  await expect
    .poll(() => copied('Export ▾', 'Copy as curl command'))
    .toContain('curl -H "Authorization: Bearer $TOKEN"');
});
