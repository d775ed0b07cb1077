import { chromium } from 'playwright';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { chromium as launchOptions } from '../browser/chromium.ts';
import { secret, tokenFor } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';
import { Example, TIMEOUT_MS } from './example.ts';

const example = new Example('next', inject('tarball'));
beforeAll(() => example.install());
afterAll(() => example[Symbol.asyncDispose]());

test('[K30] Next.js builds examples/next without type errors', async () => {
  const printed = await example.script('build');
  expect(printed).toContain('Compiled successfully');
  expect(printed).toContain('Finished TypeScript');
});

test('[K34] a page of Next.js arrives with its run, hydrates without a difference, and is live beside the own tRPC of the app', async () => {
  const env = { PORT: String(await freePort()), AUTH_SECRET: secret, NEXT_TELEMETRY_DISABLED: '1' };
  const app = example.start(['--import=tsx', 'server.ts'], env);
  const [url] = await app.until(/http:\S+/);
  const browser = await chromium.launch(launchOptions);
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
    const errors: string[] = [];
    const requests: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => void (message.type() === 'error' && errors.push(message.text())));
    page.on('request', (request) => requests.push(new URL(request.url()).pathname));
    const run = page.getByRole('region', { name: 'Run' });
    const chapters = ['Sales: completed', 'Costs: completed', 'Outlook: completed'];

    await page.goto(url);
    await page.getByRole('button', { name: 'Write a report' }).click();
    await run.getByRole('heading', { name: 'Quarterly report: completed' }).waitFor();
    await run.getByRole('status').getByText('live').waitFor();
    expect(await run.locator('ol > li').allTextContents()).toEqual(chapters);

    // A fresh load: what the server has rendered is what the page shows, and later events arrive.
    const response = await page.reload({ waitUntil: 'commit' });
    const rendered = (await response?.text())?.replaceAll('<!-- -->', '');
    expect(rendered).toContain('<h1>Quarterly report: completed</h1>');
    expect(rendered).toContain('<li>Outlook: completed</li>');
    await run.getByRole('status').getByText('live').waitFor();
    const runId = page.url().split('/').at(-1) as string;
    const published = await fetch(`${url}/api/v1/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await tokenFor()}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        type: 'artifact.created',
        projectId: 'reports',
        runId,
        artifactId: 'pdf',
        name: 'report.pdf',
      }),
    });
    expect(published.status).toBe(200);
    await run.getByText('report.pdf').waitFor();

    await page.getByRole('textbox', { name: 'Note' }).fill('numbers match');
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('list', { name: 'Notes' }).getByText('numbers match').waitFor();
    expect(requests).toContain('/api/trpc/note.add');
    expect(requests.filter((path) => path.startsWith('/trpc'))).toEqual([]);
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
  }
});
