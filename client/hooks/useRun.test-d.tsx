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
