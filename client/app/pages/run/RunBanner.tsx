import { type ReactNode, useState } from 'react';
import { type Approval, type RunView, useRunwire } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Name } from '../../components/Name.tsx';
import { Time } from '../../components/Time.tsx';
import { showToast } from '../../components/Toast.tsx';
import { formatCount } from '../../lib/format.ts';
import { ParamLink, setParams } from '../../lib/navigation.tsx';

/** Why the run failed, or how its last approval ended while the run has not gone on past it. */
export const RunBanner = ({ run }: { run: RunView }) => (
  <>
    <Failure run={run} />
    <Outcome run={run} />
  </>
);

function Failure({ run }: { run: RunView }) {
  const { error, stageError, stages } = run;
  if (!error) return null;
  const cause = stageError ?? error;
  const stageId = stageError?.stageId ?? error.stageId;
  const stageName = stages.find((stage) => stage.stageId === stageId)?.name ?? stageId;
  const isCancelled = error.code === 'CANCELLED';
  const hasOwnWords = stageError !== undefined && stageError.message !== error.message;
  return (
    <section className="failure" aria-labelledby="failure">
      <h2 id="failure">
        {isCancelled ? 'Cancelled' : 'Failed'}
        {stageId !== undefined && (
          <>
            {' in '}
            <ParamLink params={{ stage: stageId, attempt: undefined }} push>
              <Name>{stageName ?? stageId}</Name>
            </ParamLink>
          </>
        )}
        {cause.code !== undefined && !isCancelled && (
          <>
            {' '}
            <code>{cause.code}</code>
          </>
        )}
      </h2>
      <Lines>{cause.message}</Lines>
      {hasOwnWords && (
        <p className="own-words">
          <bdi dir="auto">{error.message}</bdi> {error.code !== undefined && !isCancelled && <code>{error.code}</code>}
        </p>
      )}
      <p className="tools">
        <ShowEvent run={run} stageId={stageError && stageId} />
        <Copy text={cause.message} what="the error" />
        {stageId !== undefined && (
          <button type="button" onClick={() => setParams({ stage: stageId, attempt: undefined }, { push: true })}>
            Show the stage
          </button>
        )}
      </p>
    </section>
  );
}

const LINES = 6;

/** The first six lines of a text, and a button that shows the rest. */
function Lines({ children }: { children: string }) {
  const [isWhole, setIsWhole] = useState(false);
  const [isCut, setIsCut] = useState(false);
  const measure = (box: HTMLElement | null) => {
    if (box && !isWhole && box.scrollHeight > box.clientHeight + 1 !== isCut) setIsCut(!isCut);
  };
  return (
    <>
      <p className="cause" ref={measure} dir="auto" style={isWhole ? undefined : { WebkitLineClamp: LINES }}>
        {children}
      </p>
      {(isCut || isWhole) && (
        <button type="button" className="more-lines" aria-expanded={isWhole} onClick={() => setIsWhole(!isWhole)}>
          {isWhole ? 'Less' : 'More'}
        </button>
      )}
    </>
  );
}

/** Leads to the event that reports the failure: the last failure of the stage, or the end of the run. */
function ShowEvent({ run, stageId }: { run: RunView; stageId: string | undefined }) {
  const { client } = useRunwire();
  const [isLooking, setIsLooking] = useState(false);
  const { projectId, runId } = run;
  const show = async () => {
    setIsLooking(true);
    try {
      const filter =
        stageId === undefined ? { types: ['run.failed' as const] } : { types: ['stage.failed' as const], stageId };
      const { runSeqs } = await client.run.positions.query({ projectId, runId, ...filter });
      const runSeq = runSeqs.at(-1);
      if (runSeq === undefined) showToast('The event was removed by retention');
      else setParams({ event: String(runSeq), tab: undefined, pane: undefined });
    } catch {
      showToast('Could not find the event. Try again');
    } finally {
      setIsLooking(false);
    }
  };
  return (
    <button type="button" onClick={() => void show()} aria-disabled={isLooking}>
      Show the event
    </button>
  );
}

function Outcome({ run }: { run: RunView }) {
  const approval = lastOutcome(run);
  if (!approval) return null;
  const { title, status, decisions, decidedAt, requiredApprovals } = approval;
  const denial = decisions.find(({ decision }) => decision === 'denied');
  const granted = decisions.filter(({ decision }) => decision === 'granted').length;
  const at = decidedAt === undefined ? null : <Time at={decidedAt} form="short" />;
  return (
    <Banner title={title}>
      {status === 'denied' ? (
        <>
          Denied by <Name>{denial?.decidedBy ?? 'somebody'}</Name>, {at}
          {denial?.reason !== undefined && (
            <>
              : <bdi dir="auto">{denial.reason}</bdi>
            </>
          )}
        </>
      ) : (
        <>
          Nobody decided in time. Expired {at} with {formatCount(granted)} of {formatCount(requiredApprovals)}{' '}
          {requiredApprovals === 1 ? 'approval' : 'approvals'}
        </>
      )}
    </Banner>
  );
}

const Banner = ({ title, children }: { title: string; children: ReactNode }) => (
  <section className="outcome-banner" aria-label="Outcome of the last approval">
    <h2>
      <Name>{title}</Name>
    </h2>
    <p>{children}</p>
  </section>
);

/** Returns the approval that was denied or expired last, unless a stage has begun or ended since. */
function lastOutcome({ approvals, stages }: RunView): Approval | undefined {
  let last: Approval | undefined;
  for (const approval of approvals) {
    if (approval.decidedAt === undefined) continue;
    if (last === undefined || approval.decidedAt >= (last.decidedAt ?? '')) last = approval;
  }
  if (last?.status !== 'denied' && last?.status !== 'expired') return undefined;
  const at = last.decidedAt ?? '';
  // All instants have one format and compare as text.
  const isPast = stages.some(
    ({ startedAt = '', endedAt = '', failedAt = '' }) => startedAt > at || endedAt > at || failedAt > at,
  );
  return isPast ? undefined : last;
}
