import { describe, expect, test } from 'vitest';
import { appBundle, bundleOf, pages } from './support/bundle.ts';

describe('[C8] an app that only receives or publishes events has no zod in its bundle', () => {
  test.each(Object.entries(pages))('%s', async (_name, app) => {
    const { modules, packageBytes, wholeBytes } = await bundleOf(app);
    expect(modules).toContain('shared/errors.ts');
    expect([...packageBytes.keys()]).not.toContain('zod');
    expect(modules.filter((path) => path.startsWith('server/'))).toEqual([]);
    // `npm run bench:bundle` prints the sizes; this bound only detects a package that should not be there.
    expect(wholeBytes).toBeLessThan(115 * 1024);
  });
});

test('[C8] a publisher in a browser has no code of the spill file', async () => {
  const { modules } = await bundleOf(pages['runwire/publisher'] as string);
  expect(modules).toContain('client/publisher/queue.ts');
  expect(modules.filter((path) => /spill|node\.ts/.test(path))).toEqual([]);
});

test('[U20] the first page of the web app loads at most 120,000 bytes of JavaScript, and no code of other pages', async () => {
  const { firstBytes, firstModules } = await appBundle();
  expect(firstModules).toContain('client/app/pages/runs/RunsPage.tsx');
  const others = /^client\/app\/pages\/(?!runs\/)|@radix-ui|uplot|\/zod\/|^client\/feeds\/run-feed|^shared\/run-fold/;
  expect(firstModules.filter((path) => others.test(path))).toEqual([]);
  expect(firstBytes).toBeLessThanOrEqual(120_000);
});
