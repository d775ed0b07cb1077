import type { ReactNode } from 'react';
import type { InboxApproval, RunHeader } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { decodedName } from '../../components/ProjectName.tsx';
import { Duration, Glyph, None, Progress, Status } from '../../components/Status.tsx';
import { Time } from '../../components/Time.tsx';
import { useServerNow } from '../../hooks/useNow.ts';
import { formatCount, formatDuration } from '../../lib/format.ts';
import { Link, runPath, setParams } from '../../lib/navigation.tsx';
import { paramsOf, type RunsFilter } from './filters.ts';

/** What a cell shows beside the run. */
export type RowContext = {
  filter: RunsFilter;
  /** The approvals of the run that wait for a decision. */
  pending: readonly InboxApproval[];
};

type Column = {
  name: string;
  /** CSS class of the column's cells. The variable `--<className>` in runs.css sets the column's width. */
  className: string;
  isRowHeader?: boolean;
  cell: (run: RunHeader, context: RowContext) => ReactNode;
};

/** The columns of the runs list, from left to right. Header, rows and widths are made from this array. */
export const columns: readonly Column[] = [
  { name: 'Status', className: 'status-cell', cell: statusCell },
  { name: 'Run', className: 'name', isRowHeader: true, cell: nameCell },
  { name: 'Stage or error', className: 'stage-cell', cell: stageCell },
  { name: 'Progress', className: 'progress-cell', cell: progressCell },
  {
    name: 'Started',
    className: 'started',
    cell: ({ startedAt }) => (startedAt ? <Time at={startedAt} form="short" /> : <None />),
  },
  {
    name: 'Took',
    className: 'duration',
    cell: ({ startedAt, endedAt, durationMs }) => (
      <Duration startedAt={startedAt} endedAt={endedAt} durationMs={durationMs} />
    ),
  },
  {
    name: 'By',
    className: 'by',
    cell: ({ createdBy }) => (createdBy === undefined ? <None /> : <Name title={createdBy}>{createdBy}</Name>),
  },
  { name: 'Labels', className: 'labels', cell: labelsCell },
];

/**
 * Value of `grid-template-columns`. If runs.css hides the cells of a column, it also sets the column's width to an empty
 * value. That removes the column from the grid.
 */
export const columnWidths = columns.map(({ className }) => `var(--${className}, minmax(6rem, 1fr))`).join(' ');

function statusCell({ status, error, counts }: RunHeader, { pending }: RowContext): ReactNode {
  const mine = pending.filter(({ canDecide }) => canDecide).length;
  const shown = status === 'created' ? 'queued' : error?.code === 'CANCELLED' ? 'cancelled' : status;
  return (
    <>
      <Status value={shown} />
      {mine > 0 ? (
        <span className="mine">· {formatCount(mine)} for you</span>
      ) : (
        counts.approvalsPending > 1 && <span className="soft">· {formatCount(counts.approvalsPending)}</span>
      )}
    </>
  );
}

function nameCell(run: RunHeader): ReactNode {
  const { projectId, runId, name } = run;
  return (
    <>
      <Link href={runPath(run)} title={name}>
        <Name>{name}</Name>
      </Link>
      <span className="ids">
        <button
          type="button"
          title={`Show only project ${projectId}`}
          onClick={() => setParams(paramsOf({ projectId }))}
        >
          <Name>{decodedName(projectId)}</Name>
        </button>
        <span className="id" title={runId}>
          / <Name>{runId}</Name>
        </span>
      </span>
    </>
  );
}

/** Shows what the run is doing, what it waits for, or why it failed. */
function stageCell(run: RunHeader, { pending }: RowContext): ReactNode {
  const { status, error, stageError, summary } = run;
  if (status === 'failed') {
    const failure = stageError ?? error;
    return failure ? <Line className="error" text={failure.message} title={failureText(run)} /> : <None />;
  }
  if (status === 'waiting') {
    const [first] = pending;
    return (
      <Line className="asked" text={first?.title ?? 'Waiting for approval'} title={first?.title}>
        <Glyph value="waiting" />
      </Line>
    );
  }
  if (status === 'completed') return <Line text={summary ?? stagesDone(run)} title={summary} />;
  const stage = run.currentStageName ?? run.currentStageId;
  return stage === undefined ? (
    <span className="soft">{status === 'created' ? 'Not started yet' : 'No stage yet'}</span>
  ) : (
    <Line text={stage} title={stage} />
  );
}

/** The first line of a text. The whole text is in the page for screen readers, and in the title. */
const Line = (props: { text: string; title?: string | undefined; className?: string; children?: ReactNode }) => (
  <span className={`line ${props.className ?? ''}`} title={props.title}>
    {props.children}
    <Name>{props.text}</Name>
  </span>
);

function failureText({ error, stageError }: RunHeader): string {
  const own = error && error.message !== stageError?.message ? error.message : undefined;
  return [stageError?.message, own].filter(Boolean).join('\n\n');
}

function progressCell(run: RunHeader): ReactNode {
  const { status, progress, counts, name } = run;
  if (status === 'failed') return null; // The error has its place.
  if (status === 'created') return <Queued createdAt={run.createdAt} />;
  if (counts.stages === 0) return <None />;
  return <Progress value={progress} label={`Progress of ${name}`} status={status} />;
}

function Queued({ createdAt }: { createdAt: string }) {
  const ms = Math.max(0, useServerNow(true) - Date.parse(createdAt));
  // Without seconds after the first minute, and without tenths before.
  return <span className="soft">Queued {formatDuration(ms).replace(/( min) .*|\.\d( s)$/, '$1$2')}</span>;
}

function stagesDone({ counts }: RunHeader): string {
  if (counts.stages === 0) return '';
  const failed = counts.stagesFailed > 0 ? ` · ${formatCount(counts.stagesFailed)} failed` : '';
  return `${formatCount(counts.stagesCompleted)} of ${formatCount(counts.stages)} ${counts.stages === 1 ? 'stage' : 'stages'}${failed}`;
}

const MAX_LABELS = 2;

function labelsCell({ labels }: RunHeader, { filter }: RowContext): ReactNode {
  const texts = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
  const more = texts.slice(MAX_LABELS);
  return (
    <>
      {texts.slice(0, MAX_LABELS).map((text) => (
        <button
          type="button"
          className="label"
          key={text}
          title={`Show only ${text}`}
          onClick={() => filter.labels.includes(text) || setParams(paramsOf({ labels: [...filter.labels, text] }))}
        >
          <Name>{text}</Name>
        </button>
      ))}
      {more.length > 0 && (
        <span className="soft" title={more.join('\n')}>
          +{more.length}
        </span>
      )}
    </>
  );
}
