import { skipToken } from '@tanstack/react-query';
import { type RefObject, useEffect, useId, useRef, useState } from 'react';
import { type Approval, type DecisionInput, type RunView, useApproval } from '../../../hooks/index.ts';
import type { Continuity } from '../../components/Badge.tsx';
import { Name } from '../../components/Name.tsx';
import { useIsPast } from '../../components/Past.tsx';
import { Status } from '../../components/Status.tsx';
import { showToast } from '../../components/Toast.tsx';
import { useServerNow } from '../../hooks/useNow.ts';
import { useSession } from '../../hooks/useSession.ts';
import { formatCount } from '../../lib/format.ts';
import { Actions, Copies } from './Actions.tsx';
import { CardFacts } from './CardFacts.tsx';
import { approvedSince, evidenceOf, isOpenState, listed, mayDeny, stateOf } from './card-state.ts';
import { DecisionDialog } from './DecisionDialog.tsx';
import { dropDraft, readDraft } from './drafts.ts';
import { Expiry } from './Expiry.tsx';
import { Changes, SeenNote } from './Notes.tsx';
import { OutcomeLine, OutcomeStatus } from './Outcome.tsx';
import { GoesOn } from './OutcomeBanner.tsx';
import type { Intent } from './useCardKeys.ts';
import { useGuard } from './useLock.ts';
import { useSeen } from './useSeen.ts';
import { Words } from './Words.tsx';
import '../../styles/pages/approvals.css';

export type CardProps = {
  /** The run as the page shows it. */
  run: RunView;
  approval: Approval;
  /** The run's subscription: up to where the page is complete. */
  live: Continuity;
  /** The card is in the inbox, so it names its run. */
  isInInbox?: boolean;
  /** A banner around the card states the outcome. */
  isInBanner?: boolean;
  /** A press of a key that this card answers. */
  intent?: Intent | undefined;
  onIntentDone?: (() => void) | undefined;
  /** Called after the user's own decision, once the dialog has closed. */
  onDecided?: ((decision: DecisionInput['decision']) => void) | undefined;
};

