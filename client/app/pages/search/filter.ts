import { useMemo } from 'react';
import { type RunEventType, type UseSearchOptions, useConnection, useRunwire } from '../../../hooks/index.ts';
import { type ParamChanges, useParams } from '../../lib/navigation.tsx';
import { sinceOf, spanName } from '../../lib/period.ts';

/** The search. The query of the URL holds it, so that a link and a reload keep it. */

export type SearchFilter = {
  text: string;
  types: readonly string[];
  projects: readonly string[];
  actors: readonly string[];
  runId: string | undefined;
  /** An instant, a span up to now such as `7d`, or `all`. */
  since: string;
  until: string | undefined;
  /** Values of the query parameter `type` that are not an event type. */
  unknownTypes: readonly string[];
};

export const DEFAULT_SINCE = '7d';

export type Search = {
  filter: SearchFilter;
  /** False for an empty search, which finds nothing. A project alone is where to search, and no search. */
  isSearch: boolean;
  options: UseSearchOptions;
};

export function useSearchFilter(): Search {
  const params = useParams();
  const { events } = useRunwire();
  const { serverTimeOffsetMs } = useConnection();
  const key = params.toString();
  // biome-ignore lint/correctness/useExhaustiveDependencies: without the time; a span begins when it was chosen.
  return useMemo(() => {
    const since = params.get('since') ?? DEFAULT_SINCE;
    const named = params.getAll('type').flatMap((list) => list.split(','));
    const filter: SearchFilter = {
      text: params.get('q') ?? '',
      types: unique(named.filter((type) => Object.hasOwn(events, type))),
      projects: unique(params.getAll('project')),
      actors: unique(params.getAll('actor')),
      runId: params.get('run') ?? undefined,
      since: since === 'all' || sinceOf(since, 0) ? since : DEFAULT_SINCE,
      until: sinceOf(params.get('until') ?? undefined, 0),
      unknownTypes: named.filter((type) => type !== '' && !Object.hasOwn(events, type)),
    };
    const { text, types, projects, actors, runId, until } = filter;
    const options: UseSearchOptions = {
      text: text.trim() === '' ? undefined : text,
      types: types.length === 0 ? undefined : (types as RunEventType[]),
      projectId: projects.length === 0 ? undefined : projects,
      actor: actors.length === 0 ? undefined : actors,
      runId,
      since: sinceOf(filter.since === 'all' ? undefined : filter.since, Date.now() + serverTimeOffsetMs),
      until,
    };
    const isSearch = text.trim() !== '' || types.length > 0 || actors.length > 0 || runId !== undefined;
    return { filter, isSearch, options };
  }, [key, events]);
}

const unique = (values: readonly string[]) => [...new Set(values.filter((value) => value !== ''))];

/** Converts changes of the search to changes of query parameters. */
export const paramsOf = (changes: Partial<SearchFilter>): ParamChanges => ({
  ...('text' in changes ? { q: changes.text || undefined } : {}),
  ...('types' in changes ? { type: changes.types } : {}),
  ...('projects' in changes ? { project: changes.projects } : {}),
  ...('actors' in changes ? { actor: changes.actors } : {}),
  ...('runId' in changes ? { run: changes.runId } : {}),
  ...('since' in changes ? { since: changes.since === DEFAULT_SINCE ? undefined : changes.since } : {}),
  ...('until' in changes ? { until: changes.until } : {}),
});

/** Words for the period: `in the last 7 days`. */
export function periodWords({ since, until }: SearchFilter): string {
  if (since === 'all' && !until) return 'in all events';
  const span = spanName(since)?.replace(/^Last/, 'in the last');
  return until || !span ? 'in this period' : span;
}

/** The number of chosen facets. */
export const facetsChosen = ({ types, projects, actors, until, since }: SearchFilter): number =>
  types.length + projects.length + actors.length + (until || Number.isFinite(Date.parse(since)) ? 1 : 0);

const OPERATOR = /(^|\s)(type|project|who):("[^"]*"?|\S+)/g;

/**
 * Takes operators such as `type:stage.failed` out of a text. An operator at the end of the text is taken only if `isWhole`: the
 * user may be typing it. An unknown event type stays in the text.
 */
export function withoutOperators(
  text: string,
  isWhole: boolean,
  isType: (type: string) => boolean,
): { text: string; types: string[]; projects: string[]; actors: string[]; isTyping: boolean } {
  const found = { types: [] as string[], projects: [] as string[], actors: [] as string[], isTyping: false };
  const rest = text.replace(OPERATOR, (all, _, name: string, quoted: string, at: number) => {
    const value = quoted.replaceAll('"', '');
    if (value === '' || (name === 'type' && !isType(value))) return all;
    if (!isWhole && at + all.length === text.length) {
      found.isTyping = true;
      return all;
    }
    ({ type: found.types, project: found.projects, who: found.actors })[name]?.push(value);
    return ' ';
  });
  const isChanged = found.types.length + found.projects.length + found.actors.length > 0;
  return { ...found, text: isChanged ? rest.replace(/\s+/g, ' ').trimStart() : text };
}
