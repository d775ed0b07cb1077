import type { RunView, Stage } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Name } from '../../components/Name.tsx';
import { None, Status } from '../../components/Status.tsx';
import { Time } from '../../components/Time.tsx';
import { useServerNow } from '../../hooks/useNow.ts';
import { formatCount, formatDuration, formatPercent } from '../../lib/format.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { ArtifactRows } from './Artifacts.tsx';
import { shownOutcome, shownStatus } from './axis.ts';
import { type Attempt, timesOf } from './timeline/times.ts';
import { useSelected } from './timeline/useRows.ts';
import '../../styles/pages/stage-panel.css';

/** The details of the stage that the query of the URL selects. */
export function StagePanel({ run, stage, onClose }: { run: RunView; stage: Stage; onClose: () => void }) {
  const { stageId, name, progress, message, error } = stage;
  const artifacts = run.artifacts.filter((artifact) => artifact.stageId === stageId);
  const approvals = run.approvals.filter((approval) => approval.stageId === stageId);
  const shown = shownStatus(stage, run.endedAt !== undefined);
  return (
    <section className="stage-panel" aria-labelledby="stage">
      <div className="section-title">
        <h2 id="stage">
          <Name>{name}</Name>
        </h2>
        <button type="button" className="icon" onClick={onClose} aria-label={`Close ${name}`}>
          ×
        </button>
      </div>
      <p className="ids">
        <span className="id">{stageId}</span>
        <Copy text={stageId} what="the stage id" />
      </p>
      <p className="state">
        <Status value={shown} />
        {stage.status === 'running' && progress > 0 && <span>{formatPercent(progress)}</span>}
        <Rate stage={stage} isLive={run.endedAt === undefined} />
      </p>
      {error && (
        <p className="stage-error" dir="auto">
          {error.message} {error.code !== undefined && <code>{error.code}</code>}
        </p>
      )}
      {message !== undefined && (
        <p>
          <span className="soft">Latest message: </span>
          <samp dir="auto">{message}</samp>
        </p>
      )}
      <Attempts stage={stage} endedAt={run.endedAt} />
      {approvals.length > 0 && (
        <ul className="stage-approvals">
          {approvals.map((approval) => (
            <li key={approval.approvalId}>
              <Status
                value={
                  approval.status === 'pending' && run.endedAt !== undefined
                    ? 'run ended first'
                    : shownOutcome(approval.status)
                }
              />{' '}
              <Name>{approval.title}</Name>
            </li>
          ))}
        </ul>
      )}
      {artifacts.length > 0 && <ArtifactRows artifacts={artifacts} caption={`Artifacts of ${name}`} />}
    </section>
  );
}

/** `412 of 9,000 · 31/s · about 4 min left`: the mean rate of this attempt. */
function Rate({ stage, isLive }: { stage: Stage; isLive: boolean }) {
  const { done, total, startedAt, status, failedAt } = stage;
  const isGoing = status === 'running' && failedAt === undefined && isLive;
  const now = useServerNow(isGoing);
  if (done === undefined) return null;
  const amount = total === undefined ? formatCount(done) : `${formatCount(done)} of ${formatCount(total)}`;
  const seconds = startedAt === undefined ? 0 : (now - Date.parse(startedAt)) / 1_000;
  if (!isGoing || seconds < 1 || done <= 0) return <span>{amount}</span>;
  const rate = done / seconds;
  const rateText = rate >= 1 ? `${formatCount(Math.round(rate))}/s` : `${formatCount(Math.round(rate * 60))}/min`;
  const left = total !== undefined && total > done ? roughly((total - done) / rate) : undefined;
  return (
    <span>
      {amount} · {rateText}
      {left !== undefined && ` · about ${left} left`}
    </span>
  );
}

function roughly(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3_600 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} d`;
}

function Attempts({ stage, endedAt }: { stage: Stage; endedAt: string | undefined }) {
  const { attempts } = timesOf(stage);
  const isGoing = stage.status === 'running' && endedAt === undefined;
  const now = useServerNow(isGoing);
  const { attempt: selected } = useSelected();
  if (attempts.length === 0) return <p className="soft">Not run yet</p>;
  const endMs = endedAt === undefined ? now : Date.parse(endedAt);
  const hasErrors = attempts.length > 1 && attempts.some(({ message }) => message !== undefined);
  return (
    <table className="attempts">
      <caption className="unseen">Attempts</caption>
      <thead>
        <tr>
          <th scope="col">{attempts.length > 1 ? 'Attempt' : '#'}</th>
          <th scope="col">Status</th>
          <th scope="col">Started</th>
          <th scope="col" className="number">
            Took
          </th>
        </tr>
      </thead>
      <tbody>
        {attempts.map((one) => (
          <AttemptRows
            key={one.attempt}
            {...{ one, endMs, hasErrors }}
            isCurrent={one.attempt === selected}
            isLast={one === attempts.at(-1)}
            hasEnded={endedAt !== undefined}
          />
        ))}
      </tbody>
    </table>
  );
}

type AttemptProps = {
  one: Attempt;
  endMs: number;
  hasErrors: boolean;
  isCurrent: boolean;
  isLast: boolean;
  hasEnded: boolean;
};

function AttemptRows({ one, endMs, hasErrors, isCurrent, isLast, hasEnded }: AttemptProps) {
  const { attempt, status, fromMs, toMs, message } = one;
  const isUnfinished = status === 'running' && (!isLast || hasEnded);
  return (
    <>
      <tr className={isCurrent ? 'current' : ''}>
        <th scope="row">
          <ParamLink
            params={{ attempt: isCurrent ? undefined : String(attempt) }}
            aria-current={isCurrent || undefined}
            aria-label={`Attempt ${formatCount(attempt)}`}
            title="Events of this attempt"
          >
            {formatCount(attempt)}
          </ParamLink>
        </th>
        <td>
          <Status value={isUnfinished ? 'unfinished' : status} />
        </td>
        <td>{Number.isNaN(fromMs) ? <None /> : <Time at={fromMs} form="clock" />}</td>
        <td className="number">{formatDuration(Math.max(0, (toMs ?? endMs) - fromMs))}</td>
      </tr>
      {hasErrors && message !== undefined && !isLast && (
        <tr className="attempt-error">
          <td />
          <td colSpan={3} dir="auto">
            {message}
          </td>
        </tr>
      )}
    </>
  );
}
