import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { type RunEvent, type RunEventType, type RunView, useRunwire } from '../../../../hooks/index.ts';

/** Events of a run that stand out on the slider of time travel. */

export type MarkKind = 'failure' | 'decision' | 'approval' | 'stage';
export type Mark = { runSeq: number; kind: MarkKind; text: string };

const kinds: { [T in RunEventType]?: MarkKind } = {
  'stage.failed': 'failure',
  'run.failed': 'failure',
  'approval.granted': 'decision',
  'approval.denied': 'decision',
  'governance.required': 'approval',
  'stage.started': 'stage',
  'stage.completed': 'stage',
};
export const markSigns: { [Kind in MarkKind]: string } = { failure: '✕', decision: '◆', approval: '◇', stage: '●' };

/** Above this number of stages, the beginnings and ends of stages have no marks. */
const MAX_STAGES = 500;
const MAX_PAGES = 5;
const PAGE_EVENTS = 500;
/** The slider has this many places for marks. Of the marks in one place, the most important one is shown. */
const PLACES = 300;
const importance: readonly MarkKind[] = ['stage', 'approval', 'decision', 'failure'];

/** Returns the marks of a run, in order, up to the first 2,500. */
export function useMarks(run: RunView): readonly Mark[] {
  const { client, queries, queryKey } = useRunwire();
  const { projectId, runId } = run;
  const hasStages = run.counts.stages <= MAX_STAGES;
  // Further events have marks after the next visit: a mark that is missing at the end hides nothing.
  const { data } = useQuery(
    {
      queryKey: queryKey('marks', { projectId, runId, hasStages }),
      queryFn: async ({ signal }) => {
        const types = (Object.keys(kinds) as RunEventType[]).filter((type) => hasStages || kinds[type] !== 'stage');
        const events: RunEvent[] = [];
        let cursor: string | undefined;
        for (let page = 0; page < MAX_PAGES; page++) {
          const input = { projectId, runId, types, limit: PAGE_EVENTS, cursor };
          const found = await client.run.history.query(input, { signal });
          events.push(...(found.events as RunEvent[]));
          cursor = found.nextCursor;
          if (cursor === undefined) break;
        }
        return events;
      },
      staleTime: 0,
    },
    queries,
  );
  return useMemo(() => (data ?? []).map((event) => markOf(event, run)), [data, run]);
}

function markOf(event: RunEvent, run: RunView): Mark {
  const kind = kinds[event.type] ?? 'stage';
  const stageId = 'stageId' in event ? event.stageId : undefined;
  const stage = run.stages.find((one) => one.stageId === stageId);
  const what = event.type.replace('.', ' ').replace('governance required', 'approval requested');
  const name = stage?.name ?? ('title' in event ? event.title : (stageId ?? ''));
  return { runSeq: event.runSeq, kind, text: name === '' ? what : `${what}: ${name}` };
}

/** Leaves out marks that would lie on another: the more important one stays. */
export function spread(marks: readonly Mark[], lastRunSeq: number): readonly Mark[] {
  const places = new Map<number, Mark>();
  for (const mark of marks) {
    const place = Math.round((mark.runSeq / lastRunSeq) * PLACES);
    const other = places.get(place);
    if (!other || importance.indexOf(mark.kind) > importance.indexOf(other.kind)) places.set(place, mark);
  }
  return [...places.values()];
}
