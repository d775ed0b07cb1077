import { expect, test } from 'vitest';
import type { RunEventDraft } from '../../shared/events.ts';
import { tokenFor } from '../support/harness.ts';
import { draft, openApp, openTab, rowOf, withBrowser } from './page-harness.ts';

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
  await rowOf(page, 'Run 2.').getByText('created').waitFor();
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
  await rowOf(page, 'Run 2.').getByText('1 pending').waitFor();
  await rowOf(page, 'Run 2.').getByText('A stage with a name').waitFor();
  expect(await boxes()).toEqual(before);
});

test('[U1] at the top of an unused list, new runs appear by themselves', async () => {
  const { page, publish } = await openApp();
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
  const { page, publish } = await openApp();
  await publish(created(1));
  await rowOf(page, 'Run 1.').hover();
  await publish(created(2));
  await page.getByRole('button', { name: '1 new run' }).waitFor();
  await page.mouse.move(0, 0);
  await page.getByRole('link', { name: 'Run 1.' }).focus();
  await publish(created(3));
  await page.getByRole('button', { name: '2 new runs' }).waitFor();
  expect(await rows(page).count()).toBe(1);
  // The button does not cover the table.
  const [button, table] = await Promise.all(
    ['.new-runs button', '.runs'].map((one) => page.locator(one).evaluate((found) => found.getBoundingClientRect())),
  );
  expect(button?.bottom).toBeLessThanOrEqual(table?.top ?? 0);
  await page.getByRole('button', { name: '2 new runs' }).click();
  await rowOf(page, 'Run 3.').waitFor();
  expect(await page.locator('.runs .name a').allTextContents()).toEqual(['Run 3.', 'Run 2.', 'Run 1.']);
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
  expect(await page.evaluate(() => document.activeElement?.localName)).toBe('main');
});

test('[U2] filters are in the address, survive a reload, and are removed by one action', async () => {
  const { page, publish, open } = await openApp();
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
  expect(await rows(page).count()).toBe(1);
  expect(await page.getByRole('button', { name: 'running', pressed: true }).count()).toBe(1);

  await page.getByRole('searchbox').fill('zebra');
  await page.getByRole('heading', { name: 'No runs match' }).waitFor();
  expect(new URL(page.url()).searchParams.get('text')).toBe('zebra');
  await page.getByRole('searchbox').fill('');
  await rowOf(page, 'Run 1.').waitFor();
  await page.getByRole('link', { name: 'Remove filter: team=ops & more' }).click();
  await rowOf(page, 'Run 3.').waitFor();
  await page.getByRole('link', { name: 'Clear filters' }).click();
  await rowOf(page, 'Elsewhere').waitFor();
  expect(new URL(page.url()).search).toBe('');

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
  expect(new URL(page.url()).searchParams.get('status')).toBe('completed');
  expect(await rows(page).count()).toBe(1);
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

test('[U2] [U9] a link counts the runs that wait for approval, and leads to them', async () => {
  const { page, publish, open } = await openApp();
  const asks = (runId: string) => draft(runId, 'governance.required', { approvalId: 'a', title: 'May it?' });
  await publish(created(1), created(2), created(3), asks('r1'), asks('r3'));
  await open('/');
  await page.getByRole('link', { name: '2 runs wait for approval' }).click();
  await page.getByText('Run 2.').waitFor({ state: 'detached' });
  expect(await rows(page).count()).toBe(2);
});

test('[U9] an empty list states how to publish a run, or which role the user lacks', async () => {
  const { page, publish, server } = await openApp();
  await page.getByText('No runs yet').waitFor();
  await page.getByText(`exec --url ${server.url} --project demo`).waitFor();
  await publish(created(1));

  const other = await openTab();
  await other.goto(`${server.url}/login?token=${await tokenFor({ projects: ['trials'], roles: ['viewer'] })}`);
  await other.getByText('--project trials').waitFor();
  await other.getByText('You can see runs of: trials').waitFor();

  const producer = await openTab();
  await producer.goto(`${server.url}/login?token=${await tokenFor({ roles: ['producer'] })}`);
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
    expect(await focused()).toBe(name);
  }
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Run 2.' }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await rowOf(page, 'Run 3.').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('jk?');
  expect(await page.getByRole('searchbox').inputValue()).toBe('jk?');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });

  // The search key works from any page. The user's menu opens the keyboard shortcuts too.
  await page.getByRole('link', { name: 'Run 2.' }).click();
  await page.getByRole('heading', { level: 1, name: 'Run 2.' }).waitFor();
  await page.keyboard.press('/');
  await page.getByRole('searchbox').waitFor();
  await page.keyboard.type('Run 3');
  await page.getByText('Run 2.').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Menu of ada' }).click();
  await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
});

test('[U11] the theme follows the system until the user chooses another', async () => {
  const { page, open } = await openApp({ colorScheme: 'dark' });
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
