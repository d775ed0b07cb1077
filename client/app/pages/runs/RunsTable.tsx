import { memo, useEffect, useRef, useState } from 'react';
import type { RunHeader, UseRunsReturn } from '../../../react/index.tsx';
import { Duration, None, Progress, Status } from '../../components/Status.tsx';
import { steppable } from '../../hooks/useKeys.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { rowsIn, upTo, useViewport } from '../../hooks/useViewport.ts';
import { formatCount, formatDateTime } from '../../lib/format.ts';
import { Link, runPath, setParams } from '../../lib/navigation.tsx';
import { paramsOf, type RunsFilter } from './filters.ts';

const ROW_PX = 58;
const NARROW_ROW_PX = 104;
/** Further runs are asked for when so few are left below. */
const AHEAD_RUNS = 30;

type Paging = Pick<UseRunsReturn, 'hasNextPage' | 'isFetchingNextPage' | 'fetchNextPage' | 'error' | 'isConnected'>;
type Props = Pick<UseRunsReturn, 'runs'> &
  Paging & {
    isBusy: boolean;
    filter: RunsFilter;
  };

/** What has been scrolled past is not in the page, and a cell is as wide as its column whatever it says. */
export function RunsTable({ runs, isBusy, filter, ...paging }: Props) {
  const { hasNextPage } = paging;
  const rows = useRef<HTMLTableSectionElement>(null);
  const rowPx = useMedia(NARROW) ? NARROW_ROW_PX : ROW_PX;
  const shown = rowsIn(useViewport(rows), runs.length, rowPx);
  const isEndNear = shown.end > runs.length - AHEAD_RUNS;
  const { hasFailed, tryAgain } = useFurtherRuns(isEndNear, filter, paging);
  return (
    <>
      <table className="runs" aria-rowcount={hasNextPage ? -1 : runs.length + 1} aria-busy={isBusy}>
        <caption className="unseen">Runs, newest first. They change in place.</caption>
        <thead>
          <tr>
            {['Status', 'Run', 'Progress', 'Labels', 'Started', 'Duration', 'Approvals'].map((name) => (
              <th scope="col" key={name} className={name.toLowerCase()}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody ref={rows} style={{ height: runs.length * rowPx }}>
          {upTo(shown).map((index) => {
            const run = runs[index] as RunHeader;
            const key = `${run.projectId} ${run.runId}`;
            return <Row key={key} run={run} index={index} topPx={index * rowPx} filter={filter} />;
          })}
        </tbody>
      </table>
      {hasNextPage && (
        <p className="more">
          {hasFailed ? (
            <>
              Older runs could not be loaded.{' '}
              <button type="button" onClick={tryAgain}>
                Try again
              </button>
            </>
          ) : (
            'Loading older runs…'
          )}
        </p>
      )}
    </>
  );
}

/** Fetches the next page when it is wanted. What has failed is not tried again until somebody asks, or the server is back. */
function useFurtherRuns(
  isWanted: boolean,
  filter: RunsFilter,
  { hasNextPage, isFetchingNextPage, fetchNextPage, error, isConnected }: Paging,
): { hasFailed: boolean; tryAgain(): void } {
  const [hasFailed, setHasFailed] = useState(false);
  const wasFetching = useRef(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another list, and a connection that is back, are fresh starts.
  useEffect(() => setHasFailed(false), [filter, isConnected]);
  useEffect(() => {
    const hasEnded = wasFetching.current && !isFetchingNextPage;
    wasFetching.current = isFetchingNextPage;
    if (hasEnded && error) setHasFailed(true);
    else if (isWanted && hasNextPage && !isFetchingNextPage && !hasFailed) void fetchNextPage();
  }, [isWanted, hasNextPage, isFetchingNextPage, fetchNextPage, error, hasFailed]);
  return { hasFailed, tryAgain: () => setHasFailed(false) };
}

type RowProps = { run: RunHeader; index: number; topPx: number; filter: RunsFilter };

const Row = memo(function Row({ run, index, topPx, filter }: RowProps) {
  const { projectId, runId, name, status, counts, labels } = run;
  const isEnded = run.endedAt !== undefined;
  const startedAt = run.startedAt ?? run.createdAt;
  const stage = run.currentStageName ?? run.currentStageId;
  return (
    <tr aria-rowindex={index + 2} style={{ transform: `translateY(${topPx}px)` }}>
      <td className="status-cell">
        <Status value={run.error?.code === 'CANCELLED' ? 'cancelled' : status} />
      </td>
      <th scope="row" className="name">
        <Link href={runPath(run)} title={name} {...steppable}>
          {name}
        </Link>
        <span className="ids">
          <button type="button" title={`Only project ${projectId}`} onClick={() => setParams(paramsOf({ projectId }))}>
            {projectId}
          </button>
          <span className="id" title={runId}>
            / {runId}
          </span>
        </span>
      </th>
      <td className="progress-cell">
        <Progress value={run.progress} label={`Progress of ${name}`} status={status} />
        <span className="stage" title={stage}>
          {isEnded ? stagesDone(run) : (stage ?? '')}
        </span>
      </td>
      <td className="labels">
        {Object.entries(labels).map(([label, value]) => {
          const text = `${label}=${value}`;
          const isOn = filter.labels.includes(text);
          return (
            <button
              type="button"
              className="label"
              key={label}
              title={`Only ${text}`}
              onClick={() => isOn || setParams(paramsOf({ labels: [...filter.labels, text] }))}
            >
              {text}
            </button>
          );
        })}
      </td>
      <td className="started">
        <time dateTime={startedAt}>{formatDateTime(startedAt)}</time>
        {run.createdBy !== undefined && <span className="by">by {run.createdBy}</span>}
      </td>
      <td className="duration">
        <Duration startedAt={run.startedAt} endedAt={run.endedAt} durationMs={run.durationMs} />
      </td>
      <td className="approvals">
        {counts.approvalsPending > 0 ? `${formatCount(counts.approvalsPending)} pending` : <None />}
      </td>
    </tr>
  );
});

function stagesDone({ counts }: RunHeader): string {
  if (counts.stages === 0) return '';
  const failed = counts.stagesFailed > 0 ? ` · ${formatCount(counts.stagesFailed)} failed` : '';
  return `${formatCount(counts.stagesCompleted)} of ${formatCount(counts.stages)} ${counts.stages === 1 ? 'stage' : 'stages'}${failed}`;
}
