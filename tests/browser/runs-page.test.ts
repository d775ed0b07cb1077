import { expect, test } from 'vitest';
import type { RunEventDraft } from '../../shared/events.ts';
import { tokenFor } from '../support/harness.ts';
import { draft, openApp, openTab, rowOf, signIn, withBrowser } from './page-harness.ts';

/** The page with the list of runs. */

withBrowser();

const at = (minute: number) => ({ timestamp: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString() });
const created = (number: number, more: object = {}) =>
  draft(`r${number}`, 'run.created', { name: `Run ${number}.`, ...at(number), ...more });
const rows = (page: Awaited<ReturnType<typeof openTab>>) => page.locator('.runs tbody tr');

test('[U1] a changing run moves neither rows nor columns', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1), created(2), created(3));
  await open('/');
  await rowOf(page, 'Run 2.').getByText('queued', { exact: true }).waitFor();
  const boxes = () =>
    page
      .locator('.runs tr > *')
      .evaluateAll((cells) => cells.map((cell) => JSON.stringify(cell.getBoundingClientRect())));
  const before = await boxes();
  expect(before.length).toBeGreaterThanOrEqual(7 * 4); // The header and three rows.
  await publish(
    draft('r2', 'stage.started', { stageId: 's1', name: 'A stage with a name that is much longer than its column' }),
    draft('r2', 'stage.progress', { stageId: 's1', progress: 33.3 }),
    draft('r2', 'governance.required', { approvalId: 'a1', title: 'May it?' }),
  );
  await rowOf(page, 'Run 2.').getByText('May it?').waitFor();
  expect(await boxes()).toEqual(before);
});

test('[U1] the column Started shows each time whole', async () => {
  const { page, publish, open } = await openApp();
  const daysAgo = (days: number) => ({ timestamp: new Date(new Date().setHours(-24 * days + 22, 58)).toISOString() });
  for (const days of [0, 1, 2, 40, 400]) {
    const run = `r${days}`;
    await publish(draft(run, 'run.created', { name: run, ...daysAgo(days) }), draft(run, 'run.started', daysAgo(days)));
  }
  for (const width of [1440, 964]) {
    await page.setViewportSize({ width, height: 700 });
    await open('/');
    await expect.poll(() => rows(page).count()).toBe(5);
    const cut = await page
      .locator('.runs tbody .started')
      .evaluateAll((cells) =>
        cells.filter((cell) => cell.scrollWidth > cell.clientWidth).map((one) => one.textContent),
      );
    expect(cut).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
  }
});

test('[U62] a period in the address that is no time is ignored, in the list and in the search', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1));
  await open('/?since=yesterday');
  await rowOf(page, 'Run 1.').waitFor();
  await open('/search?q=Run&since=yesterday');
  await page.getByText('Since: 7 days').waitFor();
});

test('[U1] at the top of an unused list, new runs appear by themselves', async () => {
  const { page, publish, open } = await openApp();
  await open('/');
  const names = () => page.locator('.runs .name a').allTextContents();
  await page.getByText('No runs yet').waitFor();
  await publish(created(1));
  await rowOf(page, 'Run 1.').waitFor();
  await publish(created(2));
  await rowOf(page, 'Run 2.').waitFor();
  expect(await names()).toEqual(['Run 2.', 'Run 1.']);
  expect(await page.getByRole('button', { name: /new run/ }).count()).toBe(0);
});

test('[U1] while the list is in use, a button counts the new runs and shows them on a click', async () => {
  const { page, publish, open } = await openApp();
  await open('/');
  await publish(created(1));
  await rowOf(page, 'Run 1.').hover();
  await publish(created(2));
  await page.getByRole('button', { name: '1 new run' }).waitFor();
  await page.mouse.move(0, 0);
  await page.getByRole('link', { name: 'Run 1.' }).focus();
  await publish(created(3));
  await page.getByRole('button', { name: '2 new runs' }).waitFor();
  await expect.poll(() => rows(page).count()).toBe(1);
  // The button lies over the rows: it has not moved them.
  const [button, head] = await Promise.all(
    ['.new-runs button', '.runs thead'].map((one) =>
      page.locator(one).evaluate((found) => found.getBoundingClientRect()),
    ),
  );
  expect(button?.top).toBeGreaterThanOrEqual(head?.bottom ?? 0);
  await page.getByRole('button', { name: '2 new runs' }).click();
  await rowOf(page, 'Run 3.').waitFor();
  await expect.poll(() => page.locator('.runs .name a').allTextContents()).toEqual(['Run 3.', 'Run 2.', 'Run 1.']);
  expect(await page.getByRole('button', { name: /new run/ }).count()).toBe(0);
});

