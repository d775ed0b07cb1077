import type { Approval, RunView } from '../../../hooks/index.ts';
import { Duration } from '../../components/Status.tsx';
import { formatCount, formatDateTime } from '../../lib/format.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { Evidence } from './Approvals.tsx';

/** The pending approvals of a run: reason, deciders, waiting time, expiry and evidence. */
export function RunApprovals({ run }: { run: RunView }) {
  if (run.counts.approvalsPending === 0 || run.endedAt !== undefined) return null;
  const pending = run.approvals.filter(({ status }) => status === 'pending');
  return (
    <section className="waiting-for" aria-labelledby="waiting">
      <h2 id="waiting">
        {pending.length === 1 ? 'Waiting for approval' : `Waiting for ${formatCount(pending.length)} approvals`}
      </h2>
      <p>This app cannot approve or deny yet. Use the API.</p>
      <ul>
        {pending.map((approval) => (
          <li key={approval.approvalId}>
            <strong>{approval.title}</strong>
            {approval.reason !== undefined && <p className="reason">{approval.reason}</p>}
            <dl>
              <div>
                <dt>Can approve</dt>
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
                  <dt>Approvals</dt>
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
  const deciders = approvers ? approvers.join(', ') : `Any ${requiredRole}`;
  return requestedBy === undefined ? deciders : `${deciders}, except ${requestedBy} (the requester)`;
}
