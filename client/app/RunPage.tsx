import { useEffect, useMemo } from 'react';
import { type Artifact, type RunView, type Stage, useRunEvents } from '../react.tsx';
import { Badge } from './Badge.tsx';
import { EventFeed } from './EventFeed.tsx';
import { isSignedOut } from './errors.ts';
import { formatBytes, formatCount, formatDateTime } from './format.ts';
import { Link, runPath } from './location.tsx';
import { Loading, Notice, SignedOut } from './Notice.tsx';
import { Duration, Progress, Status } from './Status.tsx';

/** How many events the feed shows. */
const FEED_EVENTS = 300;

export function RunPage({ projectId, runId }: { projectId: string; runId: string }) {
  const live = useRunEvents({ projectId, runId, from: 'start', limit: FEED_EVENTS });
  const { run, events, phase, connectionState, error } = live;
  const title = run ? `${run.name} · ${run.status}` : runId;
  useEffect(() => {
    document.title = `${title} · Runwire`;
  }, [title]);

  if (connectionState === 'failed' && isSignedOut(error)) return <SignedOut />;
  return (
    <>
      <div className="title">
        <div>
          <h1>{run?.name ?? runId}</h1>
          <p className="ids">
            {projectId} / {runId}
          </p>
        </div>
        <Badge {...live} />
      </div>
      {run ? (
        <Run run={run} events={events} />
      ) : phase === 'live' ? (
        <Notice title="Nothing of this run yet">
          <p>
            Either it has not begun, and will show up here as soon as it does, or it is in a project that your token
            does not cover. Check the address, or <Link href="/">go to all runs</Link>.
          </p>
        </Notice>
      ) : (
        connectionState !== 'failed' && <Loading>Loading the run…</Loading>
      )}
    </>
  );
}

function Run({ run, events }: { run: RunView } & Pick<ReturnType<typeof useRunEvents>, 'events'>) {
  const { stages, artifacts, counts } = run;
  const names = useMemo(() => new Map(stages.map(({ stageId, name }) => [stageId, name])), [stages]);
  return (
    <>
      <Header run={run} names={names} />
      <section aria-labelledby="stages">
        <h2 id="stages">
          Stages{' '}
          {counts.stages > 0 && (
            <small>
              {formatCount(counts.stagesCompleted)} of {formatCount(counts.stages)} completed
              {counts.stagesFailed > 0 && `, ${formatCount(counts.stagesFailed)} failed`}
            </small>
          )}
        </h2>
        {stages.length === 0 ? (
          <p className="none">No stage has begun yet.</p>
        ) : (
          <StagesTable stages={stages} hasEnded={run.endedAt !== undefined} />
        )}
      </section>
      {artifacts.length > 0 && (
        <section aria-labelledby="artifacts">
          <h2 id="artifacts">
            Artifacts <small>{formatCount(artifacts.length)}</small>
          </h2>
          <Artifacts artifacts={artifacts} names={names} />
        </section>
      )}
      <section aria-labelledby="events">
        <h2 id="events">
          Events <small>{eventsNote(events.length, run.lastRunSeq)}</small>
        </h2>
        <EventFeed events={events} names={names} />
      </section>
    </>
  );
}

const eventsNote = (shown: number, all: number) =>
  shown < all ? `the last ${formatCount(shown)} of ${formatCount(all)}` : formatCount(all);

function Header({ run, names }: { run: RunView; names: ReadonlyMap<string, string> }) {
  const labels = Object.entries(run.labels);
  const pending = run.approvals.filter(({ status }) => status === 'pending');
  const isCancelled = run.error?.code === 'CANCELLED';
  return (
    <section className="summary" aria-label="Summary">
      <dl>
        <div>
          <dt>Status</dt>
          <dd>
            <Status value={run.status}>{isCancelled ? 'cancelled' : undefined}</Status>
          </dd>
        </div>
        <div className="grow">
          <dt>Progress</dt>
          <dd>
            <Progress value={run.progress} label="Progress of the run" status={run.status} />
          </dd>
        </div>
        <div>
          <dt>Duration</dt>
          <dd>
            <Duration startedAt={run.startedAt} endedAt={run.endedAt} durationMs={run.durationMs} />
          </dd>
        </div>
        <div>
          <dt>{run.startedAt === undefined ? 'Created' : 'Started'}</dt>
          <dd>
            <time dateTime={run.startedAt ?? run.createdAt}>{formatDateTime(run.startedAt ?? run.createdAt)}</time>
          </dd>
        </div>
        {run.createdBy !== undefined && (
          <div>
            <dt>By</dt>
            <dd>{run.createdBy}</dd>
          </div>
        )}
        {run.parentRunId !== undefined && (
          <div>
            <dt>Part of</dt>
            <dd>
              <Link href={runPath({ projectId: run.projectId, runId: run.parentRunId })}>{run.parentRunId}</Link>
            </dd>
          </div>
        )}
      </dl>
      {labels.length > 0 && (
        <ul className="labels" aria-label="Labels">
          {labels.map(([name, value]) => (
            <li key={name}>
              {name}: {value}
            </li>
          ))}
        </ul>
      )}
      {run.error && (
        <p className="failure">
          <strong>{isCancelled ? 'Cancelled' : 'Failed'}</strong>
          {run.error.stageId !== undefined && ` in ${names.get(run.error.stageId) ?? run.error.stageId}`}:{' '}
          {run.error.message} {run.error.code !== undefined && !isCancelled && <code>{run.error.code}</code>}
        </p>
      )}
      {pending.map(({ approvalId, title, reason }) => (
        <p className="waiting-for" key={approvalId}>
          <strong>Waiting for approval</strong>: {title}
          {reason !== undefined && ` (${reason})`}
        </p>
      ))}
      {run.summary !== undefined && <p className="outcome">{run.summary}</p>}
    </section>
  );
}

