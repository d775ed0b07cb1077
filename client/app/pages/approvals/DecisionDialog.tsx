import { type KeyboardEvent, useEffect, useId, useRef, useState } from 'react';
import type { Approval, DecisionInput, RunView, UseApprovalReturn } from '../../../hooks/index.ts';
import { Dialog } from '../../components/Dialog.tsx';
import { Name } from '../../components/Name.tsx';
import { announce } from '../../lib/announce.ts';
import { isSignedOut } from '../../lib/errors.ts';
import { formatCount } from '../../lib/format.ts';
import { Reason } from './CardFacts.tsx';
import { Closed } from './Closed.tsx';
import {
  type CardState,
  type Change,
  type Evidence,
  grantsOf,
  mayDeny,
  type Rights,
  refusedTextOf,
  type Seen,
} from './card-state.ts';
import { keepDraft } from './drafts.ts';
import { EvidenceList } from './Evidence.tsx';
import { Expiry } from './Expiry.tsx';
import { Changes, LockNote, useAnnouncedLock } from './Notes.tsx';
import { Progress } from './SendingNote.tsx';
import { type Sending, useDecision } from './useDecision.ts';
import type { Guard } from './useLock.ts';

/** Length of a comment or a reason that the server takes. */
const MAX_TEXT = 2_000;
/** The length is shown from here on. */
const COUNTED_FROM = 1_800;

export type DialogProps = {
  decision: DecisionInput['decision'];
  initialText: string;
  approval: Approval;
  run: RunView;
  evidence: readonly Evidence[];
  state: CardState;
  rights: Rights | undefined;
  guard: Guard;
  /** What the reader has seen: of the moment at which the dialog was opened, or the changes were confirmed. */
  seen: Seen;
  changes: readonly Change[];
  isNewer: boolean;
  onSeen: () => void;
  sub: string | undefined;
  decide: UseApprovalReturn['decide'];
  onClose: (isDecided: boolean) => void;
};

/** Asks for the comment or the reason of a decision, and sends it. It stays open while the page is not up to date. */
export function DecisionDialog(props: DialogProps) {
  const { decision, approval, run, state, guard, seen, onSeen, sub, decide, onClose } = props;
  const { projectId, runId } = run;
  const { approvalId, title } = approval;
  const [text, setText] = useState(props.initialText);
  const isGrant = decision === 'granted';
  const { sending, send, verify, reset } = useDecision({
    approval: { ...approval, projectId, runId },
    sub,
    decide,
    check: guard.check,
    onDecided: () => onClose(true),
  });
  const refusal = sending.is === 'refused' ? sending.error : undefined;
  const isStale = refusal?.code === 'EVIDENCE_CHANGED';
  const isChanged = isStale || props.changes.length > 0;
  const isBusy = sending.is === 'probing' || sending.is === 'sending' || sending.is === 'unanswered';
  const isClosed = !isBusy && ((state !== 'loading' && !mayDeny(state)) || isFinal(sending));
  const canSend = !isBusy && !isClosed && guard.lock === null && !isChanged && (isGrant || text.trim() !== '');
  const submit = () => {
    if (!canSend) return;
    const own = text.trim();
    void send({
      ...(isGrant
        ? { decision: 'granted', ...(own === '' ? {} : { comment: own }) }
        : { decision: 'denied', reason: own }),
      seenSeq: seen.seq,
    });
  };
  const acknowledge = () => {
    onSeen();
    reset();
  };
  useKept({
    isSignedOut: guard.lock?.why === 'signed out' || isSignedOut(refusal),
    sub,
    projectId,
    runId,
    approvalId,
    decision,
    text,
  });
  useAnnouncedLock(guard.lock);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    submit();
  };
  return (
    <Dialog
      open
      onOpenChange={(isOpen) => !isOpen && !isBusy && onClose(false)}
      title={
        <>
          {isGrant ? 'Approve' : 'Deny'} “<Name>{title}</Name>”?
        </>
      }
      isLocked={isBusy}
    >
      <form className="decision" onKeyDown={onKeyDown} onSubmit={(event) => event.preventDefault()}>
        {isClosed ? (
          <Closed {...props} refusal={refusal} text={text} onClose={() => onClose(false)} />
        ) : (
          <Form
            {...props}
            {...{ text, setText, sending, isChanged, isStale, canSend, isBusy, submit, acknowledge, verify }}
          />
        )}
      </form>
    </Dialog>
  );
}

/** True once the server has refused the decision for good: somebody else was first, it expired, or the rights changed. */
const isFinal = (sending: Sending): boolean =>
  sending.is === 'refused' &&
  ['APPROVAL_ALREADY_DECIDED', 'APPROVAL_EXPIRED', 'NOT_ALLOWED_TO_DECIDE', 'FORBIDDEN', 'RUN_NOT_FOUND'].includes(
    sending.error.code,
  );

type FormProps = DialogProps & {
  text: string;
  setText: (text: string) => void;
  sending: Sending;
  isChanged: boolean;
  isStale: boolean;
  canSend: boolean;
  isBusy: boolean;
  submit: () => void;
  acknowledge: () => void;
  verify: () => Promise<void>;
};

