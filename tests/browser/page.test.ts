import { expect, test } from 'vitest';
import { draft, eventsShown, openTab, rowOf, startProcess, withBrowser } from './page-harness.ts';

/** The web app through the life and death of its server, which runs in a process of its own. */

withBrowser();
/** What the browser itself reports while the server is away. */
const away = /ERR_CONNECTION_(?:REFUSED|RESET)|WebSocket connection/;

test('[U4] [U5] opened by the printed link, the app lists runs and shows the stages of one as they go', async () => {
  const server = await startProcess();
  const page = await openTab();
  await page.goto(server.link);
  await page.getByText('No runs yet').waitFor();
  expect(page.url()).toBe(`${server.origin}/`);
  await page.getByRole('status').getByText('Live').waitFor();

  const plan = [
    { stageId: 'build', name: 'Build' },
    { stageId: 'test', name: 'Test' },
  ];
  await server.publish(draft('ci.1', 'run.created', { name: 'Nightly', stages: plan }));
  await rowOf(page, 'Nightly').getByText('created').waitFor();
  await server.publish(draft('ci.1', 'run.started'), draft('ci.1', 'stage.started', { stageId: 'build' }));
  await rowOf(page, 'Nightly').getByText('running').waitFor();

  await page.getByRole('link', { name: 'Nightly' }).click();
  await page.getByRole('heading', { level: 1, name: 'Nightly' }).waitFor();
  expect(page.url()).toBe(`${server.origin}/runs/demo/ci.1`);
  expect(await page.title()).toBe('Nightly · running · Runwire');
  await rowOf(page, 'Build').getByText('running').waitFor();
  await rowOf(page, 'Test').getByText('pending').waitFor();

  await server.publish(draft('ci.1', 'stage.progress', { stageId: 'build', progress: 64.4, message: 'linking <b>' }));
  await rowOf(page, 'Build').getByText('64.4 %').waitFor();
  await rowOf(page, 'Build').getByText('linking <b>').waitFor();
  await server.publish(
    draft('ci.1', 'stage.completed', { stageId: 'build', durationMs: 65_000 }),
    draft('ci.1', 'artifact.created', { artifactId: 'a1', name: 'report', uri: 'https://example.org/report' }),
    draft('ci.1', 'artifact.created', { artifactId: 'a2', name: 'trap', uri: 'javascript:alert(1)' }),
    draft('ci.1', 'stage.started', { stageId: 'test' }),
    draft('ci.1', 'stage.failed', { stageId: 'test', error: { message: '1 of 214 failed', code: 'EXIT_1' } }),
    draft('ci.1', 'run.failed', { stageId: 'test', error: { message: 'test failed' } }),
  );
  await rowOf(page, 'Build').getByText('1 min 05 s').waitFor();
  await rowOf(page, 'Test').getByText('1 of 214 failed').waitFor();
  await page.getByText('Failed in Test: test failed').waitFor();
  await page.getByText('Live · seq 10').waitFor();
  expect(await eventsShown(page)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  // An address that would run a script is shown, and is no link.
  await page.getByRole('link', { name: 'report' }).waitFor();
  expect(await page.getByRole('link', { name: 'trap' }).count()).toBe(0);

  // The address of a run can be opened by itself, dots and all.
  await page.reload();
  await rowOf(page, 'Test').getByText('1 of 214 failed').waitFor();
  await page.goBack();
  await rowOf(page, 'Nightly').getByText('failed', { exact: true }).waitFor();
});

test('[C3] [U7] two tabs on one run stay equal to the log through the death of the server', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const tabs = await Promise.all(
    [1, 2].map(() => openTab({ mayComplain: away, viewport: { width: 1280, height: 3_000 } })),
  );
  for (const tab of tabs) {
    await tab.goto(server.link);
    await tab.getByRole('link', { name: 'Long run' }).click();
    await tab.getByText('Live · seq 1').waitFor();
  }
  const publishSome = async (from: number) => {
    for (let value = from; value < from + 20; value++) {
      await server.publish(draft('r1', 'stage.progress', { stageId: 's1', progress: value }));
    }
  };
  await publishSome(0);
  await server.kill();
  await Promise.all(tabs.map((tab) => tab.getByText('Reconnecting').first().waitFor()));
  await server.start();
  await publishSome(20);
  await Promise.all(tabs.map((tab) => tab.getByText('Live · seq 41').waitFor()));

  const logged = (await server.history('demo', 'r1')).map(({ seq }) => seq);
  expect(logged).toHaveLength(41);
  for (const tab of tabs) {
    expect(await eventsShown(tab)).toEqual(logged);
    await rowOf(tab, 's1').getByText('39 %').waitFor();
  }
});

test('[D4] [U6] of a log that was restored from a backup, the page shows the events that it has', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Nightly' }));
  await server.kill();
  server.backUp();
  await server.start();
  const progress = (value: number) => draft('r1', 'stage.progress', { stageId: 's1', progress: value / 3 });
  await server.publish(...Array.from({ length: 299 }, (_, index) => progress(index)));
  const page = await openTab({ mayComplain: away });
  await page.goto(server.link);
  await page.getByRole('link', { name: 'Nightly' }).click();
  await page.locator('.event[aria-posinset="300"] .what').waitFor();
  await server.kill();
  server.restore();
  await server.start();
  await page.getByText('Live · seq 1 ').waitFor();
  await expect.poll(() => eventsShown(page)).toEqual([1]);
});

