import { useMemo } from 'react';
import { type RunStatus, runStatuses, type UseRunsOptions } from '../../../hooks/index.ts';
import { type ParamChanges, useParams } from '../../lib/navigation.tsx';

/** The filter of the runs list. The query of the URL holds the filter, so that a link and a reload keep it. */

export type RunsFilter = {
  status: readonly RunStatus[];
  projectId: string | undefined;
  /** `name=value`; a name contains no `=`. */
  labels: readonly string[];
  text: string;
  /** Values of the query parameter `status` that are not a status. */
  unknownStatuses: readonly string[];
};

export function useRunsFilter(): { filter: RunsFilter; isFiltered: boolean; options: UseRunsOptions } {
  const params = useParams();
  return useMemo(() => {
    const named = params.get('status')?.split(',') ?? [];
    const filter: RunsFilter = {
      status: runStatuses.filter((status) => named.includes(status)),
      projectId: params.get('project') ?? undefined,
      labels: params.getAll('label').filter((label) => label.includes('=')),
      text: params.get('text') ?? '',
      unknownStatuses: named.filter((name) => name !== '' && !(runStatuses as readonly string[]).includes(name)),
    };
    const { status, projectId, labels, text } = filter;
    const isFiltered = status.length > 0 || projectId !== undefined || labels.length > 0 || text !== '';
    const options: UseRunsOptions = {
      projectId,
      status: status.length > 0 ? status : undefined,
      labels: labels.length > 0 ? Object.fromEntries(labels.map(splitLabel)) : undefined,
      text: text || undefined,
    };
    return { filter, isFiltered, options };
  }, [params]);
}

function splitLabel(label: string): [name: string, value: string] {
  const at = label.indexOf('=');
  return [label.slice(0, at), label.slice(at + 1)];
}

/** Converts changes of the filter to changes of query parameters. */
export const paramsOf = (changes: Partial<RunsFilter>): ParamChanges => ({
  ...('status' in changes ? { status: changes.status?.join(',') || undefined } : {}),
  ...('projectId' in changes ? { project: changes.projectId } : {}),
  ...('labels' in changes ? { label: changes.labels } : {}),
  ...('text' in changes ? { text: changes.text || undefined } : {}),
});
