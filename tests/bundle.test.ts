import { describe, expect, test } from 'vitest';
import { bundleOf } from './support/bundle.ts';

const page = (entry: string, hook: string) => `
  import { createElement } from 'react';
  import { createRoot } from 'react-dom/client';
  import { RunwireProvider, ${hook} as hook } from '${entry}';
  const Page = () => String(hook({ runId: 'r1' }));
  createRoot(document.body).render(createElement(RunwireProvider, {}, createElement(Page)));`;

describe('[C8] an app that only receives or publishes events has no zod in its bundle', () => {
  test.each([
    ['useRunEvents of runwire/hooks', page('runwire/hooks', 'useRunEvents')],
    ['useRun of runwire/hooks', page('runwire/hooks', 'useRun')],
    ['useRunEvents of runwire/react', page('runwire/react', 'useRunEvents')],
    ['runwire/client', `import { createRunwireClient } from 'runwire/client'; createRunwireClient({ url: '/' });`],
    ['runwire/publisher', `import { createPublisher } from 'runwire/publisher'; createPublisher({ url: '/' });`],
    ['RunwireError of runwire/events', `import { RunwireError } from 'runwire/events'; console.log(RunwireError);`],
  ])(
    '%s',
    async (_name, app) => {
      const { modules, gzipBytes } = await bundleOf(app);
      expect(modules).toContain('shared/errors.ts');
      expect(gzipBytes.keys()).not.toContain('zod');
      expect(modules.filter((path) => path.startsWith('server/'))).toEqual([]);
    },
    60_000,
  );
});
