import { describe, expect, test } from 'vitest';
import { bundleOf, pages } from './support/bundle.ts';

describe('[C8] an app that only receives or publishes events has no zod in its bundle', () => {
  test.each(Object.entries(pages))('%s', { timeout: 60_000 }, async (_name, app) => {
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