test('[U1] the button for new runs leads to the top from any position in the list', async () => {
  const { page, publish, open } = await openApp();
  await publish(...Array.from({ length: 90 }, (_, index) => created(index + 1)));
  await open('/');
  await rowOf(page, 'Run 90.').waitFor();
  await page.mouse.wheel(0, 3_000);
  await rowOf(page, 'Run 90.').waitFor({ state: 'detached' });
  await publish(created(91));
  await page.getByRole('button', { name: '1 new run' }).click();
  await rowOf(page, 'Run 91.').waitFor();
  await expect.poll(() => page.evaluate(() => document.activeElement?.localName)).toBe('main');
});

test('[U2] filters are in the address, survive a reload, and are removed by one action', async () => {
  const { page, publish, open } = await openApp({ viewport: { width: 1_500, height: 800 } });
  const labels = { team: 'ops & more', env: 'prod' };
  await publish(
    created(1, { labels }),
    draft('r1', 'run.started'),
    created(2),
    created(3, { labels: { team: 'lab' } }),
    draft('r3', 'run.started'),
    draft('r9', 'run.created', { name: 'Elsewhere', projectId: 'a/b?c#d%' }),
  );
  await open('/');
  await page.getByRole('button', { name: 'running' }).click();
  await page.getByText('Run 2.').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'team=ops & more' }).click();
  await page.getByText('Run 3.').waitFor({ state: 'detached' });
  await rowOf(page, 'Run 1.').waitFor();

  await page.reload();
  await rowOf(page, 'Run 1.').waitFor();
  await expect.poll(() => rows(page).count()).toBe(1);
  await expect.poll(() => page.getByRole('button', { name: 'running', pressed: true }).count()).toBe(1);

  await page.getByRole('searchbox').fill('zebra');
  await page.getByRole('heading', { name: 'No runs match' }).waitFor();
  await expect.poll(() => new URL(page.url()).searchParams.get('text')).toBe('zebra');
  await page.getByRole('searchbox').fill('');
  await rowOf(page, 'Run 1.').waitFor();
  await page.getByRole('link', { name: 'Remove filter: team=ops & more' }).click();
  await rowOf(page, 'Run 3.').waitFor();
  await page.getByRole('link', { name: 'Clear filters' }).click();
  await rowOf(page, 'Elsewhere').waitFor();
  await expect.poll(() => new URL(page.url()).search).toBe('');

  await page.getByRole('button', { name: 'a/b?c#d%' }).click();
  await page.getByText('Run 1.').waitFor({ state: 'detached' });
  await page.getByRole('link', { name: 'Elsewhere' }).click();
  await page.getByRole('heading', { level: 1, name: 'Elsewhere' }).waitFor();
});

test('[U2] [U9] an unknown status in the address is ignored, and the page states it', async () => {
  const { page, publish, open } = await openApp();
  await publish(
    created(1),
    draft('r1', 'stage.started', { stageId: 's' }),
    draft('r1', 'stage.completed', { stageId: 's' }),
  );
  await publish(draft('r1', 'run.completed'), created(2));
  await open('/?status=completed,done');
  await rowOf(page, 'Run 1.').getByText('1 of 1 stage', { exact: true }).waitFor();
  await page.getByText('Unknown status “done” was ignored').waitFor();
  await page.getByRole('link', { name: 'Remove', exact: true }).click();
  await page.getByText('Unknown status').waitFor({ state: 'detached' });
  await expect.poll(() => new URL(page.url()).searchParams.get('status')).toBe('completed');
  await expect.poll(() => rows(page).count()).toBe(1);
});

