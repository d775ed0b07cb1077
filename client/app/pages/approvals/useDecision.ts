import { useCallback, useEffect, useRef, useState } from 'react';
import {
  type Approval,
  type ApprovalKey,
  type DecisionInput,
  type RunwireError,
  runwireErrorOf,
  useRunwire,
} from '../../../hooks/index.ts';

/** Time without an answer after which the dialog states that the decision may or may not have arrived. */
const MAX_WAIT_MS = 10_000;

export type Sending =
  | { is: 'writing' }
  /** Waits for the answer to a ping: the decision is not sent before. */
  | { is: 'probing' }
  | { is: 'sending' }
  /** No answer yet, or no answer any more. The decision may have been recorded. */
  | { is: 'unanswered'; isChecking: boolean }
  /** The server has the approval without this decision. */
  | { is: 'not recorded' }
  | { is: 'refused'; error: RunwireError };

type Options = {
  approval: ApprovalKey & Pick<Approval, 'decisions'>;
  /** Id of the user. */
  sub: string | undefined;
  decide(decision: DecisionInput): Promise<void>;
  /** Asks the server for an answer. */
  check(): Promise<boolean>;
  onDecided(): void;
};

/**
 * Sends one decision and keeps what became of it. While one is under way, a second call does nothing. A decision without an
 * answer may be sent again: the server counts a user once.
 */
export function useDecision({ approval, sub, decide, check, onDecided }: Options) {
  const { client } = useRunwire();
  const [sending, setSending] = useState<Sending>({ is: 'writing' });
  /** The request that the answer is awaited of; 0 without one. */
  const current = useRef(0);
  const isDone = useRef(false);
  const kind = useRef<DecisionInput['decision']>('granted');

  const finish = useCallback(() => {
    if (isDone.current) return;
    isDone.current = true;
    onDecided();
  }, [onDecided]);

  const isMine = useCallback(
    ({ decisions }: Pick<Approval, 'decisions'>) =>
      decisions.some(({ decidedBy, decision }) => decidedBy === sub && decision === kind.current),
    [sub],
  );
  // The event of the decision may arrive before the answer, or in place of a lost answer.
  const isUnderWay = sending.is === 'sending' || sending.is === 'unanswered' || sending.is === 'not recorded';
  useEffect(() => {
    if (isUnderWay && isMine(approval)) finish();
  }, [isUnderWay, approval, isMine, finish]);

  const isWaiting = sending.is === 'sending';
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setTimeout(() => setSending({ is: 'unanswered', isChecking: false }), MAX_WAIT_MS);
    return () => clearTimeout(timer);
  }, [isWaiting]);

  const send = async (decision: DecisionInput): Promise<void> => {
    if (current.current !== 0 || isDone.current) return;
    const request = Date.now() + Math.random();
    current.current = request;
    const isCurrent = () => current.current === request && !isDone.current;
    kind.current = decision.decision;
    setSending({ is: 'probing' });
    if (!(await check())) {
      if (isCurrent()) setSending({ is: 'writing' });
      current.current = 0;
      return;
    }
    setSending({ is: 'sending' });
    try {
      await decide(decision);
      if (!isDone.current) finish();
    } catch (caught) {
      if (!isCurrent()) return;
      const error = runwireErrorOf(caught);
      current.current = 0;
      const isOwn = error.outcome?.decidedBy.includes(sub ?? '') && error.outcome.status === decision.decision;
      if (error.code === 'APPROVAL_ALREADY_DECIDED' && isOwn) finish();
      else if (isAnswer(error)) setSending({ is: 'refused', error });
      else setSending({ is: 'unanswered', isChecking: false });
    }
  };

  /** Reads the approval again, to learn whether the decision was recorded. */
  const verify = async (): Promise<void> => {
    const { projectId, runId, approvalId } = approval;
    setSending({ is: 'unanswered', isChecking: true });
    try {
      const signal = AbortSignal.timeout(MAX_WAIT_MS);
      const stored = await client.approval.get.query({ projectId, runId, approvalId }, { signal });
      if (isDone.current) return;
      if (isMine(stored)) return finish();
      current.current = 0; // A late answer changes nothing: one user counts once.
      setSending({ is: 'not recorded' });
    } catch {
      if (!isDone.current) setSending({ is: 'unanswered', isChecking: false });
    }
  };

  const reset = useCallback(() => setSending({ is: 'writing' }), []);
  return { sending, send, verify, reset };
}

/** True if the server answered. Without an answer, a decision may have been recorded. */
const isAnswer = ({ cause }: RunwireError): boolean => Object(Object(cause).data).runwireCode !== undefined;
