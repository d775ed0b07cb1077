import { useMemo } from 'react';
import { type UseRunsOptions, useConnection } from '../../../hooks/index.ts';
import { type ParamChanges, useParams } from '../../lib/navigation.tsx';
import { sinceOf } from '../../lib/period.ts';

/** The filter of the runs list. The query of the URL holds the filter, so that a link and a reload keep it. */

export const shownStatuses = ['created', 'running', 'waiting', 'completed', 'failed', 'cancelled'] as const;
export type ShownStatus = (typeof shownStatuses)[number];

export type RunsFilter = {
  status: readonly ShownStatus[];
  projectId: string | undefined;
  /** `name=value`; a name contains no `=`. */
  labels: readonly string[];
  text: string;
  /** An instant, or a time span up to now such as `24h`. */
  since: string | undefined;
  /** An instant. */
  until: string | undefined;
  /** Only runs with an approval that waits for the user. */
  needsMe: boolean;
  /** Values of the query parameter `status` that are not a status. */
  unknownStatuses: readonly string[];
};

/** The query parameters of the filter. */
export const FILTER_PARAMS = ['project', 'status', 'label', 'text', 'since', 'until', 'needs'] as const;

export function useRunsFilter(): { filter: RunsFilter; isFiltered: boolean; options: UseRunsOptions } {
  const params = useParams();
  const { serverTimeOffsetMs } = useConnection();
  // Without the time: a span such as `24h` begins when it was chosen, otherwise the list would be loaded again and again.
  const key = FILTER_PARAMS.map((name) => params.getAll(name).join('\n')).join('\n\n');
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the parameters.
  return useMemo(() => {
    const filter = filterOf(params);
    const { status, projectId, labels, text, until, needsMe } = filter;
    const isFiltered = FILTER_PARAMS.some((name) => name !== 'project' && params.get(name));
    const options: UseRunsOptions = {
      projectId,
      ...statusOptions(status),
      labels: labels.length > 0 ? Object.fromEntries(labels.map(splitLabel)) : undefined,
      text: text || undefined,
      since: sinceOf(filter.since, Date.now() + serverTimeOffsetMs),
      until,
      needsMyDecision: needsMe || undefined,
    };
    return { filter, isFiltered, options };
  }, [key]);
}

function filterOf(params: URLSearchParams): RunsFilter {
  const named = params.get('status')?.split(',') ?? [];
  const since = params.get('since') ?? undefined;
  return {
    status: shownStatuses.filter((status) => named.includes(status)),
    projectId: params.get('project') ?? undefined,
    labels: params.getAll('label').filter((label) => label.includes('=')),
    text: params.get('text') ?? '',
    since: sinceOf(since, 0) && since,
    until: sinceOf(params.get('until') ?? undefined, 0),
    needsMe: params.get('needs') === 'me',
    unknownStatuses: named.filter((name) => name !== '' && !(shownStatuses as readonly string[]).includes(name)),
  };
}

/** For the server, a cancelled run is a failed one with an error code of its own. */
function statusOptions(shown: readonly ShownStatus[]): Pick<UseRunsOptions, 'status' | 'cancelled'> {
  if (shown.length === 0) return {};
  const status = [...new Set(shown.map((one) => (one === 'cancelled' ? 'failed' : one)))];
  const [isFailed, isCancelled] = [shown.includes('failed'), shown.includes('cancelled')];
  return { status, cancelled: isFailed === isCancelled ? undefined : isCancelled };
}

function splitLabel(label: string): [name: string, value: string] {
  const at = label.indexOf('=');
  return [label.slice(0, at), label.slice(at + 1)];
}

/** Converts changes of the filter to changes of query parameters. The changed filter is no saved view any more. */
export const paramsOf = (changes: Partial<RunsFilter>): ParamChanges => ({
  view: undefined,
  ...('status' in changes ? { status: changes.status?.join(',') || undefined } : {}),
  ...('projectId' in changes ? { project: changes.projectId } : {}),
  ...('labels' in changes ? { label: changes.labels } : {}),
  ...('text' in changes ? { text: changes.text || undefined } : {}),
  ...('since' in changes ? { since: changes.since } : {}),
  ...('until' in changes ? { until: changes.until } : {}),
  ...('needsMe' in changes ? { needs: changes.needsMe ? 'me' : undefined } : {}),
});

export const noFilter: ParamChanges = {
  ...Object.fromEntries(FILTER_PARAMS.map((name) => [name, undefined])),
  view: undefined,
};
