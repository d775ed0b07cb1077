import { expect, test } from 'vitest';
import { withBrowser } from './page-harness.ts';
import { findingsOfAll } from './whole-pages.ts';

/** The other width of `whole-pages.test.ts`. */

withBrowser();

test('[U90] at 1440 px, axe finds nothing on any page in either theme, and no page scrolls sideways', {
  timeout: 600_000,
}, async () => {
  expect(await findingsOfAll(1440)).toEqual({});
});
