import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import type { RunEventDraft } from '../../shared/events.ts';
import { tokenFor } from '../support/harness.ts';
import { draft, openApp, openTab, signIn, withBrowser } from './page-harness.ts';

/** The page Search. */

withBrowser();

const failed = (runId: string, message: string, more: object = {}) =>
  draft(runId, 'stage.failed', { stageId: 'train', error: { message }, ...more });
const results = (page: Awaited<ReturnType<typeof openTab>>) => page.locator('.result');

async function openSearch() {
  const app = await openApp();
  const by = (actor: string, ...events: RunEventDraft[]) => app.server.bus.publish(events, { actor });
  await by(
    'ci-bot',
    draft('r1', 'run.created', { name: 'Train risk model', projectId: 'ml' }),
    failed('r1', 'CUDA out of memory: tried to allocate 2.50 GiB', { projectId: 'ml' }),
    draft('r1', 'run.failed', { error: { message: 'stage train failed: out of memory' }, projectId: 'ml' }),
    draft('r2', 'run.created', { name: 'Nightly', labels: { kind: 'memory-test' } }),
  );
  await by('ann', failed('r2', 'disk full'));
  return { ...app, by };
}

test('[U67] a search finds events, marks the hits, and counts them by type, project and publisher', async () => {
  const { page, open } = await openSearch();
  await open('/search');
  await page.getByRole('searchbox').fill('memory');
  await page.getByText('3 found').waitFor();
  await expect.poll(() => new URL(page.url()).searchParams.get('q')).toBe('memory');
  const row = results(page).filter({ hasText: 'CUDA' });
  await expect.poll(() => row.locator('mark').allTextContents()).toEqual(['memory']);
  await row.getByText('ml / Train risk model').waitFor();
  await expect.poll(async () => (await row.boundingBox())?.height).toBe(56);
  // The hit is in a label, which the sentence does not have.
  await results(page).filter({ hasText: 'kind: memory-test' }).waitFor();
  const facet = (title: string) => page.getByRole('region', { name: title });
  await expect
    .poll(() => facet('Type').locator('label').allTextContents())
    .toEqual(['run created1', 'run failed1', 'stage failed1']);
  await expect.poll(() => facet('Project').locator('label').allTextContents()).toEqual(['ml2', 'demo1']);
  await expect.poll(() => facet('Who').locator('label').allTextContents()).toEqual(['ci-bot3']);

  // Several values of a facet are alternatives, and the facet goes on counting the others.
  await facet('Type').getByText('stage failed').click();
  await page.getByText('1 found').waitFor();
  await expect
    .poll(() => facet('Type').locator('label').allTextContents())
    .toEqual(['run created1', 'run failed1', 'stage failed1']);
  await facet('Type').getByText('run created').click();
  await page.getByText('2 found').waitFor();
  await facet('Project').getByText('demo').click();
  await page.getByText('1 found').waitFor();
  await page.reload();
  await page.getByText('1 found').waitFor();
  await expect.poll(() => facet('Type').getByRole('checkbox', { checked: true }).count()).toBe(2);
  // A chosen value without an event stays.
  await page.getByRole('searchbox').fill('"out of memory"');
  await page.getByText('0 found').waitFor();
  await facet('Project').getByRole('checkbox', { name: 'demo', checked: true }).click();
  await page.getByText('1 found').waitFor();
  await page.getByText('That is everything since').waitFor();
});

test('[U68] typed operators set the facets', async () => {
  const { page, open } = await openSearch();
  await open('/search');
  const field = page.getByRole('searchbox');
  await field.fill('memory type:stage.failed project:ml who:ci-bot');
  await field.press('Enter');
  await page.getByText('1 found').waitFor();
  await expect.poll(() => field.inputValue()).toBe('memory ');
  await expect.poll(() => new URL(page.url()).search).toBe('?q=memory+&type=stage.failed&project=ml&actor=ci-bot');
});

test('[U69] a result opens the run at its event, and Back returns to the same row; t shows the run as it was', async () => {
  const { page, open, server } = await openSearch();
  await server.bus.publish(
    Array.from({ length: 80 }, (_, index) => failed('r2', `lost packet ${index}`)),
    { actor: 'ci-bot' },
  );
  await open('/search?q=packet');
  await page.getByText('80 found').waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-row'));
  for (let step = 0; step < 45; step++) await page.keyboard.press('j');
  const key = await focused();
  expect(key).toBe(String(85 - 44));
  const scrolled = await page.evaluate(() => window.scrollY);
  expect(scrolled).toBeGreaterThan(0);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Nightly' }).waitFor();
  await expect.poll(() => new URL(page.url()).pathname + new URL(page.url()).search).toBe('/runs/demo/r2?event=38');
  await page.goBack();
  await expect.poll(focused).toBe(key);
  await expect.poll(() => page.evaluate(() => window.scrollY)).toBe(scrolled);
  await page.keyboard.press('t');
  await expect.poll(() => new URL(page.url()).search).toBe('?at=38');
  await page.goBack();
  await results(page).filter({ hasText: 'lost packet 36' }).locator('.sentence').click();
  await expect.poll(() => new URL(page.url()).search).toBe('?event=39');
});

