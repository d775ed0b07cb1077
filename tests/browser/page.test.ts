import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { completeUpTo, draft, eventsShown, openTab, rowOf, startProcess, withBrowser } from './page-harness.ts';

/** The web app while its server, a process of its own, starts, stops and restarts. */

withBrowser();
/** Errors that the browser reports while the server is down. */
// Chromium names the failure by the moment at which the server ended.
const serverDown = /net::ERR_|WebSocket connection/;

test('[U4] [U5] the printed link opens the app, which lists runs and updates the stages of a run live', async () => {
  const server = await startProcess();
  const page = await openTab();
  await page.goto(server.link);
  await page.getByText('No runs yet').waitFor();
  await expect.poll(() => page.url()).toBe(`${server.origin}/`);
  await page.getByRole('status').getByText('Live').waitFor();

  const plan = [
    { stageId: 'build', name: 'Build' },
    { stageId: 'test', name: 'Test' },
  ];
  await server.publish(draft('ci.1', 'run.created', { name: 'Nightly', stages: plan }));
  await rowOf(page, 'Nightly').getByText('queued', { exact: true }).waitFor();
  await server.publish(draft('ci.1', 'run.started'), draft('ci.1', 'stage.started', { stageId: 'build' }));
  await rowOf(page, 'Nightly').getByText('running').waitFor();

  await page.getByRole('link', { name: 'Nightly' }).click();
  await page.getByRole('heading', { level: 1, name: 'Nightly' }).waitFor();
  await expect.poll(() => page.url()).toBe(`${server.origin}/runs/demo/ci.1`);
  await expect.poll(() => page.title()).toBe('Nightly · running · Runwire');
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
  const failure = page.getByRole('region', { name: 'Failed in Test' });
  await expect
    .poll(() => failure.locator('p').allTextContents())
    .toEqual(['1 of 214 failed', 'test failed ', expect.any(String)]);
  await completeUpTo(page, 10);
  await expect.poll(() => eventsShown(page)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  // The page shows an address that would run a script as text, without a link.
  await page.getByRole('tab', { name: 'Artifacts 2' }).click();
  await page.getByRole('link', { name: 'report' }).waitFor();
  expect(await page.getByRole('link', { name: 'trap' }).count()).toBe(0);

  // The address of a run works after a reload, also with a dot in the id.
  await page.getByRole('tab', { name: 'Overview' }).click();
  await page.reload();
  await rowOf(page, 'Test').getByText('1 of 214 failed').waitFor();
  await page.goBack();
  await rowOf(page, 'Nightly').getByText('failed', { exact: true }).waitFor();
});

test('[C3] [U7] two tabs of one run equal the log after the server is killed and restarted', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const tabs = await Promise.all(
    [1, 2].map(() => openTab({ expectedErrors: serverDown, viewport: { width: 1280, height: 3_000 } })),
  );
  for (const tab of tabs) {
    await tab.goto(server.link);
    await tab.getByRole('link', { name: 'Long run' }).click();
    await tab.getByRole('button', { name: 'All events' }).click();
    await completeUpTo(tab, 1);
  }
  const publishSome = async (from: number) => {
    for (let value = from; value < from + 20; value++) {
      await server.publish(draft('r1', 'stage.progress', { stageId: 's1', progress: value }));
    }
  };
  await publishSome(0);
  await server.kill();
  await Promise.all(tabs.map((tab) => tab.getByText('Connection lost').first().waitFor()));
  await server.start();
  await publishSome(20);
  await Promise.all(tabs.map((tab) => completeUpTo(tab, 41)));

  const logged = (await server.history('demo', 'r1')).map(({ seq }) => seq);
  expect(logged).toHaveLength(41);
  for (const tab of tabs) {
    await expect.poll(() => eventsShown(tab)).toEqual(logged);
    await rowOf(tab, 's1').getByText('39 %').waitFor();
  }
});

test('[D4] [U6] after the log is restored from a backup, the page shows the events of the backup', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Nightly' }));
  await server.kill();
  server.backUp();
  await server.start();
  const progress = (value: number) => draft('r1', 'stage.progress', { stageId: 's1', progress: value / 3 });
  await server.publish(...Array.from({ length: 299 }, (_, index) => progress(index)));
  const page = await openTab({ expectedErrors: serverDown });
  await page.goto(server.link);
  await page.getByRole('link', { name: 'Nightly' }).click();
  await page.getByRole('button', { name: 'All events' }).click();
  await page.locator('.event[aria-posinset="300"] .what').waitFor();
  await server.kill();
  server.restore();
  await server.start();
  await completeUpTo(page, 1);
  await expect.poll(() => eventsShown(page)).toEqual([1]);
});