/** One approval: what is asked, why, its evidence, who has decided, and the buttons to decide. */
export function ApprovalCard(props: CardProps) {
  const { run, approval, live, isInInbox = false, isInBanner = false, intent, onIntentDone, onDecided } = props;
  const { projectId, runId } = run;
  const { approvalId, title } = approval;
  const isPast = useIsPast();
  const sub = useSession().me?.sub;
  const titleId = useId();
  const heading = useRef<HTMLHeadingElement>(null);
  const isOver = isPast || approval.status !== 'pending';
  const { approval: answer, decide } = useApproval(isOver ? skipToken : { projectId, runId, approvalId });
  // Without a session the server gives no answer: the last one stays, and an open dialog with it.
  const [rights, setRights] = useState(answer);
  if (answer && answer !== rights) setRights(answer);
  const nowMs = useServerNow(approval.status === 'pending' && approval.expiresAt !== undefined);
  const state = stateOf({ approval, run, rights, nowMs, isPast });
  const guard = useGuard(live, mayDeny(state));
  const shown = {
    approval,
    evidence: evidenceOf(approval, run.artifacts),
    seq: live.seq ?? run.lastSeq,
    runSeq: run.lastRunSeq,
  };
  const seenState = useSeen(shown, guard.lock === null && live.seq !== null);
  const { seen, changes, isNewer, see } = seenState;
  const isChanged = changes.length > 0;
  const others = seen ? approvedSince(seen, shown, sub) : [];
  const dialog = useDialog({ projectId, runId, approvalId }, sub, seen !== undefined && mayDeny(state));
  const open = (decision: DecisionInput['decision']) => {
    see();
    dialog.open(decision);
  };
  const canOpen = seen !== undefined && guard.lock === null && !isChanged;
  const isIntended = intent?.decision === 'granted' ? state === 'open' : mayDeny(state);
  useEffect(() => {
    if (!intent || !canOpen || !isIntended) return;
    onIntentDone?.();
    open(intent.decision);
  });
  const close = (isDecided: boolean) => {
    const { decision } = dialog;
    dialog.close();
    if (!isDecided || !decision) return;
    showToast('Decision recorded');
    if (onDecided) onDecided(decision);
    else focusLater(heading);
  };
  return (
    <section
      className={`approval-card ${isOpenState(state) ? 'open' : ''}`}
      aria-labelledby={titleId}
      data-approval={approvalId}
    >
      {isOpenState(state) && (
        <div className="card-head">
          <Status value="waiting">Waiting for approval</Status>
          <span className="quorum">{approval.requiredApprovals > 1 && <Quorum approval={approval} />}</span>
          <Expiry expiresAt={approval.expiresAt} />
        </div>
      )}
      <h2 id={titleId} ref={heading} tabIndex={-1}>
        <Words>{title}</Words>
      </h2>
      {!isOpenState(state) && (
        <p className="outcome-line">
          {isInBanner ? (
            <OutcomeStatus approval={approval} state={state} />
          ) : (
            <OutcomeLine approval={approval} run={run} state={state} sub={sub} />
          )}
        </p>
      )}
      {state === 'decided' && !isInBanner && <GoesOn run={run} approval={approval} />}
      <CardFacts run={run} approval={approval} evidence={shown.evidence} sub={sub} isInInbox={isInInbox} />
      {mayDeny(state) && isChanged && !dialog.decision && <Changes changes={changes} isLoaded onSeen={see} />}
      {mayDeny(state) && seen && (
        <SeenNote runSeq={shown.runSeq} seq={shown.seq}>
          {!isChanged && ' · nothing has changed since you opened this'}
          {others.length > 0 && (
            <>
              {' · '}
              <Name>{listed(others)}</Name> approved meanwhile
            </>
          )}
        </SeenNote>
      )}
      <div className="card-foot">
        <Actions
          {...{ approval, run, state, rights, guard, canOpen, sub }}
          hasSeen={seen !== undefined}
          onDecide={open}
        />
        <Copies approval={approval} run={run} state={state} seenSeq={(isChanged ? seen : shown)?.seq} />
      </div>
      {dialog.decision && seen && (
        <DecisionDialog
          key={dialog.decision}
          {...{ approval, run, state, rights, guard, seen, changes, isNewer, sub, decide }}
          evidence={shown.evidence}
          decision={dialog.decision}
          initialText={dialog.text}
          onSeen={see}
          onClose={close}
        />
      )}
    </section>
  );
}

const Quorum = ({ approval }: { approval: Approval }) => (
  <>
    {formatCount(approval.decisions.length)} of {formatCount(approval.requiredApprovals)} approvals
  </>
);

/** The dialog moves the focus back when it has closed. The focus moves on after that. */
function focusLater(element: RefObject<HTMLElement | null>): void {
  setTimeout(() => element.current?.focus(), 50);
}

type Key = { projectId: string; runId: string; approvalId: string };

/** The open dialog of a card. A text that was kept over a sign-in opens its dialog again. */
function useDialog(key: Key, sub: string | undefined, isReady: boolean) {
  const [shown, setShown] = useState<{ decision: DecisionInput['decision']; text: string }>();
  const { projectId, runId, approvalId } = key;
  useEffect(() => {
    const draft = isReady && sub !== undefined ? readDraft(sub, { projectId, runId, approvalId }) : undefined;
    if (draft) setShown({ decision: draft.decision, text: draft.text });
  }, [projectId, runId, approvalId, sub, isReady]);
  return {
    decision: shown?.decision,
    text: shown?.text ?? '',
    open: (decision: DecisionInput['decision']) => setShown({ decision, text: '' }),
    close: () => {
      dropDraft();
      setShown(undefined);
    },
  };
}
