import { useEffect, useRef } from 'react';
import { type RunHeader, useRunEvents } from '../react.tsx';
import { Badge } from './Badge.tsx';
import { isSignedOut } from './errors.ts';
import { formatDateTime } from './format.ts';
import { Link, runPath } from './location.tsx';
import { Loading, Problem, SignedOut } from './Notice.tsx';
import { Duration, Progress, Status } from './Status.tsx';
import { useLiveRuns } from './useLiveRuns.ts';

export function RunsPage() {
  const { list, runs, seq, gap, phase } = useLiveRuns();
  // The least of subscriptions: it tells how the connection that all share is doing.
  const { connectionState, error, retryAtMs, reconnect } = useRunEvents({
    scope: 'all',
    types: ['run.created'],
    limit: 0,
  });
  useEffect(() => {
    document.title = 'Runs · Runwire';
  }, []);
  const { refetch } = list;
  const hasFailed = useRef(false);
  useEffect(() => {
    hasFailed.current = list.isError;
  });
  useEffect(() => {
    // The server is back: what failed while it was away is asked once more.
    if (connectionState === 'connected' && hasFailed.current) void refetch();
  }, [connectionState, refetch]);

  if (isSignedOut(list.error) || (connectionState === 'failed' && isSignedOut(error))) return <SignedOut />;
  return (
    <>
      <div className="title">
        <h1>Runs</h1>
        <Badge {...{ connectionState, error, retryAtMs, reconnect, seq, gap, phase }} />
      </div>
      {list.isPending ? (
        <Loading>Loading runs…</Loading>
      ) : runs.length === 0 && list.isError ? (
        <Problem error={list.error} onRetry={() => void refetch()} />
      ) : runs.length === 0 ? (
        <Empty />
      ) : (
        <RunsTable runs={runs} />
      )}
      {list.hasNextPage && (
        <p className="more">
          <button type="button" disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
            {list.isFetchingNextPage ? 'Loading…' : 'Show older runs'}
          </button>
        </p>
      )}
    </>
  );
}

const Empty = () => (
  <section className="notice">
    <h2>No runs yet</h2>
    <p>Runs appear here as soon as their first event is published. To see one, run any command as a run:</p>
    <pre>
      <code>{'npx runwire exec --project demo --name "First run" -- npm test'}</code>
    </pre>
  </section>
);

const RunsTable = ({ runs }: { runs: RunHeader[] }) => (
  <table className="runs">
    <caption className="unseen">Runs, newest first. Rows change as events arrive.</caption>
    <thead>
      <tr>
        <th scope="col">Run</th>
        <th scope="col">Status</th>
        <th scope="col">Progress</th>
        <th scope="col" className="wide">
          Stage
        </th>
        <th scope="col" className="medium">
          Started
        </th>
        <th scope="col" className="medium number">
          Duration
        </th>
      </tr>
    </thead>
    <tbody>
      {runs.map((run) => (
        <RunRow key={`${run.projectId} ${run.runId}`} run={run} />
      ))}
    </tbody>
  </table>
);

const RunRow = ({ run }: { run: RunHeader }) => (
  <tr>
    <th scope="row">
      <Link href={runPath(run)}>{run.name}</Link>
      <span className="ids">
        {run.projectId} / {run.runId}
      </span>
    </th>
    <td>
      <Status value={run.status}>{run.error?.code === 'CANCELLED' ? 'cancelled' : undefined}</Status>
    </td>
    <td>
      <Progress value={run.progress} label={`Progress of ${run.name}`} status={run.status} />
    </td>
    <td className="wide">{run.currentStageId ?? <span className="none">–</span>}</td>
    <td className="medium">
      <time dateTime={run.startedAt ?? run.createdAt}>{formatDateTime(run.startedAt ?? run.createdAt)}</time>
    </td>
    <td className="medium number">
      <Duration startedAt={run.startedAt} endedAt={run.endedAt} durationMs={run.durationMs} />
    </td>
  </tr>
);
