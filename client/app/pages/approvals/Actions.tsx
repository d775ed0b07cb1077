import { useEffect, useId, useState } from 'react';
import type { Approval, DecisionInput, RunView } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { Time } from '../../components/Time.tsx';
import { copyText } from '../../lib/copy.ts';
import { addressOf } from './boxes.ts';
import { CanApprove } from './CardFacts.tsx';
import { type CardState, commandOf, grantsOf, mayDeny, type Rights } from './card-state.ts';
import { Place } from './Evidence.tsx';
import { LockNote } from './Notes.tsx';
import type { Guard } from './useLock.ts';

type ActionsProps = {
  approval: Approval;
  run: RunView;
  state: CardState;
  rights: Rights | undefined;
  guard: Guard;
  /** False while the page may lack events, and while the reader has not confirmed a change. */
  canOpen: boolean;
  /** The page has been complete once. */
  hasSeen: boolean;
  sub: string | undefined;
  onDecide: (decision: DecisionInput['decision']) => void;
};

/** The first check of the connection is answered before this time. */
const START_MS = 1_000;

/** The buttons of a card, or the reason why there are none. */
export function Actions(props: ActionsProps) {
  const { state, guard, canOpen, onDecide } = props;
  const noteId = useId();
  const mayDecide = mayDeny(state);
  const [isStarted, setIsStarted] = useState(false);
  useEffect(() => {
    if (!mayDecide) return;
    const timer = setTimeout(() => setIsStarted(true), START_MS);
    return () => clearTimeout(timer);
  }, [mayDecide]);
  // A page that has just been opened is not up to date for a moment.
  const isStarting = !(isStarted && props.hasSeen) && ['connecting', 'catching up'].includes(guard.lock?.why ?? '');
  const button = (decision: DecisionInput['decision'], name: string, act: string) => (
    <button
      type="button"
      className={decision === 'granted' ? 'primary' : undefined}
      data-act={act}
      aria-disabled={!canOpen}
      aria-describedby={guard.lock ? noteId : undefined}
      onClick={() => canOpen && onDecide(decision)}
    >
      {name}
    </button>
  );
  return (
    <div className="card-actions">
      {mayDecide && guard.lock && !isStarting && <LockNote id={noteId} lock={guard.lock} onRetry={guard.retry} />}
      <StateText {...props} />
      <div className="card-buttons">
        {state === 'open' && button('granted', 'Approve…', 'approve')}
        {mayDecide && button('denied', 'Deny…', 'deny')}
      </div>
    </div>
  );
}

type CopiesProps = Pick<ActionsProps, 'approval' | 'run' | 'state'> & {
  /** What the reader has seen; undefined until the page was complete once. */
  seenSeq: number | undefined;
};

/** Copies a link to an approval, and a command that approves. */
export function Copies({ approval, run, state, seenSeq }: CopiesProps) {
  return (
    <div className="card-copies">
      <CopyText
        label={state === 'asked by you' ? 'Copy link to send' : 'Copy link'}
        done="Link copied"
        text={linkOf(run, approval)}
      />
      {state === 'open' && seenSeq !== undefined && (
        <CopyText
          label="Copy as command"
          done="Command copied"
          text={() => commandOf(window.location.origin, { ...run, approvalId: approval.approvalId }, seenSeq)}
        />
      )}
    </div>
  );
}

const linkOf =
  ({ projectId, runId }: RunView, { approvalId }: Approval) =>
  () =>
    `${window.location.origin}/approvals?${new URLSearchParams({ a: addressOf({ projectId, runId, approvalId }) })}`;

function StateText({ state, approval, run, rights, sub }: ActionsProps) {
  switch (state) {
    case 'you approved': {
      const own = grantsOf(approval).find(({ decidedBy }) => decidedBy === sub);
      const missing = approval.requiredApprovals - grantsOf(approval).length;
      return (
        <p>
          You approved {own && <Time at={own.at} form="short" />}.{' '}
          {missing === 1 ? 'One more approval is' : `${missing} more approvals are`} needed.
        </p>
      );
    }
    case 'asked by you':
      return <p>You asked for this, so somebody else must approve.</p>;
    case 'elsewhere':
      return (
        <p>
          Decided in <Name>{approval.requestActor}</Name>, not here.{' '}
          <Place name="the place of the decision" uri={/https?:\/\/[^\s<>"')]+/.exec(approval.reason ?? '')?.[0]} />
        </p>
      );
    case 'past':
      return <p>Not in the past. Return to live.</p>;
    case 'loading':
      return <p className="soft">Checking whether you can decide…</p>;
    case 'read-only':
      return (
        <p>
          <ReadOnlyText approval={approval} rights={rights} projectId={run.projectId} /> Can approve:{' '}
          <CanApprove approval={approval} />.
        </p>
      );
    default:
      return null;
  }
}

/** Why a user cannot decide, in the server's answer. */
export const ReadOnlyText = ({
  approval,
  rights,
  projectId,
}: {
  approval: Approval;
  rights: Rights | undefined;
  projectId: string;
}) => (
  <>
    You can look, but not decide:{' '}
    {rights?.cannotDecide === 'not_named' ? (
      'you are not among the approvers.'
    ) : (
      <>
        needs the role {approval.requiredRole} in <Name>{projectId}</Name>.
      </>
    )}
  </>
);

type CopyProps = { label: string; done: string; text: () => string };

/** A button that copies a text and says so. Browsers allow copying over HTTPS and on localhost only. */
export function CopyText({ label, done, text }: CopyProps) {
  if (!window.isSecureContext) return null;
  return (
    <button type="button" className="quiet" onClick={() => copyText(text(), done)}>
      {label}
    </button>
  );
}
