import type { RunView } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Duration, Progress, Status } from '../../components/Status.tsx';
import { useServerNow } from '../../hooks/useNow.ts';
import { formatDateTime, formatDuration } from '../../lib/format.ts';
import { Link, ParamLink, runPath } from '../../lib/navigation.tsx';

/** The header of a run: name, status, ids, labels, progress, times, and the failure or the summary. */
export function RunSummary({ run }: { run: RunView }) {
  const { projectId, runId, name, status, progress, createdBy, parentRunId, summary, currentStageId } = run;
  const labels = Object.entries(run.labels);
  const isCancelled = run.error?.code === 'CANCELLED';
  return (
    <section className="summary" aria-label="Summary">
      <div className="headline">
        <h1>{name}</h1>
        <Status value={isCancelled ? 'cancelled' : status} />
      </div>
      <p className="ids">
        <Link href={`/?project=${encodeURIComponent(projectId)}`}>{projectId}</Link>
        <span aria-hidden="true"> / </span>
        <span className="id">{runId}</span>
        <Copy text={runId} what="the run id" />
        {labels.map(([label, value]) => (
          <Link
            key={label}
            className="label"
            href={`/?label=${encodeURIComponent(`${label}=${value}`)}`}
            title={`Runs with ${label}=${value}`}
          >
            {label}={value}
          </Link>
        ))}
      </p>
      <dl>
        <div className="grow">
          <dt>Progress</dt>
          <dd>
            <Progress value={progress} label="Progress of the run" status={status} />
          </dd>
        </div>
        <Clock run={run} />
        {currentStageId !== undefined && (
          <div className="current">
            <dt>Stage</dt>
            <dd>
              <ParamLink params={{ stage: currentStageId }}>{run.currentStageName ?? currentStageId}</ParamLink>
            </dd>
          </div>
        )}
        {createdBy !== undefined && (
          <div>
            <dt>Started by</dt>
            <dd>{createdBy}</dd>
          </div>
        )}
        {parentRunId !== undefined && (
          <div>
            <dt>Parent run</dt>
            <dd>
              <Link href={runPath({ projectId, runId: parentRunId })}>{parentRunId}</Link>
            </dd>
          </div>
        )}
      </dl>
      {run.error && (
        <p className="failure">
          <strong>{isCancelled ? 'Cancelled' : 'Failed'}</strong>
          <FailedIn run={run} />: {run.error.message}{' '}
          {run.error.code !== undefined && !isCancelled && <code>{run.error.code}</code>}
        </p>
      )}
      {summary !== undefined && <p className="outcome">{summary}</p>}
    </section>
  );
}

function FailedIn({ run }: { run: RunView }) {
  const stageId = run.error?.stageId;
  if (stageId === undefined) return null;
  const name = run.stages.find((stage) => stage.stageId === stageId)?.name ?? stageId;
  return (
    <>
      {' in '}
      <ParamLink params={{ stage: stageId }}>{name}</ParamLink>
    </>
  );
}

/** Shows the time in the queue, or the time since the start. Shows both if the run waited 1 s or more in the queue. */
function Clock({ run }: { run: RunView }) {
  const { createdAt, startedAt, endedAt } = run;
  const isQueued = startedAt === undefined && endedAt === undefined;
  const now = useServerNow(isQueued);
  const queuedMs = Math.max(0, (startedAt === undefined ? now : Date.parse(startedAt)) - Date.parse(createdAt));
  const begun = startedAt ?? createdAt;
  return (
    <>
      {(isQueued || queuedMs >= 1_000) && (
        <div className="clock">
          <dt>Queued</dt>
          <dd>{formatDuration(Math.floor(queuedMs / 1_000) * 1_000).replace('.0 s', ' s')}</dd>
        </div>
      )}
      {!isQueued && (
        <div className="clock">
          <dt>{endedAt === undefined ? 'Running' : 'Took'}</dt>
          <dd>
            <Duration startedAt={startedAt} endedAt={endedAt} durationMs={run.durationMs} />
          </dd>
        </div>
      )}
      <div>
        <dt>{startedAt === undefined ? 'Created' : 'Started'}</dt>
        <dd>
          <time dateTime={begun}>{formatDateTime(begun)}</time>
        </dd>
      </div>
    </>
  );
}
