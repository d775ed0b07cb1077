import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { useFromNow } from '../../hooks/useNow.ts';
import type { ShownStatus } from './filters.ts';

export const BARS = 96;
export const BAR_MS = 15 * 60_000;
const PAUSE_MS = 2_000;

export type Counts = { readonly [Status in ShownStatus]?: number };
export type Activity = {
  sinceMs: number;
  /** Runs that were created in each quarter of an hour of the last day, by their status. */
  bars: readonly Counts[];
  /** Of open runs all, of ended runs those that were created in the last day. */
  counts: Counts;
  isComplete: boolean;
};

/**
 * Returns the activity of the last 24 hours. It is requested again after a change (`seq`) of a run: at most every 2 s, and the
 * server works on it for at most a twentieth of the time.
 */
export function useActivity(projectId: string | undefined, seq: number | null): Activity | undefined {
  const { client, queryKey } = useRunwire();
  const bar = useFromNow((nowMs) => Math.floor(nowMs / BAR_MS));
  const sinceMs = (bar + 1 - BARS) * BAR_MS;
  const tookMs = useRef(0);
  const { data, refetch } = useQuery({
    queryKey: queryKey('activity', projectId, sinceMs),
    queryFn: async ({ signal }) => {
      const begin = performance.now();
      const until = new Date(sinceMs + BARS * BAR_MS).toISOString();
      const input = { projectId, since: new Date(sinceMs).toISOString(), until, buckets: BARS };
      const { buckets, open, isComplete } = await client.run.activity.query(input, { signal });
      tookMs.current = performance.now() - begin;
      return { sinceMs, bars: buckets, counts: countsOf(buckets, open), isComplete };
    },
    placeholderData: keepPreviousData,
  });
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const known = useRef(seq);
  useEffect(() => {
    if (seq === null || seq === known.current) return;
    const isFirst = known.current === null;
    known.current = seq;
    if (isFirst || timer.current !== undefined) return;
    timer.current = setTimeout(
      () => {
        timer.current = undefined;
        void refetch({ cancelRefetch: false });
      },
      Math.min(60_000, PAUSE_MS + 20 * tookMs.current),
    );
  }, [seq, refetch]);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );
  return data;
}

function countsOf(buckets: readonly Counts[], open: Counts): Counts {
  const counts: { [Status in ShownStatus]?: number } = { ...open };
  for (const status of ['completed', 'failed', 'cancelled'] as const) {
    counts[status] = buckets.reduce((sum, bucket) => sum + (bucket[status] ?? 0), 0);
  }
  return counts;
}