test('[U3] all of 1,000 runs can be reached, with fewer than 100 rows in the page at a time', async () => {
  const { page, publish, open } = await openApp();
  await publish(...Array.from({ length: 1_000 }, (_, index) => created(index + 1)));
  await open('/');
  await rowOf(page, 'Run 1000.').waitFor();
  let most = 0;
  while ((await page.getByText('Run 1.', { exact: true }).count()) === 0) {
    most = Math.max(most, await rows(page).count());
    await page.mouse.wheel(0, 2_000);
  }
  expect(most).toBeLessThan(100);
  expect(await page.getByText('Loading older runs').count()).toBe(0);
  await page.evaluate(() => window.scrollTo(0, 0));
  await rowOf(page, 'Run 1000.').waitFor();
});

test('[U3] [U9] after older runs failed to load, the page states it, and they are requested at once when the user asks', async () => {
  const { page, publish, open } = await openApp({ expectedErrors: /status of 500/ });
  await publish(...Array.from({ length: 150 }, (_, index) => created(index + 1)));
  let requests = 0;
  const error = { message: 'no', code: -32603, data: { code: 'INTERNAL_SERVER_ERROR', runwireCode: 'INTERNAL' } };
  await page.route(/run\.list/, (route) => {
    if (!route.request().postData()?.includes('"cursor":"')) return route.continue();
    requests++;
    return route.fulfill({ status: 500, json: { error } });
  });
  await open('/');
  await rowOf(page, 'Run 150.').waitFor();
  await page.getByText('up to date').waitFor();
  await page.mouse.wheel(0, 20_000);
  await page.getByText('Older runs could not be loaded').waitFor();
  expect(requests).toBe(1);
  await page.unroute(/run\.list/);
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.locator('.more').waitFor({ state: 'detached' });
  await page.mouse.wheel(0, 20_000);
  await rowOf(page, 'Run 1.').waitFor();
});

test('[U2] [U60] a link counts the approvals that wait for the user, and a filter shows their runs', async () => {
  const { page, server, open } = await openApp();
  const publish = (...events: RunEventDraft[]) => server.bus.publish(events, { actor: 'ci' });
  const asks = (runId: string) => draft(runId, 'governance.required', { approvalId: 'a', title: 'May it?' });
  await publish(created(1), created(2), created(3), asks('r1'), asks('r3'));
  await open('/');
  await expect
    .poll(() => page.getByRole('link', { name: '2 approvals wait for you' }).getAttribute('href'))
    .toBe('/approvals');
  await page.getByRole('button', { name: 'Needs my approval' }).click();
  await expect.poll(() => new URL(page.url()).search).toBe('?needs=me');
  await page.getByText('Run 2.').waitFor({ state: 'detached' });
  await expect.poll(() => rows(page).count()).toBe(2);
});

test('[U9] [U65] an empty list states how to publish a run to those who can, or which role the user lacks', async () => {
  const { page, publish, server, open } = await openApp();
  await open('/');
  await page.getByText('No runs yet').waitFor();
  await page.getByText(`exec --url ${server.url} --project demo`).waitFor();
  await publish(created(1));

  const other = await openTab();
  await signIn(other, server.url, await tokenFor({ projects: ['trials'], roles: ['viewer'] }));
  await other.goto(server.url);
  await other.getByText('No runs yet in trials. They appear here by themselves.').waitFor();
  expect(await other.getByText('exec --url').count()).toBe(0);

  const producer = await openTab();
  await signIn(producer, server.url, await tokenFor({ roles: ['producer'] }));
  await producer.goto(server.url);
  await producer.getByText('You can publish, but not read').waitFor();
});

