import { useQuery } from '@tanstack/react-query';
import { type RunView, useRunwire } from '../../../../hooks/index.ts';
import { Copy } from '../../../components/Copy.tsx';
import { Name } from '../../../components/Name.tsx';
import { Problem, Skeleton } from '../../../components/Notice.tsx';
import { useIsPast } from '../../../components/Past.tsx';
import { TableBox } from '../../../components/TableBox.tsx';
import { Time } from '../../../components/Time.tsx';
import { useSession } from '../../../hooks/useSession.ts';
import { formatCount } from '../../../lib/format.ts';
import { AccessTable } from './AccessTable.tsx';
import { Deeds } from './Deeds.tsx';
import '../../../styles/pages/audit.css';

/** Whether the record is intact, what was erased, and the users' actions and accesses. */
export function AuditTab({ run }: { run: RunView }) {
  const { projectId, runId } = run;
  const { isAdmin, can, me } = useSession();
  const isPast = useIsPast();
  return (
    <div className="audit">
      {isPast && <p className="note">The audit shows the present, not the past.</p>}
      <Integrity run={run} canVerify={isAdmin && can('admin', projectId) && !isPast} />
      <Deeds run={run} />
      {me && !can('admin', projectId) ? (
        <section aria-labelledby="seen">
          <h2 id="seen">Who saw what</h2>
          <p>The record of access is for administrators.</p>
        </section>
      ) : (
        me && <AccessTable key={`${projectId} ${runId}`} projectId={projectId} runId={runId} />
      )}
    </div>
  );
}

const breaks: { [reason: string]: string } = {
  payload: 'the event is not the one that was logged',
  row: 'the row of the event was altered',
  order: 'the event is of another position',
  missing: 'there is no event',
  beginning: 'the oldest event does not follow the last removed one',
  head: 'the last event is not the end of the log',
  checkpoint: 'a checkpoint has another hash',
  erasure: 'the event was erased without a signed record',
  unreadable: 'the file is damaged',
  wal: 'events after it may be missing',
};

function Integrity({ run, canVerify }: { run: RunView; canVerify: boolean }) {
  const { projectId, runId, lastSeq } = run;
  const { client, queries, queryKey } = useRunwire();
  const key = queryKey('audit.run', projectId, runId);
  const { data, error, refetch } = useQuery({ queryKey: key, queryFn: readAll, refetchOnMount: 'always' }, queries);
  async function readAll() {
    const first = await client.audit.run.query({ projectId, runId });
    const { record } = first;
    const erasures = [...first.erasures];
    for (let cursor = first.nextCursor; cursor !== undefined; ) {
      const page = await client.audit.run.query({ projectId, runId, cursor });
      erasures.push(...page.erasures);
      cursor = page.nextCursor;
    }
    return { record, erasures };
  }
  const verify = useQuery(
    {
      queryKey: queryKey('audit.verify'),
      queryFn: ({ signal }) => client.audit.verify.query({}, { signal }),
      enabled: false,
      retry: false,
    },
    queries,
  );
  const onVerify = () => void verify.refetch().then(() => refetch());
  if (error && !data) return <Problem error={error} onRetry={() => void refetch()} />;
  if (!data) return <Skeleton>Loading the state of the record</Skeleton>;
  const { record, erasures } = data;
  const { verified } = record;
  return (
    <section aria-labelledby="integrity">
      <div className="section-title">
        <h2 id="integrity">Record</h2>
        {canVerify && (
          <button type="button" onClick={onVerify} aria-disabled={verify.isFetching}>
            {verify.isFetching ? 'Verifying…' : 'Verify this run'}
          </button>
        )}
      </div>
      <p role="status" className={verified && !verified.verdict.ok ? 'verdict failure' : 'verdict'}>
        {!verified && 'Not verified since the server started.'}
        {verified?.verdict.ok && (
          <>
            <strong>Record intact</strong> up to event {formatCount(verified.verdict.to)} of the log
            {verified.verdict.to < lastSeq && ', before the last events of this run'}.
          </>
        )}
        {verified && !verified.verdict.ok && (
          <>
            <strong>Record broken</strong> at event {formatCount(verified.verdict.seq)} of the log:{' '}
            {breaks[verified.verdict.reason] ?? verified.verdict.reason}.
          </>
        )}
      </p>
      {verify.error && <p role="alert">The record could not be verified: {verify.error.message}</p>}
      <dl>
        <div>
          <dt>Last verified</dt>
          <dd>
            {verified ? (
              <>
                <Time at={verified.at} form="full" /> by <Name>{verified.by}</Name>
              </>
            ) : (
              '–'
            )}
          </dd>
        </div>
        <div>
          <dt>Head</dt>
          <dd>
            event {formatCount(record.seq)}
            {verified?.verdict.ok && (
              <>
                {' '}
                · verified hash <code title={verified.verdict.hash}>{verified.verdict.hash.slice(0, 12)}…</code>{' '}
                <Copy text={verified.verdict.hash} what="the head hash" />
              </>
            )}
            {!verified?.verdict.ok && (
              <>
                {' '}
                · hash <code>{record.hashPrefix}…</code>{' '}
                <Copy text={record.hashPrefix} what="the beginning of the head hash" />
              </>
            )}
          </dd>
        </div>
        {record.oldest > 1 && (
          <div>
            <dt>Oldest</dt>
            <dd>event {formatCount(record.oldest)}: earlier ones were removed by retention</dd>
          </div>
        )}
      </dl>
      <h3>Erased events</h3>
      {erasures.length === 0 ? (
        <p className="soft">None in this run.</p>
      ) : (
        <TableBox>
          <table>
            <caption className="unseen">Erased events</caption>
            <thead>
              <tr>
                <th scope="col">Event of the log</th>
                <th scope="col">Erased by</th>
                <th scope="col">When</th>
                <th scope="col">Why</th>
              </tr>
            </thead>
            <tbody>
              {erasures.map(({ seq, by, at, reason }) => (
                <tr key={seq}>
                  <th scope="row">{formatCount(seq)}</th>
                  <td>
                    <Name>{by}</Name>
                  </td>
                  <td>
                    <Time at={at} form="full" />
                  </td>
                  <td>
                    <Name>{reason}</Name>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableBox>
      )}
    </section>
  );
}
