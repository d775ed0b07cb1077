import { useMemo } from 'react';
import type { EventFilter, RunView } from '../../../../hooks/index.ts';
import { type ParamChanges, useParams } from '../../../lib/navigation.tsx';

/** Failures, and decisions about approvals. */
export const PROBLEM_TYPES: readonly string[] = ['run.failed', 'stage.failed', 'approval.granted', 'approval.denied'];

export type ListedFilter = EventFilter & {
  /** Whether the filter leaves out any events. */
  isActive: boolean;
  /** Whether the list shows each progress event in a row of its own. */
  showsAll: boolean;
  isRelative: boolean;
};

/** Parameters that leave out events, as removed ones. */
export const noFilter: ParamChanges = { q: undefined, types: undefined, stage: undefined, attempt: undefined };

/** Returns the filter of the event list in the address. A stage that the run does not have is ignored. */
export function useEventFilter({ stages }: Pick<RunView, 'stages'>): ListedFilter {
  const params = useParams();
  const [text, types, named, attempt] = ['q', 'types', 'stage', 'attempt'].map((name) => params.get(name) ?? '');
  const stage = named && stages.some(({ stageId }) => stageId === named) ? named : '';
  const [showsAll, isRelative] = [params.has('all'), params.has('relative')];
  return useMemo(() => {
    const list = types?.split(',').filter((type) => type !== '') ?? [];
    const number = /^[1-9]\d{0,6}$/.test(attempt ?? '') ? Number(attempt) : undefined;
    const filter: EventFilter = {
      ...(text?.trim() ? { text: text.trim().slice(0, 2_000) } : {}),
      ...(list.length > 0 ? { types: list } : {}),
      ...(stage ? { stageId: stage } : {}),
      ...(stage && number !== undefined ? { attempt: number } : {}),
    };
    return { ...filter, isActive: Object.keys(filter).length > 0, showsAll, isRelative };
  }, [text, types, stage, attempt, showsAll, isRelative]);
}

/** The filter as the server takes it. */
export const inputOf = ({ types, stageId, attempt, text }: EventFilter) => ({
  ...(types ? { types: [...types] as never[] } : {}),
  ...(stageId === undefined ? {} : { stageId }),
  ...(attempt === undefined ? {} : { attempt }),
  ...(text === undefined ? {} : { text }),
});
