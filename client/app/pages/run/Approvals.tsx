import type { Approval, Artifact, RunView } from '../../../hooks/index.ts';
import { None, Status } from '../../components/Status.tsx';
import { formatCount, formatDateTime } from '../../lib/format.ts';
import { ArtifactName } from './Artifacts.tsx';
import { shownOutcome } from './axis.ts';

/** All approvals of a run with their outcome and decisions: user, time, comment or reason. */
export const Approvals = ({ run }: { run: RunView }) => (
  <section aria-labelledby="approvals" className="approvals-of">
    <div className="section-title">
      <h2 id="approvals">
        Approvals <small>{formatCount(run.approvals.length)}</small>
      </h2>
    </div>
    <div className="table-box">
      <table>
        <caption className="unseen">Approvals</caption>
        <thead>
          <tr>
            {['Approval', 'Outcome', 'Decisions', 'Evidence'].map((name) => (
              <th scope="col" key={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {run.approvals.map((approval) => (
            <Row key={approval.approvalId} approval={approval} run={run} />
          ))}
        </tbody>
      </table>
    </div>
  </section>
);

function Row({ approval, run }: { approval: Approval; run: RunView }) {
  const { title, reason, status, decisions, decidedAt, requestedBy, requestedAt, evidence } = approval;
  const isUndecided = status === 'pending' && run.endedAt !== undefined;
  return (
    <tr>
      <th scope="row">
        {title}
        {reason !== undefined && <span className="more-of">{reason}</span>}
        <span className="ids">
          Requested {requestedBy !== undefined && `by ${requestedBy}, `}
          {formatDateTime(requestedAt)}
        </span>
      </th>
      <td>
        <Status value={isUndecided ? 'run ended first' : shownOutcome(status)} />
        {status === 'expired' && decidedAt !== undefined && <span className="ids">{formatDateTime(decidedAt)}</span>}
      </td>
      <td>
        {decisions.length === 0 ? (
          <None />
        ) : (
          decisions.map((decision) => (
            <DecisionText
              key={`${decision.decidedBy} ${decision.at}`}
              {...decision}
              isExpiry={status === 'expired' && decision.decision === 'denied'}
            />
          ))
        )}
      </td>
      <td>
        <Evidence ids={evidence} artifacts={run.artifacts} />
      </td>
    </tr>
  );
}

type Decision = Approval['decisions'][number];

/** `isExpiry`: the server made the decision because the approval expired. */
function DecisionText({ decidedBy, decision, at, comment, reason, isExpiry }: Decision & { isExpiry: boolean }) {
  const time = <span className="soft">{formatDateTime(at)}</span>;
  if (isExpiry) return <p>Expired: nobody decided in time, {time}</p>;
  const text = comment ?? reason;
  return (
    <p>
      {decision === 'granted' ? 'Approved' : 'Denied'} by <strong>{decidedBy}</strong>, {time}
      {text !== undefined && <span className="more-of">{text}</span>}
    </p>
  );
}

/** The evidence of an approval is a list of artifacts. An artifact that is not published yet appears with its id. */
export function Evidence({ ids = [], artifacts }: { ids: string[] | undefined; artifacts: readonly Artifact[] }) {
  if (ids.length === 0) return <None />;
  return (
    <ul className="evidence">
      {ids.map((id) => {
        const artifact = artifacts.find(({ artifactId }) => artifactId === id);
        return <li key={id}>{artifact ? <ArtifactName {...artifact} /> : `${id} · not published yet`}</li>;
      })}
    </ul>
  );
}
