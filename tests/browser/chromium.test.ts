import { expect, test } from 'vitest';
import { chromium, hasChromium } from './chromium.ts';

test.skipIf(!hasChromium)(`all tests in a real browser run, with ${chromium.executablePath}`, () => {
  expect(hasChromium).toBe(true);
});