test('[C6] [U7] [U9] who is signed out is told how to sign in, on every page', async () => {
  const server = await startProcess();
  const page = await openTab({ mayComplain: /401/ });
  for (const path of ['/', '/runs/demo/r1']) {
    await page.goto(server.origin + path);
    await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
    await page.getByText('Open the link that the server printed').waitFor();
    await page.getByRole('status').getByText('Signed out').waitFor();
  }
  await page.goto(server.link);
  await page.getByText('No runs yet').waitFor();
});

test('[U4] [U7] while nothing is heard, clocks stand, on the next page too, and go on once it is', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }), draft('r1', 'run.started'));
  await server.publish(draft('r1', 'stage.started', { stageId: 's1' }));
  const page = await openTab({ mayComplain: away });
  await page.clock.install();
  await page.goto(server.link);
  await page.getByRole('link', { name: 'Long run' }).click();
  await page.getByText('Live · seq 3').waitFor();
  await page.clock.runFor(5_000);
  const clocks = () => page.locator('.summary .clock dd, .note').allTextContents();
  await server.kill();
  await page.getByText('Reconnecting').first().waitFor();
  const held = await clocks();
  expect(held).toHaveLength(2);
  await page.clock.runFor(60_000);
  expect(await clocks()).toEqual(held);
  await page.getByRole('link', { name: 'All runs' }).click();
  await rowOf(page, 'Long run').waitFor();
  await page.clock.runFor(60_000);
  expect(await rowOf(page, 'Long run').locator('.duration').textContent()).toBe(held[0]);
  await page.getByRole('link', { name: 'Long run' }).click();
  await expect.poll(clocks).toEqual(held);
  await server.start();
  await page.clock.runFor(30_000);
  await page.getByText('Live · seq 3').waitFor();
  await expect.poll(clocks).not.toEqual(held);
});

test('[C6] [U7] who is signed out meanwhile is told since when, and how to sign in', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const page = await openTab({ mayComplain: /ERR_CONNECTION_REFUSED|WebSocket connection|status of 401/ });
  await page.goto(server.link);
  await page.getByText('Live · seq 1').waitFor();
  await page.context().clearCookies();
  await server.kill();
  await server.start();
  await page.getByText(/Signed out since \d+:\d+.*: open the link that the server printed/).waitFor();
  await rowOf(page, 'Long run').waitFor();
});

test('[C2] [U7] a server that stays away is waited for, however long it takes', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const page = await openTab({ mayComplain: away });
  await page.goto(server.link);
  await page.getByText('Live · seq 1').waitFor();
  // Waiting is what takes long: the page's clock is wound on.
  await page.clock.install();
  let tries = 0;
  page.on('websocket', () => tries++);
  await page.goto(`${server.origin}/runs/demo/r1`);
  await page.getByText('Live · seq 1').waitFor();
  await server.kill();
  await page.getByText('Reconnecting').first().waitFor();
  while (tries < 10) await page.clock.runFor(5_000);
  // What was seen is still there, and said to be old; the word alone is what a screen reader is told.
  await page.getByText(/Reconnecting in \d+ s \(the connection was lost\) · stale since \d+:\d+/).waitFor();
  expect(await page.getByRole('status').allTextContents()).toEqual(['Reconnecting']);
  await page.getByRole('heading', { name: 'Long run' }).waitFor();
  await page.getByRole('button', { name: 'Now' }).waitFor();

  await server.start();
  await server.publish(draft('r1', 'run.started'));
  await page.clock.runFor(30_000);
  await page.getByText('Live · seq 2').waitFor();
  expect(await eventsShown(page)).toEqual([1, 2]);
});

test('[U7] [U9] what never was connected says so, and why, and heals by itself', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const page = await openTab({ mayComplain: /ERR_|WebSocket connection|Failed to load/ });
  await page.goto(server.link);
  await page.getByText('Live · seq 1').waitFor();
  // The page itself can be had, and nothing else.
  await page.route(/trpc/, (route) => route.abort());
  await page.clock.install();
  await page.reload();
  while (!(await page.getByText('Not connected').isVisible())) await page.clock.runFor(1_000);
  await page.getByRole('heading', { name: 'The server cannot be reached' }).waitFor();
  await page.getByRole('button', { name: 'Try again' }).first().waitFor();
  await page.routeWebSocket(/\/ws/, (socket) => socket.close());
  await page.goto(`${server.origin}/runs/demo/r1`);
  await page.getByRole('heading', { name: 'The server cannot be reached' }).waitFor();
  await page.goto(server.origin);
  while (!(await page.getByText('Not connected').isVisible())) await page.clock.runFor(1_000);
  await page.unroute(/trpc/);
  await page.clock.runFor(30_000);
  await rowOf(page, 'Long run').waitFor();
});

test('[U9] an address without a page says so, and where to go', async () => {
  const server = await startProcess();
  // The browser itself reports that `run.get` of a run that is not there is a 404.
  const page = await openTab({ mayComplain: /status of 404/ });
  await page.goto(server.link);
  await page.goto(`${server.origin}/nowhere`);
  await page.getByRole('heading', { name: 'There is no such page' }).waitFor();
  await page.getByRole('link', { name: 'Go to all runs' }).click();
  await page.getByText('No runs yet').waitFor();
  await page.goto(`${server.origin}/runs/demo/not-there`);
  await page.getByText('Nothing of this run yet').waitFor();
  await server.publish(draft('not-there', 'run.created', { name: 'Here it is' }));
  await page.getByRole('heading', { level: 1, name: 'Here it is' }).waitFor();
});