test('[U10] keys move through the list, open a run, search and open the help', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1), created(2), created(3));
  await open('/');
  await rowOf(page, 'Run 3.').waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.textContent);
  for (const [key, name] of [
    ['j', 'Run 3.'],
    ['j', 'Run 2.'],
    ['j', 'Run 1.'],
    ['j', 'Run 1.'],
    ['k', 'Run 2.'],
  ] as const) {
    await page.keyboard.press(key);
    await expect.poll(() => focused()).toContain(name);
  }
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Run 2.' }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await rowOf(page, 'Run 3.').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('jk?');
  await expect.poll(() => page.getByRole('searchbox').inputValue()).toBe('jk?');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });

  // Esc has left the field and kept its text.
  await page.getByRole('searchbox').fill('');
  // The search key leads to the search of the page. The user's menu opens the keyboard shortcuts too.
  await page.getByRole('link', { name: 'Run 2.' }).click();
  await page.getByRole('heading', { level: 1, name: 'Run 2.' }).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('progress');
  await expect.poll(() => page.getByRole('searchbox').inputValue()).toBe('progress');
  await page.getByRole('button', { name: 'Menu of ada' }).click();
  await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
});

test('[U11] the theme follows the system until the user chooses another', async () => {
  const { page, open } = await openApp({ colorScheme: 'dark' });
  await open('/');
  await page.getByText('No runs yet').waitFor();
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await background();
  const choose = async (theme: string) => {
    await page.getByRole('button', { name: 'Menu of ada' }).click();
    await page.getByRole('radio', { name: theme }).click();
    await page.keyboard.press('Escape');
  };
  await choose('Light');
  const light = await background();
  expect(light).not.toBe(dark);
  await open('/nowhere');
  expect(await background()).toBe(light);
  await choose('Dark');
  expect(await background()).toBe(dark);
});

test('[U8] text of a producer is never markup', async () => {
  const { page, publish, open } = await openApp();
  const evil = '<img src=x onerror="document.title=1"><b>bold</b>';
  const events: RunEventDraft[] = [
    draft('r1', 'run.created', { name: evil, createdBy: evil, labels: { [evil]: evil } }),
    draft('r1', 'stage.started', { stageId: evil, name: evil }),
  ];
  await publish(...events);
  await open('/');
  await page.getByRole('link', { name: evil }).waitFor();
  expect(await page.locator('main img, main b').count()).toBe(0);
});

test('[U60] the whole row opens the run, and buttons in it keep their own effect', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1, { labels: { team: 'ops' } }), created(2));
  await open('/');
  await rowOf(page, 'Run 1.').locator('.duration').click();
  await page.getByRole('heading', { level: 1, name: 'Run 1.' }).waitFor();
  await page.goBack();
  await rowOf(page, 'Run 1.').getByRole('button', { name: 'demo' }).click();
  await expect.poll(() => new URL(page.url()).search).toBe('?project=demo');
  const opened = page.context().waitForEvent('page');
  await rowOf(page, 'Run 2.')
    .locator('.stage-cell')
    .click({ modifiers: ['ControlOrMeta'] });
  await (await opened).getByRole('heading', { level: 1, name: 'Run 2.' }).waitFor();
  await expect.poll(() => new URL(page.url()).pathname).toBe('/');
});

