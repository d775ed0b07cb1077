import type { Approval, RunView } from '../../../react/index.tsx';
import { Duration } from '../../components/Status.tsx';
import { formatCount, formatDateTime } from '../../lib/format.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { Evidence } from './Approvals.tsx';

/** Why a run is waiting, for whom, and since when. */
export function Waiting({ run }: { run: RunView }) {
  if (run.counts.approvalsPending === 0 || run.endedAt !== undefined) return null;
  const pending = run.approvals.filter(({ status }) => status === 'pending');
  return (
    <section className="waiting-for" aria-labelledby="waiting">
      <h2 id="waiting">Why is it waiting?</h2>
      <p>It can be looked at here, but not yet decided in the app.</p>
      <ul>
        {pending.map((approval) => (
          <li key={approval.approvalId}>
            <strong>{approval.title}</strong>
            {approval.reason !== undefined && <p className="reason">{approval.reason}</p>}
            <dl>
              <div>
                <dt>May decide</dt>
                <dd>{decidersOf(approval)}</dd>
              </div>
              <div>
                <dt>Waiting</dt>
                <dd>
                  <Duration startedAt={approval.requestedAt} />
                  <span className="soft"> since {formatDateTime(approval.requestedAt)}</span>
                </dd>
              </div>
              {approval.requiredApprovals > 1 && (
                <div>
                  <dt>Granted</dt>
                  <dd>
                    {formatCount(approval.decisions.length)} of {formatCount(approval.requiredApprovals)}
                  </dd>
                </div>
              )}
              {approval.expiresAt !== undefined && (
                <div>
                  <dt>Expires</dt>
                  <dd>{formatDateTime(approval.expiresAt)}</dd>
                </div>
              )}
              {approval.evidence !== undefined && approval.evidence.length > 0 && (
                <div>
                  <dt>Evidence</dt>
                  <dd>
                    <Evidence ids={approval.evidence} artifacts={run.artifacts} />
                  </dd>
                </div>
              )}
              {approval.stageId !== undefined && (
                <div>
                  <dt>Stage</dt>
                  <dd>
                    <ParamLink params={{ stage: approval.stageId }}>
                      {run.stages.find(({ stageId }) => stageId === approval.stageId)?.name ?? approval.stageId}
                    </ParamLink>
                  </dd>
                </div>
              )}
            </dl>
          </li>
        ))}
      </ul>
    </section>
  );
}

function decidersOf({ approvers, requiredRole, requestedBy }: Approval): string {
  const who = approvers ? approvers.join(', ') : `anyone with the role ${requiredRole}`;
  return requestedBy === undefined ? who : `${who}; not ${requestedBy}, who asked`;
}
