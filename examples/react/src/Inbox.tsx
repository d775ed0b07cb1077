import { useState } from 'react';
import { useApprovals } from './runwire.ts';

/** The approvals that the user can decide now. */
export function Inbox() {
  const { approvals, phase, decide } = useApprovals({ box: 'mine' });
  const [problem, setProblem] = useState('');
  return (
    <section aria-label="Approvals">
      {problem && <p role="alert">{problem}</p>}
      {approvals.map((approval) => {
        const isDisabled = phase !== 'live' || approval.deciding !== undefined;
        const send = (decision: Parameters<typeof decide>[1]) =>
          decide(approval, decision).catch((error: Error) => setProblem(error.message));
        return (
          <p key={`${approval.projectId} ${approval.runId} ${approval.approvalId}`}>
            {approval.title}
            <button type="button" disabled={isDisabled} onClick={() => send({ decision: 'granted' })}>
              Approve
            </button>
            <button
              type="button"
              disabled={isDisabled}
              onClick={() => send({ decision: 'denied', reason: 'not good enough' })}
            >
              Deny
            </button>
          </p>
        );
      })}
    </section>
  );
}
