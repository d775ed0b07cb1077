import { skipToken } from '@tanstack/react-query';
import { expectTypeOf, test } from 'vitest';
import type { RunwireError } from '../../shared/errors.ts';
import { type RunHeader, useRuns } from './index.ts';

/** Only compiled, never run. */

test('[H5] useRuns takes a filter and returns headers and the number of waiting runs', () => {
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
  expectTypeOf(list.error).toEqualTypeOf<RunwireError | null>();
  // @ts-expect-error -- unknown status
  useRuns({ status: ['paused'] });
  // @ts-expect-error -- unknown option
  useRuns({ runId: 'r1' });
  // @ts-expect-error -- headers have no lists
  list.runs[0]?.stages;
});

test('[H5] [H20] useRuns takes a period, needsMyDecision and skipToken', () => {
  useRuns({ since: '2026-01-01T00:00:00Z', until: '2026-02-01T00:00:00Z', needsMyDecision: true });
  expectTypeOf(useRuns(skipToken).runs).toEqualTypeOf<readonly RunHeader[]>();
  // @ts-expect-error -- an instant is a text
  useRuns({ since: new Date() });
});
