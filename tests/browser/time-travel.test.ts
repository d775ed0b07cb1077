import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { foldOf, runwireTable } from '../../shared/event-table.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { everyone } from '../support/harness.ts';
import { draft, openApp, withBrowser } from './page-harness.ts';
import { fillWithSamples } from './sample-app.ts';

/** Time travel on the page of a run. */

withBrowser();

const run = { projectId: 'trials', runId: 'release-2026-11' };
const path = '/runs/trials/release-2026-11';

async function openSamples(at = '', expectedErrors = /^$/) {
  const app = await openApp({ expectedErrors });
  await fillWithSamples(app.server);
  const { events } = await app.server.router.createCaller({ principal: everyone }).run.history({ ...run, limit: 500 });
  const rows = new RunMemory();
  const folds = (events as RunEvent[]).map((event) => {
    foldOf(runwireTable)(rows, event as never);
    return rows.view() as RunView;
  });
  await app.open(path + at);
  return { ...app, events: events as RunEvent[], folds };
}

const bar = (page: Page) => page.getByRole('region', { name: 'Time travel' });
const isAt = (page: Page, at: number, of: number) => bar(page).getByText(`event ${at} of ${of}`).waitFor();
/** Waits until the page shows the run as of its event, and the page holds nothing of later events. */
async function showsFold(page: Page, fold: RunView): Promise<void> {
  await expect.poll(() => page.locator('.summary').textContent()).toContain(fold.status);
  for (const stage of fold.stages) {
    await page
      .getByRole('row')
      .filter({ hasText: stage.name })
      .filter({ hasText: new RegExp(stage.status) })
      .waitFor();
  }
  await expect
    .poll(async () => {
      const shown = await page
        .getByRole('log')
        .locator('.event:has(.what)')
        .evaluateAll((all) => all.map((one) => Number(one.getAttribute('aria-posinset'))));
      return Math.max(...shown);
    })
    .toBe(fold.lastRunSeq);
}

test('[U70] the page shows the run as of each of its events', { timeout: 60_000 }, async () => {
  const { page, folds } = await openSamples();
  await page.getByText('up to date').waitFor();
  await page.keyboard.press('t');
  await isAt(page, folds.length, folds.length);
  for (let at = folds.length - 1; at >= 1; at--) {
    await page.keyboard.press(',');
    await isAt(page, at, folds.length);
    await showsFold(page, folds[at - 1] as RunView);
  }
  await page.keyboard.press('.');
  await isAt(page, 2, folds.length);
});

test('[U71] the address names the moment; Back, Esc and the button lead to the live page', async () => {
  const { page, folds, open } = await openSamples('?at=3', /404/);
  await isAt(page, 3, folds.length);
  expect(await page.title()).toMatch(/^(\(\d+\) )?As of event 3 · /);
  await page.getByText(`Past · event 3 of ${folds.length}`).waitFor();
  await page.keyboard.press('Escape');
  await page.getByText('up to date').waitFor();
  expect(new URL(page.url()).search).toBe('');
  await page.getByRole('button', { name: 'Time travel' }).click();
  await isAt(page, folds.length, folds.length);
  await page.keyboard.press(',');
  await page.keyboard.press(',');
  await expect.poll(() => new URL(page.url()).search).toBe(`?at=${folds.length - 2}`);
  await page.goBack();
  await page.getByText('up to date').waitFor();
  await open(`${path}?at=999`);
  await page.getByText('The run has no event 999').waitFor();
});

test('[U72] in the past nothing can be decided, and new events are counted', async () => {
  const { page, folds, server } = await openSamples();
  await page.getByText('up to date').waitFor();
  await page.keyboard.press('t');
  await isAt(page, folds.length, folds.length);
  expect(await page.getByRole('button', { name: /^(Approve|Deny)…$/, disabled: false }).count()).toBe(0);
  await server.bus.publish(
    [draft(run.runId, 'stage.progress', { projectId: run.projectId, stageId: 's3', progress: 5 })],
    { actor: 'ci' },
  );
  await bar(page).getByText('1 newer event').waitFor();
  await isAt(page, folds.length, folds.length + 1);
});

test('[U73] the slider, the field and playing move through the run', async () => {
  const { page, folds } = await openSamples('?at=1');
  const total = folds.length;
  await isAt(page, 1, total);
  const slider = bar(page).getByRole('slider', { name: 'Event' });
  await slider.focus();
  await page.keyboard.press('ArrowRight');
  await isAt(page, 2, total);
  await expect.poll(() => slider.getAttribute('aria-valuetext')).toMatch(/^Event 2/);
  await bar(page).getByRole('spinbutton').fill('4');
  await isAt(page, 4, total);
  await bar(page).getByRole('combobox', { name: 'Speed' }).selectOption('16');
  await bar(page).getByRole('button', { name: 'Play' }).click();
  await isAt(page, total, total);
  await bar(page).getByRole('button', { name: 'Play', disabled: true }).waitFor();
});

test('[U73] a mark leads to an approval, and `<` and `>` move between marks', async () => {
  const { page, events } = await openSamples('?at=1');
  await isAt(page, 1, events.length);
  const marked = events.filter(({ type }) => /^(stage\.(started|completed|failed)|governance|approval)/.test(type));
  await bar(page)
    .locator('.mark')
    .nth(marked.length - 1)
    .waitFor();
  for (const { runSeq } of marked.slice(0, 3)) {
    await page.keyboard.press('>');
    await isAt(page, runSeq, events.length);
  }
  await page.keyboard.press('<');
  await isAt(page, (marked[1] as RunEvent).runSeq, events.length);
});
