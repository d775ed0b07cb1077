import type { Locator, Page } from 'playwright';
import { expect, test } from 'vitest';
import { openTab, signIn, withBrowser } from './page-harness.ts';
import { openView, type View, views } from './sample-app.ts';
import { findingsOfAll, startFilled } from './whole-pages.ts';

/** Checks of every page and state: accessibility, sideways scrolling, the keyboard, and forced colours. Run `npm run build` first. */

withBrowser();

test('[U90] at 360 px, axe finds nothing on any page in either theme, and no page scrolls sideways', {
  timeout: 600_000,
}, async () => {
  expect(await findingsOfAll(360)).toEqual({});
});

test('[U91] Tab reaches the first run in at most 6 stops', async () => {
  const server = await startFilled();
  const page = await openTab({ viewport: { width: 1440, height: 800 } });
  await signIn(page, server.url);
  await openView(page, server.url, views[0] as View);
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  let stops = 0;
  const isInList = () => page.evaluate(() => document.activeElement?.closest('.runs') !== null);
  do {
    await page.keyboard.press('Tab');
    stops++;
  } while (stops < 20 && !(await isInList()));
  expect(stops).toBeLessThanOrEqual(6);
});

test('[U92] in forced colours, the bars of the timeline and of progress differ from their background', async () => {
  const server = await startFilled();
  const page = await openTab({ forcedColors: 'active' });
  await signIn(page, server.url);
  await openView(page, server.url, { name: '', path: '/runs/ml/risk-model-v14-10', shown: /CUDA/ });
  const bars = await page.locator('.timeline .bar-of').all();
  expect(bars.length).toBeGreaterThan(1);
  for (const bar of bars) expect(await visiblePart(page, bar)).toBeGreaterThan(0.1);
});

/** Returns the part of the pixels of an element that differ from the background of the page. */
async function visiblePart(page: Page, element: Locator): Promise<number> {
  const png = (await element.screenshot()).toString('base64');
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const behind = (background.match(/\d+/g) ?? []).map(Number);
  const blank = await page.context().newPage(); // The app's own page loads no image from a text.
  const part = await blank.evaluate(
    async ([data, behind]) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const context = new OffscreenCanvas(image.width, image.height).getContext(
        '2d',
      ) as OffscreenCanvasRenderingContext2D;
      context.drawImage(image, 0, 0);
      const { data: pixels } = context.getImageData(0, 0, image.width, image.height);
      let visible = 0;
      for (let at = 0; at < pixels.length; at += 4) {
        if (behind.slice(0, 3).some((value, channel) => Math.abs((pixels[at + channel] ?? 0) - value) > 40)) visible++;
      }
      return visible / (pixels.length / 4);
    },
    [png, behind] as const,
  );
  await blank.close();
  return part;
}
