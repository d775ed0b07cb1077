import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { foldOf, runwireTable } from '../../shared/event-table.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { Dice } from '../chaos/random.ts';
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
  await app.open(path + at);
  return { ...app, events: events as RunEvent[], folds: foldsOf(events as RunEvent[]) };
}

/** The run as of each of its events. */
function foldsOf(events: readonly RunEvent[]): RunView[] {
  const rows = new RunMemory();
  return events.map((event) => {
    foldOf(runwireTable)(rows, event as never);
    return rows.view() as RunView;
  });
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

test('[U71] Back just after a step leaves the past for good', async () => {
  const { page, folds } = await openSamples();
  await page.getByText('up to date').waitFor();
  await page.keyboard.press('t');
  await isAt(page, folds.length, folds.length);
  // The address has not followed the step yet.
  await page.evaluate(() => {
    window.dispatchEvent(new KeyboardEvent('keydown', { key: ',', bubbles: true, cancelable: true }));
    window.history.back();
  });
  await bar(page).waitFor({ state: 'hidden' });
  await page.waitForTimeout(400);
  await expect.poll(() => new URL(page.url()).search).toBe('');
  expect(await bar(page).isVisible()).toBe(false);
});

test('[U70] the page shows the run as of each of its events', async () => {
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
  await expect.poll(() => page.title()).toMatch(/^(\(\d+\) )?As of event 3 · /);
  await page.getByText(`Past · event 3 of ${folds.length}`).waitFor();
  await page.keyboard.press('Escape');
  await page.getByText('up to date').waitFor();
  await expect.poll(() => new URL(page.url()).search).toBe('');
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

test('[U72] a link to what a user saw shows the approval below both bars', async () => {
  const { page, folds, open } = await openSamples();
  const at = folds.findIndex(({ approvals }) => approvals.length > 0) + 1;
  for (const width of [1_280, 360]) {
    await page.setViewportSize({ width, height: 700 });
    await open(`${path}?at=${at}#approval`);
    await isAt(page, at, folds.length);
    await expect
      .poll(async () => {
        const [above, heading] = [await bar(page).boundingBox(), await page.locator('.approval-card h2').boundingBox()];
        return above !== null && heading !== null && heading.y >= above.y + above.height && heading.y < 700;
      })
      .toBe(true);
  }
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

/** Publishes a run of about 60 events in a random order, with late events, retries, repeated artifacts and decisions. */
async function randomRun(
  { server, publish }: Pick<Awaited<ReturnType<typeof openApp>>, 'server' | 'publish'>,
  seed: number,
) {
  const dice = new Dice(seed);
  const stages = dice.list(5, (n) => ({ stageId: `s${n}`, name: `Stage ${n}` }));
  const startMs = Date.now() - 3_600_000;
  const event = (at: number, type: Parameters<typeof draft>[1], fields: object = {}) =>
    draft('random', type, {
      ...fields,
      // Some events are published late.
      timestamp: new Date(startMs + (at - (dice.chance(0.2) ? dice.between(1, 10) : 0)) * 20_000).toISOString(),
    });
  const open = new Set<string>();
  let asked = 0;
  let progress = 0;
  await publish(event(0, 'run.created', { name: 'Random run', ...(dice.chance(0.7) ? { stages } : {}) }));
  for (let at = 1; at < 58; at++) {
    const stage = { stageId: dice.pick(stages).stageId, attempt: dice.between(1, 3) };
    const kind = dice.between(1, 100);
    const approvalId = dice.pick([...open, '']);
    if (kind <= 15 && approvalId !== '') {
      const by = server.router.createCaller({
        principal: { ...everyone, sub: dice.pick(['bo', 'cy', 'di']) },
      }).approval;
      const key = { projectId: 'demo', runId: 'random', approvalId };
      await (dice.chance(0.7) ? by.grant(key) : by.deny({ ...key, reason: 'wrong cohort' })).catch(() => undefined);
      const stored = await server.log.approvals.get('demo', 'random', approvalId);
      if (stored?.approval.status !== 'pending') open.delete(approvalId);
    } else if (kind <= 30 && asked < 3) {
      const id = `a${++asked}`;
      open.add(id);
      const ofStage = dice.chance(0.5) ? { stageId: stage.stageId } : {};
      const requiredApprovals = dice.between(1, 2);
      await publish(
        event(at, 'governance.required', { approvalId: id, title: `Approval ${id}`, requiredApprovals, ...ofStage }),
      );
    } else if (kind <= 40) {
      const artifactId = `f${dice.between(1, 4)}`;
      const sha256 = dice.pick(['a', 'b', 'c']).repeat(64);
      await publish(event(at, 'artifact.created', { artifactId, name: `${artifactId}-${at}.csv`, sha256 }));
    } else if (kind <= 55 && progress++ < 12) {
      await publish(event(at, 'stage.progress', { ...stage, progress: dice.between(0, 100) }));
    } else {
      const type = dice.pick(['stage.started', 'stage.completed', 'stage.failed', 'run.started'] as const);
      const error = { error: { message: `broken at ${at}` }, willRetry: dice.chance(0.4) };
      await publish(
        event(at, type, type === 'run.started' ? {} : { ...stage, ...(type === 'stage.failed' ? error : {}) }),
      );
    }
  }
  const ends = dice.chance(0.5);
  await publish(
    event(58, ends ? 'run.completed' : 'run.failed', ends ? { summary: 'done' } : { error: { message: 'broken' } }),
  );
  // The server ends the approvals that are still open, with an event each.
  for (const id of open) {
    const statusOf = async () => (await server.log.approvals.get('demo', 'random', id))?.approval.status;
    await expect.poll(statusOf).toBe('expired');
  }
  return { projectId: 'demo', runId: 'random' };
}

/** What the page shows of a run on its first tab. Rows that are out of view are not rendered: the window must be high. */
const shownOf = (page: Page) =>
  page.evaluate(() => {
    const text = (element: Element | null | undefined) => element?.textContent?.trim() ?? '';
    const all = (selector: string) => [...document.querySelectorAll<HTMLElement>(selector)];
    const summary = document.querySelector('.summary .headline');
    return {
      status: text(summary?.querySelector('.status')),
      stages: all('tr[data-row^="s "]').map((row) => [
        row.querySelector('bdi')?.title,
        text(row.querySelector('.status')),
        Number(/\d+/.exec(text(row.querySelector('.attempt .unseen')))?.[0] ?? 1),
      ]),
      approvals: Object.fromEntries(
        all('#approval [data-approval]').map((card) => [
          card.dataset.approval,
          card.classList.contains('open')
            ? text(card.querySelector('.quorum'))
            : (/^(Approved|Denied|Expired|The run ended first)/.exec(text(card.querySelector('.outcome-line')))?.[0] ??
              ''),
        ]),
      ),
      artifacts: Number(/\d+/.exec(text(all('[role="tab"]').find((tab) => text(tab).startsWith('Artifacts'))))?.[0]),
      events: all('[role="log"] .event').map((row) => [
        Number(row.getAttribute('aria-posinset')),
        row.querySelector<HTMLElement>('.type')?.title,
      ]),
    };
  });

/** What it should show: the fold of the events up to one. */
function expectedOf({ status, endedAt, stages, approvals, artifacts }: RunView, events: readonly RunEvent[]) {
  const unended = { running: 'unfinished', pending: 'not run' } as { [status: string]: string };
  const isOver = endedAt !== undefined;
  return {
    status,
    stages: stages.map((stage) => {
      const shown = isOver ? (unended[stage.status] ?? stage.status) : stage.status;
      const name = stage.name === stage.stageId ? stage.name : `${stage.name} (${stage.stageId})`;
      return [name, shown, stage.attempt];
    }),
    approvals: Object.fromEntries(
      approvals.map(({ approvalId, status: outcome, decisions, requiredApprovals }) => {
        const quorum = requiredApprovals > 1 ? `${decisions.length} of ${requiredApprovals} approvals` : '';
        const words = { granted: 'Approved', denied: 'Denied', expired: 'The run ended first' };
        return [approvalId, outcome !== 'pending' ? words[outcome] : isOver ? words.expired : quorum];
      }),
    ),
    artifacts: artifacts.length,
    events: events.map(({ runSeq, type }) => [runSeq, type]),
  };
}

const artifactsShown = (page: Page) =>
  page
    .locator('.artifacts tbody tr')
    .evaluateAll((rows) =>
      rows.map((row) => [row.querySelector('bdi')?.textContent, row.querySelector('code')?.title]),
    );

test('[U70] of a random run, the page shows at each event exactly the fold up to it', async () => {
  const seed = Date.now() % 2 ** 31;
  const app = await openApp({ viewport: { width: 1440, height: 4_000 } });
  const { page, server, open } = app;
  const key = await randomRun(app, seed);
  const caller = server.router.createCaller({ principal: everyone });
  const events = (await caller.run.history({ ...key, limit: 500 })).events as RunEvent[];
  const folds = foldsOf(events);
  const total = events.length;
  await open(`/runs/demo/random?at=${total}`);
  for (let at = total; at >= 1; at--) {
    await isAt(page, at, total);
    const expected = expectedOf(folds[at - 1] as RunView, events.slice(0, at));
    await expect.poll(() => shownOf(page), { message: `seed ${seed}, event ${at}` }).toEqual(expected);
    if (at > 1) await bar(page).getByRole('button', { name: 'Previous event' }).click();
  }
  await open('/runs/demo/random?at=1&tab=artifacts');
  for (let at = 1; at <= total; at++) {
    await isAt(page, at, total);
    const expected = (folds[at - 1] as RunView).artifacts.map(({ name, sha256 }) => [name, sha256]);
    await expect.poll(() => artifactsShown(page), { message: `seed ${seed}, event ${at}` }).toEqual(expected);
    if (at < total) await bar(page).getByRole('button', { name: 'Next event' }).click();
  }
});