const StagesTable = ({ stages, hasEnded }: { stages: Stage[]; hasEnded: boolean }) => (
  <table className="stages">
    <caption className="unseen">Stages in the order of the plan. Rows change as events arrive.</caption>
    <thead>
      <tr>
        <th scope="col">Stage</th>
        <th scope="col">Status</th>
        <th scope="col">Progress</th>
        <th scope="col" className="number">
          Duration
        </th>
        <th scope="col" className="output">
          Last output
        </th>
      </tr>
    </thead>
    <tbody>
      {stages.map((stage) => (
        <StageRow key={stage.stageId} stage={stage} hasEnded={hasEnded} />
      ))}
    </tbody>
  </table>
);

function StageRow({ stage, hasEnded }: { stage: Stage; hasEnded: boolean }) {
  const { name, stageId, status, attempt, progress, message, startedAt, endedAt, durationMs, error } = stage;
  const details = [...(name === stageId ? [] : [stageId]), ...(attempt > 1 ? [`attempt ${attempt}`] : [])];
  // What was still running when its run ended has no end of its own, and its clock must not go on for ever.
  const isCutOff = hasEnded && status === 'running';
  return (
    <tr>
      <th scope="row">
        {name}
        {details.length > 0 && <span className="ids">{details.join(' · ')}</span>}
      </th>
      <td>
        <Status value={status}>{isCutOff ? 'cut off' : undefined}</Status>
      </td>
      <td>
        <Progress value={progress} label={`Progress of ${name}`} status={status} />
      </td>
      <td className="number">
        {isCutOff ? (
          <span className="none">–</span>
        ) : (
          <Duration startedAt={startedAt} endedAt={endedAt} durationMs={durationMs} />
        )}
      </td>
      <td className="output">
        {error && (
          <p className="failure">
            {error.message} {error.code !== undefined && <code>{error.code}</code>}
          </p>
        )}
        {message !== undefined && <samp>{message}</samp>}
      </td>
    </tr>
  );
}

const Artifacts = ({ artifacts, names }: { artifacts: Artifact[]; names: ReadonlyMap<string, string> }) => (
  <table className="artifacts">
    <thead>
      <tr>
        <th scope="col">Name</th>
        <th scope="col" className="medium">
          Kind
        </th>
        <th scope="col" className="number">
          Size
        </th>
        <th scope="col" className="medium">
          Stage
        </th>
        <th scope="col" className="wide">
          SHA-256
        </th>
      </tr>
    </thead>
    <tbody>
      {artifacts.map(({ artifactId, name, kind, uri, sizeBytes, stageId, sha256 }) => (
        <tr key={artifactId}>
          <th scope="row">
            {isSafeLink(uri) ? (
              <a href={uri} target="_blank" rel="noreferrer noopener">
                {name}
              </a>
            ) : (
              name
            )}
            {uri !== undefined && !isSafeLink(uri) && <span className="ids">{uri}</span>}
          </th>
          <td className="medium">{kind ?? <span className="none">–</span>}</td>
          <td className="number">
            {sizeBytes === undefined ? <span className="none">–</span> : formatBytes(sizeBytes)}
          </td>
          <td className="medium">
            {stageId === undefined ? <span className="none">–</span> : (names.get(stageId) ?? stageId)}
          </td>
          <td className="wide">
            {sha256 === undefined ? (
              <span className="none">–</span>
            ) : (
              <code title={sha256}>{sha256.slice(0, 12)}…</code>
            )}
          </td>
        </tr>
      ))}
    </tbody>
  </table>
);

/** Producers write these addresses: one that would run a script must not become a link. */
function isSafeLink(uri: string | undefined): uri is string {
  return uri !== undefined && URL.canParse(uri) && ['http:', 'https:'].includes(new URL(uri).protocol);
}