function Form(props: FormProps) {
  const { decision, approval, run, evidence, guard, seen, changes, isNewer, text, setText, sending, isBusy, canSend } =
    props;
  const ids = useId();
  const isGrant = decision === 'granted';
  const field = useRef<HTMLTextAreaElement>(null);
  const band = useRef<HTMLDivElement>(null);
  const refusal = sending.is === 'refused' ? sending.error : undefined;
  const isPhi = refusal?.code === 'PHI_REJECTED' || refusal?.code === 'INVALID_INPUT';
  const fieldName = isGrant ? 'comment' : 'reason';
  const problem = !isPhi
    ? undefined
    : refusal.code === 'PHI_REJECTED'
      ? refusedTextOf(refusal.message, fieldName)
      : refusal.message;
  const { isStale } = props;
  useEffect(() => {
    if (problem !== undefined) field.current?.focus();
    if (problem !== undefined) announce(problem, 'assertive');
  }, [problem]);
  useEffect(() => {
    if (!isStale) return;
    band.current?.focus();
    announce('Not recorded: the evidence changed since you opened this.', 'assertive');
  }, [isStale]);
  const sent = sending.is === 'probing' || sending.is === 'sending';
  return (
    <>
      <p>
        <Name>{run.name}</Name> · <Name>{run.projectId}</Name>
        {approval.expiresAt !== undefined && ' · '}
        <Expiry expiresAt={approval.expiresAt} />
      </p>
      <p>{consequenceOf(approval, isGrant)}</p>
      {approval.reason !== undefined && <Reason text={approval.reason} />}
      {evidence.length > 0 && <EvidenceList evidence={evidence} />}
      {(changes.length > 0 || isStale) && (
        <Changes ref={band} changes={changes} isLoaded={isNewer} onSeen={props.acknowledge} />
      )}
      <label htmlFor={`${ids}text`}>{isGrant ? 'Comment (optional)' : 'Reason (required)'}</label>
      <textarea
        id={`${ids}text`}
        ref={field}
        // biome-ignore lint/a11y/noAutofocus: the dialog asks for this text.
        autoFocus
        rows={3}
        maxLength={MAX_TEXT}
        dir="auto"
        value={text}
        readOnly={isBusy}
        required={!isGrant}
        aria-invalid={problem !== undefined}
        aria-describedby={`${ids}problem ${ids}note`}
        onChange={(event) => setText(event.target.value)}
      />
      <p id={`${ids}problem`} className="problem">
        {problem}
        {text.length >= COUNTED_FROM && (
          <span className="soft">
            {formatCount(text.length)} of {formatCount(MAX_TEXT)} characters
          </span>
        )}
      </p>
      <p id={`${ids}note`} className="soft" title={`Position ${formatCount(seen.seq)} of the log`}>
        Your name, the time, your {fieldName} and event {formatCount(seen.runSeq)} as the last you saw are recorded for
        good.
      </p>
      {guard.lock && <LockNote id={`${ids}lock`} lock={guard.lock} onRetry={guard.retry} />}
      <Progress sending={sending} onVerify={() => void props.verify()} isPhi={isPhi || isStale} />
      {!isGrant && (
        <span id={`${ids}required`} hidden>
          A reason is required
        </span>
      )}
      <div className="dialog-buttons">
        <button type="button" disabled={isBusy} onClick={() => props.onClose(false)}>
          Cancel
        </button>
        <button
          type="button"
          className={isGrant ? 'primary' : 'danger'}
          aria-disabled={!canSend}
          aria-describedby={guard.lock ? `${ids}lock` : !isGrant && text.trim() === '' ? `${ids}required` : undefined}
          onClick={props.submit}
        >
          {sent ? (isGrant ? 'Approving…' : 'Denying…') : isGrant ? 'Approve' : 'Deny'}
        </button>
      </div>
    </>
  );
}

/** What the decision does. */
function consequenceOf(approval: Approval, isGrant: boolean): string {
  if (!isGrant) return 'One denial is enough: the run will not go on from here.';
  const rest = approval.requiredApprovals - grantsOf(approval).length - 1;
  if (rest <= 0) return 'This is the last approval needed: the run goes on.';
  return rest === 1 ? 'One more approval is needed after yours.' : `${rest} more approvals are needed after yours.`;
}

type Kept = {
  isSignedOut: boolean;
  sub: string | undefined;
  projectId: string;
  runId: string;
  approvalId: string;
  decision: DecisionInput['decision'];
  text: string;
};

/** Keeps the text over a sign-in, which may load another page. */
function useKept({ isSignedOut, sub, projectId, runId, approvalId, decision, text }: Kept): void {
  useEffect(() => {
    if (isSignedOut && sub !== undefined) keepDraft({ sub, projectId, runId, approvalId, decision, text });
  }, [isSignedOut, sub, projectId, runId, approvalId, decision, text]);
}
