import type { Approval, Artifact, RunView } from '../../../react/index.tsx';
import { None, Status } from '../../components/Status.tsx';
import { formatCount, formatDateTime } from '../../lib/format.ts';
import { ArtifactName } from './Artifacts.tsx';

/** All that was asked for in a run, and what came of it: who decided, when, and with which words. */
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
  const isCutOff = status === 'pending' && run.endedAt !== undefined;
  return (
    <tr>
      <th scope="row">
        {title}
        {reason !== undefined && <span className="more-of">{reason}</span>}
        <span className="ids">
          asked {requestedBy !== undefined && `by ${requestedBy} `}on {formatDateTime(requestedAt)}
        </span>
      </th>
      <td>
        <Status value={isCutOff ? 'not decided' : status === 'pending' ? 'waiting' : status} />
        {status === 'expired' && decidedAt !== undefined && <span className="ids">{formatDateTime(decidedAt)}</span>}
      </td>
      <td>
        {decisions.length === 0 ? (
          <None />
        ) : (
          decisions.map(({ decidedBy, decision, at, comment, reason: why }) => (
            <p key={`${decidedBy} ${at}`}>
              {decision} by <strong>{decidedBy}</strong> <span className="soft">on {formatDateTime(at)}</span>
              {(comment ?? why) !== undefined && <span className="more-of">{comment ?? why}</span>}
            </p>
          ))
        )}
      </td>
      <td>
        <Evidence ids={evidence} artifacts={run.artifacts} />
      </td>
    </tr>
  );
}

/** Artifacts by their names; an id that none has is shown as it is. */
export function Evidence({ ids = [], artifacts }: { ids: string[] | undefined; artifacts: readonly Artifact[] }) {
  if (ids.length === 0) return <None />;
  return (
    <ul className="evidence">
      {ids.map((id) => {
        const artifact = artifacts.find(({ artifactId }) => artifactId === id);
        return <li key={id}>{artifact ? <ArtifactName {...artifact} /> : id}</li>;
      })}
    </ul>
  );
}
