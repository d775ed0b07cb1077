import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { openRunServer } from '../../server/run-server.ts';
import { secret, tokenFor } from '../support/harness.ts';
import { chromium as launchOptions } from './chromium.ts';
import { fillWithSamples, openView, views } from './sample-app.ts';

/**
 * `npm run screenshots [-- <folder> [<view> …]]` writes a picture of every page and state of the built web app: 1440 px light,
 * 1440 px dark, and 360 px. Default folder: `docs/screenshots`, where only the pictures of `kept` are written.
 */

const kept = [
  'run-waiting-light',
  'run-failed-light',
  'approvals-card-dark',
  'runs-light',
  'runs-360',
  'search-results-light',
];
const [folder, ...only] = process.argv.slice(2);
const target = folder ?? fileURLToPath(new URL('../../docs/screenshots', import.meta.url));
mkdirSync(target, { recursive: true });

const server = await openRunServer({ databaseUrl: 'memory:', authSecret: secret, port: 0, shutdownSpreadMs: 0 });
const { url } = await server.listen();
await fillWithSamples(server);
const browser = await chromium.launch(launchOptions);
const variants = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  { name: '360', colorScheme: 'light', viewport: { width: 360, height: 740 } },
] as const;
for (const { name, ...options } of variants) {
  const context = await browser.newContext({ ...options, timezoneId: 'Europe/Berlin' });
  const page = await context.newPage();
  await page.goto(`${url}/login?token=${await tokenFor({ sub: 'vera' })}`);
  for (const view of views) {
    const file = `${view.name}-${name}`;
    if (only.length > 0 ? !only.includes(view.name) : !folder && !kept.includes(file)) continue;
    await openView(page, url, view).catch(() => console.log(`${file}: the page does not show its content`));
    writeFileSync(`${target}/${file}.png`, await page.screenshot());
  }
  await context.close();
}
await browser.close();
await server.close();