test('[U69] Enter leads to the first result, and Esc leaves the field with its text; t on the run begins at its event', async () => {
  const { page, open } = await openSearch();
  await open('/search');
  const field = page.getByRole('searchbox');
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-row'));
  await field.fill('memory');
  await field.press('Enter');
  await expect.poll(focused).toBe('4');
  await field.press('Escape');
  expect([await field.inputValue(), await field.evaluate((one) => one === document.activeElement)]).toEqual([
    'memory',
    false,
  ]);
  await field.press('ArrowDown');
  await expect.poll(focused).toBe('4');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await expect.poll(focused).toBe('2');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Train risk model' }).waitFor();
  await page.locator('.details').getByText('CUDA out of memory: tried to allocate 2.50 GiB').waitFor();
  await page.keyboard.press('t');
  await expect.poll(() => new URL(page.url()).search).toBe('?event=2&at=2');
});

test('[U67] an empty search offers recent ones and examples; nothing found offers all time and fewer filters', async () => {
  const { page, open } = await openSearch();
  await open('/search');
  await page.getByRole('link', { name: '"tried to allocate"' }).click();
  await page.getByText('1 found').waitFor();
  await expect.poll(() => page.evaluate(() => Object.values(localStorage).join())).toContain('tried to allocate');
  await page.goBack();
  await page.getByRole('heading', { name: 'Recent searches' }).waitFor();
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByRole('heading', { name: 'Recent searches' }).waitFor({ state: 'detached' });

  await open('/search?q=nowhere&type=run.failed');
  await page.getByRole('heading', { name: 'No events match “nowhere” in the last 7 days' }).waitFor();
  await page.getByRole('link', { name: 'Search all time' }).click();
  await page.getByRole('heading', { name: 'No events match “nowhere” in all events' }).waitFor();
  await page.getByRole('link', { name: 'Remove filters' }).click();
  await expect.poll(() => new URL(page.url()).search).toBe('?q=nowhere&since=all');
  await open('/search?q=memory&type=no.such');
  await page.getByText('Unknown type “no.such” was ignored').waitFor();
  await page.getByText('3 found').waitFor();
});

test('[U67] the events found are exported, newest first', async () => {
  const { page, open } = await openSearch();
  await open('/search?q=memory&project=ml');
  await page.getByText('2 found').waitFor();
  await page.getByRole('button', { name: 'Export' }).click();
  await page.getByText('the first 100,000 events at most').waitFor();
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'NDJSON' }).click();
  const lines = (await readFile(await (await download).path(), 'utf8')).trim().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { seq: number }).seq)).toEqual([3, 2]);
});

test('[U67] an administrator verifies the record; other readers have no such button', async () => {
  const { page, open, server } = await openSearch();
  await open('/search');
  await page.getByRole('button', { name: 'Verify the record' }).click();
  await page.getByText(/Intact: 5 events, head [0-9a-f]{8}…/).waitFor();
  const viewer = await openTab();
  const token = await tokenFor({ sub: 'vera', projects: ['ml'], roles: ['viewer'] });
  await signIn(viewer, server.url, token);
  await viewer.goto(`${server.url}/search?q=memory`);
  await viewer.getByText('2 found').waitFor();
  expect(await viewer.getByRole('button', { name: 'Verify the record' }).count()).toBe(0);
  await viewer.goto(`${server.url}/search?q=memory&project=demo`);
  await viewer.getByRole('heading', { name: 'You cannot see project “demo”' }).waitFor();
});

test('[U67] in a narrow window the facets are a sheet', async () => {
  const { page, open } = await openSearch();
  await page.setViewportSize({ width: 360, height: 740 });
  await open('/search?q=memory&type=stage.failed');
  await page.getByText('1 found').waitFor();
  await page.getByRole('button', { name: 'Filters 1' }).click();
  await page.getByRole('dialog', { name: 'Filters' }).getByText('run failed').click();
  await page.getByRole('button', { name: 'Show events' }).click();
  await page.getByText('2 found').waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
});