test('[U60] a row shows the stage, the approval that is waited for, or the first line of the failure', async () => {
  const { page, server, open } = await openApp();
  const publish = (...events: RunEventDraft[]) => server.bus.publish(events, { actor: 'ci' });
  const cause = 'CUDA out of memory: tried to allocate 2.50 GiB\nat step 7';
  await publish(
    created(1),
    draft('r1', 'stage.started', { stageId: 'train' }),
    draft('r1', 'stage.failed', { stageId: 'train', error: { message: cause } }),
    draft('r1', 'run.failed', { stageId: 'train', error: { message: 'stage train failed' } }),
    created(2),
    draft('r2', 'stage.started', { stageId: 's', name: 'Align reads' }),
    created(3),
    draft('r3', 'governance.required', { approvalId: 'a', title: 'Release the results' }),
    created(4),
    draft('r4', 'run.failed', { error: { message: 'stopped by ada', code: 'CANCELLED' } }),
  );
  await publish(draft('r5', 'run.created', { name: 'Run 5.' }));
  await open('/');
  const failure = rowOf(page, 'Run 1.').locator('.error');
  await expect.poll(() => failure.textContent()).toBe(cause);
  await expect.poll(() => failure.getAttribute('title')).toBe(`${cause}\n\nstage train failed`);
  const [line, row] = await Promise.all([failure.boundingBox(), rowOf(page, 'Run 1.').boundingBox()]);
  expect(line?.height).toBeLessThan(24); // One line.
  expect(row?.height).toBe(44);
  await rowOf(page, 'Run 2.').getByText('Align reads').waitFor();
  await rowOf(page, 'Run 3.').getByText('Release the results').waitFor();
  await rowOf(page, 'Run 3.').getByText('1 for you').waitFor();
  await rowOf(page, 'Run 4.').getByText('cancelled', { exact: true }).waitFor();
  await rowOf(page, 'Run 5.')
    .getByText(/^Queued \d/)
    .waitFor();
  // A run without stages has no bar.
  await expect.poll(() => page.locator('.runs progress').count()).toBe(1);
});

test('[U61] chips filter by status, tell cancelled from failed runs, and show live counts', async () => {
  const { page, publish, open } = await openApp();
  await publish(
    draft('r1', 'run.created', { name: 'Broken' }),
    draft('r1', 'run.failed', { error: { message: 'no' } }),
    draft('r2', 'run.created', { name: 'Stopped' }),
    draft('r2', 'run.failed', { error: { message: 'by ada', code: 'CANCELLED' } }),
    draft('r3', 'run.created', { name: 'Going' }),
    draft('r3', 'run.started'),
  );
  await open('/');
  const chip = (name: RegExp) => page.getByRole('button', { name });
  await chip(/^Running 1$/).waitFor();
  await chip(/^Failed 1 in the last 24 hours$/).click();
  await page.getByText('Stopped').waitFor({ state: 'detached' });
  await rowOf(page, 'Broken').waitFor();
  await chip(/^Cancelled 1/).click();
  await rowOf(page, 'Stopped').waitFor();
  await chip(/^Failed 1/).click();
  await page.getByText('Broken').waitFor({ state: 'detached' });
  await expect.poll(() => new URL(page.url()).search).toBe('?status=cancelled');
  await publish(draft('r4', 'run.created', { name: 'Also going' }), draft('r4', 'run.started'));
  await chip(/^Running 2$/).waitFor();
});

test('[U62] a filter is saved under a name in this browser, and the address of a view opens it', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1, { labels: { team: 'ops' } }), draft('r1', 'run.started'), created(2));
  await open('/?status=running&label=team%3Dops');
  await page.getByRole('button', { name: 'Save view' }).click();
  await page.getByRole('textbox', { name: 'Name of the view' }).fill('Nightly ops');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByRole('button', { name: 'View: Nightly ops' }).waitFor();
  await expect.poll(() => new URL(page.url()).searchParams.get('view')).toBe('Nightly ops');
  await open('/?view=Nightly+ops');
  await page.getByRole('link', { name: 'Remove filter: team=ops' }).waitFor();
  await expect.poll(() => page.getByRole('button', { name: /^Running/, pressed: true }).count()).toBe(1);
  await page.getByText('Run 2.').waitFor({ state: 'detached' });
  // A changed filter is not the view any more.
  await page.getByRole('link', { name: 'Remove filter: team=ops' }).click();
  await page.getByRole('button', { name: 'Save view' }).click();
  await page.getByRole('link', { name: 'Nightly ops' }).click();
  await page.getByRole('link', { name: 'Remove filter: team=ops' }).waitFor();
  await page.getByRole('button', { name: 'View: Nightly ops' }).click();
  await page.getByRole('button', { name: 'Delete view Nightly ops' }).click();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Save view' }).waitFor();
});

