import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import { chromium as launchOptions } from './chromium.ts';

/** The built web app, served by the built server in a process of its own, as users have them. `npm run build` first. */

const main = fileURLToPath(new URL('../../dist/server/main.js', import.meta.url));

let browser: Browser;
beforeAll(async () => {
  browser = await chromium.launch(launchOptions);
});
afterAll(() => browser.close());

/** `node dist/server/main.js` with a data folder of its own; killed, it can be started again at the same address. */
async function startProcess() {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-page-'));
  let child: ChildProcess | undefined;
  let port = '0';
  const start = async (): Promise<string> => {
    const { PATH } = process.env;
    const started = spawn(process.execPath, [main], { cwd: folder, env: { PATH, PORT: port } });
    child = started;
    let output = '';
    const link = await new Promise<string>((resolve, reject) => {
      started.stdout.on('data', (data) => {
        output += data;
        const found = /^Open (\S+)$/m.exec(output);
        if (found?.[1]) resolve(found[1]);
      });
      started.stderr.on('data', (data) => {
        output += data;
      });
      started.once('exit', () => reject(new Error(`the server ended: ${output}`)));
    });
    port = new URL(link).port;
    return link;
  };
  const kill = async () => {
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  const link = await start();
  onTestFinished(async () => {
    await kill();
    rmSync(folder, { recursive: true });
  });
  const { origin, searchParams } = new URL(link);
  const headers = { authorization: `Bearer ${searchParams.get('token')}`, 'content-type': 'application/json' };
  const publish = async (...events: RunEventDraft[]) => {
    const response = await fetch(`${origin}/api/v1/events`, { method: 'POST', headers, body: JSON.stringify(events) });
    if (!response.ok) throw new Error(await response.text());
  };
  const history = async (projectId: string, runId: string): Promise<RunEvent[]> => {
    const input = encodeURIComponent(JSON.stringify({ projectId, runId, limit: 500 }));
    const response = await fetch(`${origin}/trpc/run.history?input=${input}`, { headers });
    return ((await response.json()) as { result: { data: { events: RunEvent[] } } }).result.data.events;
  };
  return { link, origin, publish, history, start, kill };
}

/** A tab of a browser of its own: with its own cookies. Anything that the page's console complains of fails the test. */
async function openTab(options: { mayComplain?: RegExp } = {}): Promise<Page> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    if (!options.mayComplain?.test(message.text())) complaints.push(message.text());
  });
  onTestFinished(async () => {
    await context.close();
    expect(complaints).toEqual([]);
  });
  return page;
}

const draft = (runId: string, type: RunEventDraft['type'], fields: object = {}) =>
  ({ projectId: 'demo', runId, type, ...fields }) as RunEventDraft;
const rowOf = (page: Page, name: string) => page.getByRole('row').filter({ hasText: name });
const seqsShown = (page: Page) =>
  page
    .getByRole('log')
    .locator('.seq')
    .evaluateAll((all) => all.map((one) => Number(one.textContent?.replace(/\D/g, ''))));

test('[C4] opened by the printed link, the app lists runs and shows the stages of one as they go', async () => {
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
  expect(await seqsShown(page)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  // An address that would run a script is shown, and is no link.
  await page.getByRole('link', { name: 'report' }).waitFor();
  expect(await page.getByRole('link', { name: 'trap' }).count()).toBe(0);

  // The address of a run can be opened by itself, dots and all.
  await page.reload();
  await rowOf(page, 'Test').getByText('1 of 214 failed').waitFor();
  await page.goBack();
  await rowOf(page, 'Nightly').getByText('failed').waitFor();
});

test('[C3] two tabs on one run stay equal to the log through the death of the server', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const tabs = await Promise.all(
    [1, 2].map(() => openTab({ mayComplain: /ERR_CONNECTION_REFUSED|WebSocket connection/ })),
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
    expect(await seqsShown(tab)).toEqual(logged);
    await rowOf(tab, 's1').getByText('39 %').waitFor();
  }
});

test('[C6] who is signed out is told how to sign in, on every page', async () => {
  const server = await startProcess();
  const page = await openTab({ mayComplain: /401/ });
  for (const path of ['/', '/runs/demo/r1']) {
    await page.goto(server.origin + path);
    await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
    await page.getByText('Open the link that the server printed').waitFor();
  }
  await page.goto(server.link);
  await page.getByText('No runs yet').waitFor();
});

test('[C2] a server that stays away is given up, and tried again when asked to', async () => {
  const server = await startProcess();
  await server.publish(draft('r1', 'run.created', { name: 'Long run' }));
  const page = await openTab({ mayComplain: /ERR_CONNECTION_REFUSED|WebSocket connection/ });
  await page.goto(server.link);
  await page.getByText('Live · seq 1').waitFor();
  // Waiting is what takes long: the page's clock is wound on.
  await page.clock.install();
  await page.goto(`${server.origin}/runs/demo/r1`);
  await page.getByText('Live · seq 1').waitFor();
  await server.kill();
  await page.getByText('Reconnecting').first().waitFor();
  const button = page.getByRole('button', { name: 'Try again' });
  while (!(await button.isVisible())) await page.clock.runFor(5_000);
  await page.getByText('Not connected').waitFor();

  await server.start();
  await server.publish(draft('r1', 'run.started'));
  await button.click();
  await page.clock.runFor(1_000);
  await page.getByText('Live · seq 2').waitFor();
  expect(await seqsShown(page)).toEqual([1, 2]);
});

test('an address without a page says so, and where to go', async () => {
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
