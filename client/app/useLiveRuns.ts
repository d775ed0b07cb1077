import { useEffect, useMemo, useRef, useState } from 'react';
import { type Gap, type RunHeader, trpc } from '../react.tsx';

const PAGE_RUNS = 100;
const keyOf = (run: RunHeader) => `${run.projectId} ${run.runId}`;

/**
 * Runs, newest first, that change in place: the list as it was at a position of the log, and the headers that changed
 * since. Changes are shown once a frame.
 */
export function useLiveRuns() {
  const list = trpc.run.list.useInfiniteQuery(
    { limit: PAGE_RUNS },
    { getNextPageParam: (page) => page.nextCursor, structuralSharing: false },
  );
  const pages = list.data?.pages;
  const position = pages?.[0]?.position;

  const [changed, setChanged] = useState<ReadonlyMap<string, RunHeader>>(new Map());
  const [signal, setSignal] = useState<{ seq: number | null; isLive: boolean; gap: Gap | null }>({
    seq: null,
    isLive: false,
    gap: null,
  });
  const arrived = useRef<RunHeader[]>([]);
  const frame = useRef<number | undefined>(undefined);
  const flush = () => {
    frame.current = undefined;
    const headers = arrived.current;
    arrived.current = [];
    setChanged((before) => new Map([...before, ...headers.map((run) => [keyOf(run), run] as const)]));
    setSignal((before) => ({ ...before, seq: Math.max(before.seq ?? 0, headers.at(-1)?.lastSeq ?? 0) }));
  };
  useEffect(
    () => () => {
      if (frame.current !== undefined) cancelAnimationFrame(frame.current);
      frame.current = undefined;
    },
    [],
  );

  trpc.onRunSummary.useSubscription(
    { lastEventId: position },
    {
      enabled: position !== undefined,
      onData: ({ data }) => {
        if (!('type' in data)) {
          arrived.current.push(data);
          frame.current ??= requestAnimationFrame(flush);
        } else if (data.type === 'stream.live') {
          setSignal((before) => ({ ...before, seq: data.seq, isLive: true }));
        } else {
          const { reason, fromSeq, toSeq } = data;
          setSignal({ seq: toSeq, isLive: false, gap: { reason, fromSeq, toSeq } });
          // What changed meanwhile is in the new list, and its position is where the subscription begins again.
          setChanged(new Map());
          void list.refetch();
        }
      },
    },
  );

  const runs = useMemo(
    () => merge(pages?.flatMap((page) => page.runs) ?? [], changed, list.hasNextPage),
    [pages, changed, list.hasNextPage],
  );
  return {
    list,
    runs,
    ...signal,
    phase: signal.isLive ? ('live' as const) : list.isRefetching ? ('gap' as const) : ('replaying' as const),
  };
}

/** Changed headers in the place of listed ones; new runs on top. A run older than what is listed waits for its page. */
function merge(listed: RunHeader[], changed: ReadonlyMap<string, RunHeader>, isCut: boolean): RunHeader[] {
  const runs = new Map(listed.map((run) => [keyOf(run), run]));
  const oldest = listed.at(-1)?.createdAt ?? '';
  for (const [key, run] of changed) {
    const known = runs.get(key);
    if (known ? run.lastSeq >= known.lastSeq : !isCut || run.createdAt >= oldest) runs.set(key, run);
  }
  return [...runs.values()].sort((a, b) => (a.createdAt < b.createdAt ? 1 : a.createdAt > b.createdAt ? -1 : 0));
}
