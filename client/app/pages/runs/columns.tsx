import type { ReactNode } from 'react';
import type { RunHeader } from '../../../hooks/index.ts';
import { Duration, None, Progress, Status } from '../../components/Status.tsx';
import { steppable } from '../../hooks/useKeys.tsx';
import { formatCount, formatDateTime } from '../../lib/format.ts';
import { Link, runPath, setParams } from '../../lib/navigation.tsx';
import { paramsOf, type RunsFilter } from './filters.ts';

type Column = {
  name: string;
  /** CSS class of the column's cells. The variable `--<className>` in runs.css sets the column's width. */
  className: string;
  isRowHeader?: boolean;
  cell: (run: RunHeader, filter: RunsFilter) => ReactNode;
};

/** The columns of the runs list, from left to right. Header, rows and widths are made from this array. */
export const columns: readonly Column[] = [
  {
    name: 'Status',
    className: 'status-cell',
    cell: ({ status, error }) => <Status value={error?.code === 'CANCELLED' ? 'cancelled' : status} />,
  },
  { name: 'Run', className: 'name', isRowHeader: true, cell: nameCell },
  { name: 'Progress', className: 'progress-cell', cell: progressCell },
  { name: 'Labels', className: 'labels', cell: labelsCell },
  { name: 'Started', className: 'started', cell: startedCell },
  {
    name: 'Duration',
    className: 'duration',
    cell: ({ startedAt, endedAt, durationMs }) => (
      <Duration startedAt={startedAt} endedAt={endedAt} durationMs={durationMs} />
    ),
  },
  {
    name: 'Approvals',
    className: 'approvals',
    cell: ({ counts }) => (counts.approvalsPending > 0 ? `${formatCount(counts.approvalsPending)} pending` : <None />),
  },
];

/**
 * Value of `grid-template-columns`. If runs.css hides the cells of a column, it also sets the column's width to an empty
 * value. That removes the column from the grid.
 */
export const columnWidths = columns.map(({ className }) => `var(--${className}, minmax(6rem, 1fr))`).join(' ');

function nameCell(run: RunHeader): ReactNode {
  const { projectId, runId, name } = run;
  return (
    <>
      <Link href={runPath(run)} title={name} {...steppable}>
        {name}
      </Link>
      <span className="ids">
        <button
          type="button"
          title={`Show only project ${projectId}`}
          onClick={() => setParams(paramsOf({ projectId }))}
        >
          {projectId}
        </button>
        <span className="id" title={runId}>
          / {runId}
        </span>
      </span>
    </>
  );
}

function progressCell(run: RunHeader): ReactNode {
  const stage = run.currentStageName ?? run.currentStageId;
  return (
    <>
      <Progress value={run.progress} label={`Progress of ${run.name}`} status={run.status} />
      <span className="stage" title={stage}>
        {run.endedAt === undefined ? (stage ?? '') : stagesDone(run)}
      </span>
    </>
  );
}

function stagesDone({ counts }: RunHeader): string {
  if (counts.stages === 0) return '';
  const failed = counts.stagesFailed > 0 ? ` · ${formatCount(counts.stagesFailed)} failed` : '';
  return `${formatCount(counts.stagesCompleted)} of ${formatCount(counts.stages)} ${counts.stages === 1 ? 'stage' : 'stages'}${failed}`;
}

function labelsCell({ labels }: RunHeader, filter: RunsFilter): ReactNode {
  return Object.entries(labels).map(([label, value]) => {
    const text = `${label}=${value}`;
    const isOn = filter.labels.includes(text);
    return (
      <button
        type="button"
        className="label"
        key={label}
        title={`Show only ${text}`}
        onClick={() => isOn || setParams(paramsOf({ labels: [...filter.labels, text] }))}
      >
        {text}
      </button>
    );
  });
}

function startedCell({ startedAt, createdAt, createdBy }: RunHeader): ReactNode {
  const shown = startedAt ?? createdAt;
  return (
    <>
      <time dateTime={shown}>{formatDateTime(shown)}</time>
      {createdBy !== undefined && <span className="by">by {createdBy}</span>}
    </>
  );
}
