import { type RunView, useRunCounts } from '../../../../hooks/index.ts';
import { Name } from '../../../components/Name.tsx';
import { TableBox } from '../../../components/TableBox.tsx';
import { Time } from '../../../components/Time.tsx';
import { formatCount } from '../../../lib/format.ts';

/** The decisions about the run's approvals, newest first, and the publishers of its events. */
export function Deeds({ run }: { run: RunView }) {
  const { counts, error } = useRunCounts(run);
  const decisions = run.approvals
    .flatMap(({ approvalId, title, decisions: all }) => all.map((decision) => ({ approvalId, title, ...decision })))
    .sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  const publishers = [...(counts?.actors ?? [])].sort((a, b) => b[1] - a[1]);
  return (
    <section aria-labelledby="did">
      <h2 id="did">Who did what</h2>
      <TableBox>
        <table>
          <caption className="unseen">Decisions and publishers</caption>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Who</th>
              <th scope="col">Did</th>
              <th scope="col">Text</th>
            </tr>
          </thead>
          <tbody>
            {decisions.map(({ approvalId, title, decidedBy, actor, decision, at, comment, reason }) => (
              <tr key={`${approvalId} ${decidedBy} ${at}`}>
                <td>
                  <Time at={at} form="full" />
                </td>
                <td>
                  <Name>{decidedBy}</Name>
                  {actor !== undefined && (
                    <span className="soft">
                      {' '}
                      through <Name>{actor}</Name>
                    </span>
                  )}
                </td>
                <td>
                  {decision === 'granted' ? 'approved' : 'denied'} “<Name>{title}</Name>”
                </td>
                <td>{(comment ?? reason) === undefined ? '' : <Name>{comment ?? reason ?? ''}</Name>}</td>
              </tr>
            ))}
            {publishers.map(([actor, count]) => (
              <tr key={actor}>
                <td />
                <td>
                  <Name>{actor}</Name>
                </td>
                <td>
                  published {formatCount(count)} {count === 1 ? 'event' : 'events'}
                </td>
                <td />
              </tr>
            ))}
          </tbody>
        </table>
      </TableBox>
      {!counts && <p role="status">{error ? `The events could not be counted: ${error.message}` : 'Counting…'}</p>}
    </section>
  );
}