test('[U63] the activity of the last day has a bar for each quarter of an hour, and a click filters to it', async () => {
  const { page, publish, open } = await openApp();
  const hoursAgo = (hours: number) => ({ timestamp: new Date(Date.now() - hours * 3_600_000).toISOString() });
  await publish(
    draft('old', 'run.created', { name: 'Old', ...hoursAgo(30) }),
    draft('r1', 'run.created', { name: 'Morning', ...hoursAgo(12) }),
    draft('r2', 'run.created', { name: 'Evening', ...hoursAgo(2) }),
    draft('r2', 'run.failed', { error: { message: 'no' }, ...hoursAgo(2) }),
  );
  await open('/');
  const plot = page.getByRole('img', { name: 'Runs of the last 24 hours: 2: 1 queued, 1 failed' });
  await plot.waitFor();
  await expect.poll(async () => (await plot.boundingBox())?.height).toBe(48);
  const bar = await plot.locator('rect.created').boundingBox();
  await page.mouse.click((bar?.x ?? 0) + 1, (bar?.y ?? 0) + 1);
  await page.getByText('Evening').waitFor({ state: 'detached' });
  await rowOf(page, 'Morning').waitFor();
  const { searchParams } = new URL(page.url());
  const [since, until] = ['since', 'until'].map((name) => Date.parse(searchParams.get(name) ?? ''));
  expect((until ?? 0) - (since ?? 0)).toBe(15 * 60_000);
  await page.getByRole('link', { name: /^Remove filter: since/ }).click();
  await rowOf(page, 'Evening').waitFor();
  await page.getByRole('button', { name: 'Since' }).click();
  await page.getByRole('button', { name: 'Last 24 hours', exact: true }).click();
  await page.getByText('Old', { exact: true }).waitFor({ state: 'detached' });
  await expect.poll(() => new URL(page.url()).search).toBe('?since=24h');
});

test('[U64] the list is one tab stop, at most the sixth, and Back returns the focus to the run', async () => {
  const { page, publish, open } = await openApp();
  await publish(...Array.from({ length: 60 }, (_, index) => created(index + 1)));
  await open('/');
  await rowOf(page, 'Run 60.').waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-row'));
  let stops = 0;
  while (!(await focused())) {
    await page.keyboard.press('Tab');
    stops++;
    expect(stops).toBeLessThanOrEqual(6);
  }
  await expect.poll(() => focused()).toBe('demo r60');
  await page.keyboard.press('Tab');
  await expect.poll(() => focused()).toBe(null);
  await page.keyboard.press('Shift+Tab');
  for (let step = 0; step < 25; step++) await page.keyboard.press('j');
  await expect.poll(() => focused()).toBe('demo r35');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Run 35.' }).waitFor();
  await publish(created(61));
  await page.goBack();
  await expect.poll(focused).toBe('demo r35');
  await page.keyboard.press('k');
  await expect.poll(() => focused()).toBe('demo r36');
});

test('[U65] a project that the user may not read is named, with what the user can read', async () => {
  const { page, publish, server } = await openApp();
  await publish(created(1), draft('x', 'run.created', { projectId: 'trials', name: 'Hidden' }));
  await signIn(page, server.url, await tokenFor({ sub: 'vera', projects: ['demo'], roles: ['viewer'] }));
  for (const project of ['trials', 'no-such-project']) {
    await page.goto(`${server.url}/?project=${project}`);
    await page.getByRole('heading', { name: `You cannot see project “${project}”` }).waitFor();
    await page.getByText('You are signed in as vera and can see: demo.').waitFor();
  }
  await page.goto(`${server.url}/?project=demo`);
  await rowOf(page, 'Run 1.').waitFor();
});

test('[U66] a search in events opens the page Search with the text and the project', async () => {
  const { page, publish, open } = await openApp();
  await publish(created(1));
  await open('/?project=demo');
  await page.getByRole('button', { name: 'in events' }).click();
  await page.getByRole('searchbox', { name: 'Search in events' }).fill('out of memory');
  await page.keyboard.press('Enter');
  await expect.poll(() => new URL(page.url()).pathname).toBe('/search');
  expect(Object.fromEntries(new URL(page.url()).searchParams)).toEqual({ q: 'out of memory', project: 'demo' });
});
