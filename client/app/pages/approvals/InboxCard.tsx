import { useEffect } from 'react';
import { type Approval, type ApprovalKey, useRun } from '../../../hooks/index.ts';
import { Notice, Problem, Skeleton } from '../../components/Notice.tsx';
import { HeldNow } from '../../hooks/useNow.ts';
import { codeOf } from '../../lib/errors.ts';
import { ApprovalCard, type CardProps } from './ApprovalCard.tsx';

type InboxCardProps = Pick<CardProps, 'onDecided' | 'intent' | 'onIntentDone'> & {
  approvalKey: ApprovalKey;
  /** Called once the card is shown, and when its approval changes. */
  onShown: (approval: Approval) => void;
};

/** The card of the selected approval, with its run. */
export function InboxCard({ approvalKey, onShown, ...props }: InboxCardProps) {
  const { projectId, runId, approvalId } = approvalKey;
  const live = useRun({ projectId, runId });
  const { run, status, error, reconnect, phase } = live;
  const approval = run?.approvals.find((one) => one.approvalId === approvalId);
  useEffect(() => {
    if (approval) onShown(approval);
  }, [approval, onShown]);
  if (run && approval) {
    return (
      <HeldNow value={null}>
        <ApprovalCard run={run} approval={approval} live={live} isInInbox {...props} />
      </HeldNow>
    );
  }
  if (status === 'pending' && !error) return <Skeleton>Loading the approval</Skeleton>;
  if (error && codeOf(error) !== 'RUN_NOT_FOUND') return <Problem error={error} onRetry={reconnect} />;
  if (phase !== 'live') return <Skeleton>Loading the approval</Skeleton>;
  return (
    <Notice title="This approval was not found">
      <p>It may be in a project that you cannot see. If you followed a link, check that it is complete.</p>
    </Notice>
  );
}
