import { join } from 'node:path';
import { chromium } from 'playwright';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { chromium as launchOptions } from '../browser/chromium.ts';
import { freePort } from '../support/ports.ts';
import { Example, TIMEOUT_MS } from './example.ts';

const example = new Example('react', inject('tarball'));
beforeAll(() => example.install());
afterAll(() => example[Symbol.asyncDispose]());

test('[K30] examples/react has no type errors, and Vite builds it', async () => {
  expect(await example.script('build')).toContain('built in');
});

test('[K33] a page by the hooks alone shows runs live, decides an approval, and goes on after a restart of its server', async () => {
  const env = { PORT: String(await freePort()) };
  const startServer = () => example.start(['--import=tsx', 'server.ts'], env);
  const server = startServer();
  await server.until(/http:/);
  const ofVite = ['--port', String(await freePort()), '--strictPort'];
  const vite = example.start([join('node_modules', 'vite/bin/vite.js'), ...ofVite], env);
  const [url] = await vite.until(/http:\/\/localhost:\d+\//);
  const browser = await chromium.launch(launchOptions);
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(url);
    const untilState = (state: string) => page.getByRole('status').getByText(state, { exact: true }).waitFor();
    await untilState('connected');

    await page.getByRole('button', { name: 'Start a training' }).click();
    const run = page.getByRole('region', { name: 'Run', exact: true });
    await run.getByRole('heading', { name: 'Train the classifier: waiting (live)' }).waitFor();
    const lines = (list: string) => run.locator(`${list} > li`).allTextContents();
    expect(await lines('ul')).toEqual(['Epoch 1: 61 %', 'Epoch 2: 78 %', 'Epoch 3: 86 %', 'Epoch 4: 90 %']);
    expect(await lines('ol')).toEqual(['Train: completed', 'Publish: pending']);

    await page.getByRole('button', { name: '1 new' }).click();
    await page.getByRole('region', { name: 'Approvals' }).getByRole('button', { name: 'Approve' }).click();
    await run.getByRole('heading', { name: 'Train the classifier: completed (live)' }).waitFor();
    expect(await lines('ol')).toEqual(['Train: completed', 'Publish: completed']);
    await page.getByRole('button', { name: 'Train the classifier: completed, 100 %' }).waitFor();
    expect(await page.getByRole('button', { name: 'Approve' }).count()).toBe(0);

    server.process.kill('SIGKILL');
    await server.ended;
    await untilState('reconnecting');
    await startServer().until(/http:/);
    await untilState('connected');
    await page.getByRole('button', { name: 'Start a training' }).click();
    await run.getByText('Epoch 1: 61 %').waitFor();
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
  }
});
