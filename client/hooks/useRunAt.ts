import { useEffect, useMemo, useState } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import { runwireErrorOf } from '../errors.ts';
import { PastRun, type PastState } from '../feeds/past-run.ts';
import { useRunwire } from './context.ts';

/** Options of `useRunAt`. With `runSeq: null` the hook is idle. */
export type UseRunAtOptions = {
  runId: string;
  /** Project of the run. Required only if the user may read several projects that have a run with this id. */
  projectId?: string | undefined;
  /** Number of an event in the run, from 1. Null: the hook is idle. */
  runSeq: number | null;
};

/** Result of `useRunAt`: the run just after an event, and that event. */
export type UseRunAtReturn = Partial<PastState> & {
  /** True while the state at `runSeq` is loading. The returned state is then the previous one of this run. */
  isLoading: boolean;
  /** Why there is no state at `runSeq`; null otherwise. `EVENT_NOT_FOUND`: no such event, or retention has removed it. */
  error: RunwireError | null;
};

type Result = { of: PastRun; runSeq: number; state?: PastState; error?: RunwireError };

/**
 * Returns a run as it was just after one of its events: the fold of its events up to that one, as the live page folds them.
 * Steps within 500 events of a loaded state need no request.
 */
export function useRunAt({ runId, projectId, runSeq }: UseRunAtOptions): UseRunAtReturn {
  const { feeds } = useRunwire();
  const past = useMemo(() => new PastRun(feeds, { runId, projectId }), [feeds, runId, projectId]);
  const [result, setResult] = useState<Result | null>(null);
  useEffect(() => {
    if (runSeq === null) return;
    const abort = new AbortController();
    past.at(runSeq, abort.signal).then(
      (state) => {
        if (!abort.signal.aborted) setResult({ of: past, runSeq, state });
      },
      (error) => {
        if (!abort.signal.aborted) setResult({ of: past, runSeq, error: runwireErrorOf(error) });
      },
    );
    return () => abort.abort();
  }, [past, runSeq]);
  const known = runSeq !== null && result?.of === past ? result : null;
  return {
    ...known?.state,
    isLoading: runSeq !== null && known?.runSeq !== runSeq,
    error: (known?.runSeq === runSeq && known?.error) || null,
  };
}
