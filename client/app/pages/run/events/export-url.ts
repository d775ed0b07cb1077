import type { EventFilter } from '../../../../hooks/index.ts';

type Run = { projectId: string; runId: string };

/** The address of an export of a run's events that match a filter. */
export function exportUrl({ projectId, runId }: Run, format: 'ndjson' | 'csv', filter: EventFilter = {}): string {
  const { types, stageId, attempt, text } = filter;
  const params = new URLSearchParams({ projectId, runId, format });
  if (types) params.set('types', types.join(','));
  if (stageId !== undefined) params.set('stageId', stageId);
  if (attempt !== undefined) params.set('attempt', String(attempt));
  if (text !== undefined) params.set('text', text);
  return `/api/v1/export?${params}`;
}

/** Has the browser save a text as a file. */
export function saveFile(name: string, type: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

export const fileNameOf = ({ projectId, runId }: Run): string =>
  `runwire-${projectId}-${runId}`.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 160);
