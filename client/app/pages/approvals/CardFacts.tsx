import { useId, useLayoutEffect, useRef, useState } from 'react';
import type { Approval, RunView } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { Time } from '../../components/Time.tsx';
import { Link, ParamLink, runPath } from '../../lib/navigation.tsx';
import { type Evidence, grantsOf } from './card-state.ts';
import { EvidenceList } from './Evidence.tsx';
import { Decisions } from './Outcome.tsx';
import { Words } from './Words.tsx';

type FactsProps = {
  run: RunView;
  approval: Approval;
  evidence: readonly Evidence[];
  sub: string | undefined;
  isInInbox: boolean;
};

/** The reason of a request, who asked, who can approve, who has, and the evidence. */
export function CardFacts({ run, approval, evidence, sub, isInInbox }: FactsProps) {
  const { reason, status, stageId, requestedBy, requestActor, requestedAt, requiredApprovals } = approval;
  const grants = grantsOf(approval);
  // The server logs an expiry as a denial, which is no decision of a person.
  const decisions = status === 'expired' ? grants : approval.decisions;
  const missing = requiredApprovals - grants.length;
  return (
    <>
      {reason !== undefined && <Reason text={reason} />}
      <dl className="card-facts">
        {isInInbox && (
          <div>
            <dt>Run</dt>
            <dd>
              <Link href={runPath(run)} data-act="run">
                <Name>{run.name}</Name>
              </Link>{' '}
              <span className="soft">
                <Name>{run.projectId}</Name>
              </span>
            </dd>
          </div>
        )}
        <div>
          <dt>Requested by</dt>
          <dd>
            <Name>{requestedBy ?? requestActor}</Name>, <Time at={requestedAt} form="ago" />
          </dd>
        </div>
        {stageId !== undefined && (
          <div>
            <dt>Stage</dt>
            <dd>
              <StageLink run={run} stageId={stageId} isInInbox={isInInbox} />
            </dd>
          </div>
        )}
        <div>
          <dt>Can approve</dt>
          <dd>
            <CanApprove approval={approval} />
          </dd>
        </div>
        <div className="wide">
          <dt>{status === 'pending' ? 'Approvals' : 'Decisions'}</dt>
          <dd>
            {status !== 'denied' && `${grants.length} of ${requiredApprovals}`}
            {status === 'pending' && grants.length > 0 && (
              <span className="soft"> · {missing === 1 ? 'one' : missing} more needed</span>
            )}
            <Decisions decisions={decisions} sub={sub} run={run} />
          </dd>
        </div>
        {evidence.length > 0 && (
          <div className="wide">
            <dt>Evidence</dt>
            <dd>
              <EvidenceList evidence={evidence} />
            </dd>
          </div>
        )}
      </dl>
    </>
  );
}

function StageLink({ run, stageId, isInInbox }: { run: RunView; stageId: string; isInInbox: boolean }) {
  const name = <Name>{run.stages.find((stage) => stage.stageId === stageId)?.name ?? stageId}</Name>;
  if (isInInbox) return <Link href={`${runPath(run)}?stage=${encodeURIComponent(stageId)}`}>{name}</Link>;
  return <ParamLink params={{ stage: stageId }}>{name}</ParamLink>;
}

/** Number of approvers that are shown at first. */
const NAMES = 3;

export function CanApprove({ approval }: { approval: Approval }) {
  const [isOpen, setIsOpen] = useState(false);
  const { approvers, requiredRole, requestedBy, requestActor } = approval;
  const asked = requestedBy ?? requestActor;
  const shown = isOpen ? approvers : approvers?.slice(0, NAMES);
  const isAmong = !approvers || approvers.some((user) => user.toLowerCase() === asked.toLowerCase());
  const rest = (approvers?.length ?? 0) - (shown?.length ?? 0);
  return (
    <>
      {shown
        ? shown.map((user, at) => (
            <span key={user}>
              {at > 0 && ', '}
              <Name>{user}</Name>
            </span>
          ))
        : `any ${requiredRole}`}
      {rest > 0 && (
        <button type="button" className="rest" aria-label={`Show ${rest} more`} onClick={() => setIsOpen(true)}>
          +{rest}
        </button>
      )}
      {isAmong && (
        <>
          , except <Name>{asked}</Name> (who asked)
        </>
      )}
    </>
  );
}

/** A text of at most four lines, with a button for the rest. */
export function Reason({ text }: { text: string }) {
  const id = useId();
  const box = useRef<HTMLParagraphElement>(null);
  const [isLong, setIsLong] = useState(false);
  const [isOpen, setIsOpen] = useState(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another text has another height.
  useLayoutEffect(() => {
    const measure = () => box.current && setIsLong(box.current.scrollHeight > box.current.clientHeight + 1);
    if (isOpen || !box.current) return;
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [text, isOpen]);
  return (
    <>
      <p id={id} ref={box} className={isOpen ? 'reason' : 'reason clamped'}>
        <Words>{text}</Words>
      </p>
      {(isLong || isOpen) && (
        <button
          type="button"
          className="show-all"
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={() => setIsOpen(!isOpen)}
        >
          {isOpen ? 'Show less' : 'Show all'}
        </button>
      )}
    </>
  );
}
