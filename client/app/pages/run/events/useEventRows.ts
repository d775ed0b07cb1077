import { useLayoutEffect, useMemo, useSyncExternalStore } from 'react';
import { type RunEvent, type RunView, useRunEvents, useRunwire } from '../../../../hooks/index.ts';
import { useIsPast } from '../../../components/Past.tsx';
import { useSetting } from '../../../hooks/useSetting.ts';
import { dayOf } from '../../../lib/format.ts';
import { inputOf, type ListedFilter } from './event-filter.ts';
import { EventPages } from './event-pages.ts';
import { EventRows } from './event-rows.ts';

/** Number of events kept from the subscription. Older events are fetched in pages (`event-pages.ts`). */
const LIVE_EVENTS = 500;

export type ListedEvents = {
  rows: EventRows;
  pages: EventPages;
  live: readonly RunEvent[];
  /** The list ends at this event: the latest, or that of the moment that the page shows. */
  end: number;
};

/** Returns the rows of the event list, and the events of them. `wantsAll`: looks through the whole run. */
export function useEventRows(run: RunView, filter: ListedFilter): ListedEvents {
  const { projectId, runId } = run;
  const { client } = useRunwire();
  const isPast = useIsPast();
  const isUtc = useSetting('times')[0] === 'utc';
  const { events: live } = useRunEvents({ projectId, runId, limit: LIVE_EVENTS });
  const { types, stageId, attempt, text, showsAll } = filter;
  const typesKey = types?.join(',');
  // biome-ignore lint/correctness/useExhaustiveDependencies: `typesKey` stands for `types`.
  const input = useMemo(
    () => ({ projectId, runId, ...inputOf({ types, stageId, attempt, text }) }),
    [projectId, runId, typesKey, stageId, attempt, text],
  );
  const rows = useMemo(
    () =>
      new EventRows((fromRunSeq, toRunSeq) => client.run.positions.query({ ...input, fromRunSeq, toRunSeq }), {
        filter: input,
        isFolding: !showsAll,
        dayOf: (at) => dayOf(at, isUtc),
      }),
    [client, input, showsAll, isUtc],
  );
  const pages = useMemo(
    () =>
      new EventPages(async (fromRunSeq, limit) => {
        const { events } = await client.run.history.query({ ...input, fromRunSeq, limit });
        return events;
      }),
    [client, input],
  );
  useSyncExternalStore(rows.subscribe, rows.getVersion);
  useSyncExternalStore(pages.subscribe, pages.getVersion);
  const latest = Math.max(run.lastRunSeq, live.at(-1)?.runSeq ?? 0);
  useLayoutEffect(() => rows.update(latest, live), [rows, latest, live]);
  return { rows, pages, live, end: isPast ? run.lastRunSeq : latest };
}

/** Returns the event at the position `runSeq`, if `live` has it. Live events are contiguous, except after a gap. */
export function liveEvent(live: readonly RunEvent[], runSeq: number): RunEvent | undefined {
  const event = live[runSeq - (live[0]?.runSeq ?? 0)];
  return event?.runSeq === runSeq ? event : undefined;
}
