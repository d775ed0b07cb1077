import { expect, test } from 'vitest';
import { withBrowser } from './page-harness.ts';
import { findingsOfAll } from './whole-pages.ts';

/** The other sizes and themes of `whole-pages.test.ts`. */

withBrowser();

test.each([
  [1440, 'light'],
  [1440, 'dark'],
  [360, 'light'],
] as const)(
  '[U90] at %i px in the %s theme, axe finds nothing on any page, and no page scrolls sideways',
  { timeout: 600_000 },
  async (width, colorScheme) => {
    expect(await findingsOfAll(width, colorScheme)).toEqual({});
  },
);
