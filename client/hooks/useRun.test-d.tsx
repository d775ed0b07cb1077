import { skipToken } from '@tanstack/react-query';
import { expectTypeOf, test } from 'vitest';
import type { RunwireError } from '../../shared/errors.ts';
import { type ConnectionState, type Gap, type RunView, useRun } from './index.ts';

/** Only compiled, never run. */

test('[H3] useRun takes a run and returns its view and state', () => {
  const live = useRun({ runId: 'r1', projectId: 'p1', enabled: true });
  expectTypeOf(live.run).toEqualTypeOf<RunView | undefined>();
  expectTypeOf(live.status).toEqualTypeOf<'pending' | 'success' | 'error'>();
  expectTypeOf(live.error).toEqualTypeOf<RunwireError | null>();
  expectTypeOf(live.phase).toEqualTypeOf<'replaying' | 'live' | 'gap'>();
  expectTypeOf(live.connectionState).toEqualTypeOf<ConnectionState>();
  expectTypeOf(live.seq).toEqualTypeOf<number | null>();
  expectTypeOf(live.gap).toEqualTypeOf<Gap | null>();
  expectTypeOf(live.reconnect).toEqualTypeOf<() => void>();
  // @ts-expect-error -- runId is missing
  useRun({ projectId: 'p1' });
  // @ts-expect-error -- a fold needs all events of the run
  useRun({ runId: 'r1', types: ['run.failed'] });
  // @ts-expect-error -- runId is a string
  useRun({ runId: 1 });
});

test('[H15] [H20] `select` sets the type of the run, and skipToken takes the place of the options', () => {
  const selected = useRun({ runId: 'r1', select: (run) => run.stages.length, stopOnEnd: true, pauseWhenHidden: true });
  expectTypeOf(selected.run).toEqualTypeOf<number | undefined>();
  const maybe = useRun(Math.random() > 0.5 ? { runId: 'r1' } : skipToken);
  expectTypeOf(maybe.run).toEqualTypeOf<RunView | undefined>();
  // @ts-expect-error -- there is no such field
  useRun({ runId: 'r1', select: (run) => run.nothing });
  // @ts-expect-error -- without a run there is only skipToken
  useRun(undefined);
});
