import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright';
import { onTestFinished } from 'vitest';
import { startServer } from '../support/harness.ts';
import { openTab, signIn } from './page-harness.ts';
import { fillWithSamples, openView, views } from './sample-app.ts';

/** Checks of every page and state of the app, for `whole-pages.test.ts` and `whole-pages.long.test.ts`. */

const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

export async function startFilled() {
  const server = await startServer();
  onTestFinished(() => server.close());
  await fillWithSamples(server);
  return server;
}

/** Returns what is wrong with the views in both themes, by name of the view: nothing, if all are right. */
export async function findingsOfAll(width: number) {
  const server = await startFilled();
  const size = { width, height: 800 };
  const page = await openTab({ viewport: size, expectedErrors: /4\d\d|WebSocket|ERR_/ });
  await signIn(page, server.url);
  const found: { [view: string]: string[] } = {};
  for (const view of views) {
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize(size);
    const here = await openView(page, server.url, view).then(
      () => findingsOf(page),
      () => ['the page does not show its content'],
    );
    if (here.length > 0) found[view.name] = here;
    await view.leave?.(page);
  }
  return found;
}

/** In the mode of pages without frames, axe needs no second page for its results. */
const axe = (page: Page) => new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ['violations'] });

async function findingsOf(page: Page): Promise<string[]> {
  const { width, height, isWide } = await page.evaluate(() => ({
    width: window.innerWidth,
    height: document.documentElement.scrollHeight,
    isWide: document.documentElement.scrollWidth > window.innerWidth,
  }));
  // In a window as high as the page, no bar that stays in view covers a part of it.
  await page.setViewportSize({ width, height: Math.min(3_000, Math.max(800, height)) });
  const inLight = await axe(page).withTags(rules).analyze();
  // The themes differ in their colours alone.
  await page.emulateMedia({ colorScheme: 'dark' });
  const inDark = await axe(page).withRules(['color-contrast', 'link-in-text-block']).analyze();
  const found = Object.entries({ light: inLight, dark: inDark }).flatMap(([theme, { violations }]) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${theme}: ${id}: ${target.join(' ')}`)),
  );
  return isWide ? [...found, 'the page scrolls sideways'] : found;
}