test('[C6] [U7] [U9] every page tells a signed-out user how to sign in', async () => {
  const server = await startProcess();
  const page = await openTab({ expectedErrors: /401/ });
  for (const path of ['/', '/runs/demo/r1']) {
    await page.goto(server.origin + path);
    await page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor();
    await page.getByText('Open the link that the server printed').waitFor();
    expect(await page.getByRole('navigation').count()).toBe(0);
  }
  await page.goto(server.link);
  await page.getByText('No runs yet').waitFor();
});

/** Advances the page's clock in small steps: a jump while a socket opens would pass the time that the page gives it. */
async function runToNextSocket(page: Page): Promise<void> {
  let hasOpened = false;
  page.once('websocket', () => {
    hasOpened = true;
  });
  while (!hasOpened) await page.clock.runFor(1_000);
}

test('[U4] [U7] clocks stop while the connection is lost, also on the next page, and run again after it is back', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }), draft('r1', 'run.started'));
  await server.publish(draft('r1', 'stage.started', { stageId: 's1' }));
  const page = await openTab({ expectedErrors: serverDown });
  await page.clock.install();
  await page.goto(server.link);
  await page.getByRole('link', { name: 'Long run' }).click();
  await completeUpTo(page, 3);
  await page.clock.runFor(5_000);
  const clocks = () => page.locator('.summary .clock dd, .note').allTextContents();
  await server.kill();
  await page.getByText('Connection lost').first().waitFor();
  const held = await clocks();
  expect(held).toHaveLength(2);
  await page.clock.runFor(60_000);
  expect(await clocks()).toEqual(held);
  await page.getByRole('link', { name: 'Runs', exact: true }).click();
  await rowOf(page, 'Long run').waitFor();
  await page.clock.runFor(60_000);
  await expect.poll(() => rowOf(page, 'Long run').locator('.duration').textContent()).toBe(held[0]);
  await page.getByRole('link', { name: 'Long run' }).click();
  await expect.poll(clocks).toEqual(held);
  await server.start();
  await runToNextSocket(page);
  await completeUpTo(page, 3);
  await expect.poll(clocks).not.toEqual(held);
});

test('[C6] [U7] a user who is signed out while the page is open sees since when, and how to sign in', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const page = await openTab({ expectedErrors: /net::ERR_|WebSocket connection|status of 401/ });
  await page.goto(server.link);
  await completeUpTo(page, 1);
  await page.context().clearCookies();
  await server.kill();
  await server.start();
  await page.getByText(/Signed out since \d+:\d+/).waitFor();
  await rowOf(page, 'Long run').waitFor();
  await page.getByRole('button', { name: 'Sign in again' }).waitFor();
});

test('[C2] [U7] the page tries to reconnect until the server is back, without a limit', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const page = await openTab({ expectedErrors: serverDown });
  await page.goto(server.link);
  await completeUpTo(page, 1);
  // The pauses between attempts are long, so the test advances the clock of the page.
  await page.clock.install();
  let tries = 0;
  page.on('websocket', () => tries++);
  await page.goto(`${server.origin}/runs/demo/r1`);
  await completeUpTo(page, 1);
  await server.kill();
  await page.getByText('Connection lost').first().waitFor();
  while (tries < 10) await page.clock.runFor(5_000);
  // The old data stays, marked as not live. Screen readers get the word only.
  await page.getByText(/Connection lost · trying again in \d+ s · not live since \d+:\d+/).waitFor();
  await expect.poll(() => page.getByRole('status').allTextContents()).toEqual(['Connection lost']);
  await page.getByRole('heading', { name: 'Long run' }).waitFor();
  await page.getByRole('button', { name: 'Try now' }).waitFor();

  await server.start();
  await server.publish(draft('r1', 'run.started'));
  await runToNextSocket(page);
  await completeUpTo(page, 2);
  await expect.poll(() => eventsShown(page)).toEqual([1, 2]);
});

test('[U7] [U9] a page that never connected states so with the reason, and recovers by itself', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const page = await openTab({ expectedErrors: /ERR_|WebSocket connection|Failed to load/ });
  await page.goto(server.link);
  await completeUpTo(page, 1);
  // The server answers requests for files only.
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

test('[U9] an unknown address shows “Page not found” and a link to the runs', async () => {
  const server = await startProcess();
  // The browser reports the 404 of `run.get` for an unknown run.
  const page = await openTab({ expectedErrors: /status of 404/ });
  await page.goto(server.link);
  await page.goto(`${server.origin}/nowhere`);
  await page.getByRole('heading', { name: 'Page not found' }).waitFor();
  await page.getByRole('link', { name: 'go to Runs' }).click();
  await page.getByText('No runs yet').waitFor();
  await page.goto(`${server.origin}/runs/demo/not-there`);
  await page.getByText('Run “not-there” has not started').waitFor();
  await server.publish(draft('not-there', 'run.created', { name: 'Here it is' }));
  await page.getByRole('heading', { level: 1, name: 'Here it is' }).waitFor();
});
