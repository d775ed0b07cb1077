import type { ReactNode } from 'react';
import type { Approval, RunView } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { Time } from '../../components/Time.tsx';
import { formatCount } from '../../lib/format.ts';
import { Deciders } from './Outcome.tsx';
import { Words } from './Words.tsx';

type BannerProps = { run: RunView; approval: Approval; sub: string | undefined; children: ReactNode };

/** How the last approval of a run ended, while the run has not gone on past it. */
export function OutcomeBanner({ run, approval, sub, children }: BannerProps) {
  const { title, status, decisions, decidedAt, requiredApprovals } = approval;
  const denial = decisions.find(({ decision }) => decision === 'denied');
  const granted = decisions.filter(({ decision }) => decision === 'granted').length;
  const at = decidedAt === undefined ? null : <Time at={decidedAt} form="short" />;
  return (
    <section className="outcome-banner" aria-label="Outcome of the last approval">
      <h2>
        <Words>{title}</Words>
      </h2>
      <p>
        {status === 'denied' ? (
          <>
            Denied by {denial ? <Deciders users={[denial.decidedBy]} sub={sub} /> : 'somebody'}, {at}
            {denial?.reason !== undefined && (
              <>
                : <Name>{denial.reason}</Name>
              </>
            )}
          </>
        ) : (
          <>
            Nobody decided in time. Expired {at} with {formatCount(granted)} of {formatCount(requiredApprovals)}{' '}
            {requiredApprovals === 1 ? 'approval' : 'approvals'}
          </>
        )}
      </p>
      <GoesOn run={run} approval={approval} />
      <details>
        <summary>Details</summary>
        {children}
      </details>
    </section>
  );
}

/** States that the run has not ended, although its approval was denied or has expired. */
export const GoesOn = ({ run, approval }: { run: RunView; approval: Approval }) =>
  run.endedAt === undefined && lastOutcome(run)?.approvalId === approval.approvalId ? (
    <p className="soft">The run goes on until its producer ends it.</p>
  ) : null;

/** Returns the approval that was denied or expired last, unless a stage has begun or ended since. */
export function lastOutcome({ approvals, stages }: RunView): Approval | undefined {
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
