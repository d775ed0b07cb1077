import { expectTypeOf, test } from 'vitest';
import { type RunHeader, useRuns } from './index.tsx';

/** Never run: what is wrong here does not compile. */

test('[H5] useRuns takes a filter, and gives headers and what waits', () => {
  useRuns();
  const list = useRuns({
    projectId: 'p1',
    status: ['running', 'waiting'],
    labels: { team: 'ops' },
    text: 'x',
    limit: 20,
  });
  expectTypeOf(list.runs).toEqualTypeOf<readonly RunHeader[]>();
  expectTypeOf(list.newCount).toEqualTypeOf<number>();
  expectTypeOf(list.showNew).toEqualTypeOf<() => void>();
  expectTypeOf(list.hasNextPage).toEqualTypeOf<boolean>();
  expectTypeOf(list.fetchNextPage).toEqualTypeOf<() => Promise<void>>();
  expectTypeOf(list.status).toEqualTypeOf<'pending' | 'success' | 'error'>();
  expectTypeOf(list.error).toEqualTypeOf<Error | null>();
  // @ts-expect-error -- there is no such status
  useRuns({ status: ['paused'] });
  // @ts-expect-error -- there is no such option
  useRuns({ runId: 'r1' });
  // @ts-expect-error -- headers have no lists
  list.runs[0]?.stages;
});
