import { useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useRunwire } from '../../../../hooks/index.ts';
import { Name } from '../../../components/Name.tsx';
import { TableBox } from '../../../components/TableBox.tsx';
import { Time } from '../../../components/Time.tsx';
import { formatCount } from '../../../lib/format.ts';

const PAGE = 100;

/** The record of access to a run, newest first, for administrators. */
export function AccessTable({ projectId, runId }: { projectId: string; runId: string }) {
  const { client, queries, queryKey } = useRunwire();
  const [sub, setSub] = useState('');
  const [action, setAction] = useState('');
  const filter = { ...(sub === '' ? {} : { sub }), ...(action === '' ? {} : { action }) };
  const query = useInfiniteQuery(
    {
      queryKey: queryKey('audit.access', projectId, runId, filter),
      queryFn: ({ pageParam, signal }) =>
        client.audit.access.query({ projectId, runId, ...filter, limit: PAGE, cursor: pageParam }, { signal }),
      initialPageParam: null as string | null,
      getNextPageParam: (page) => page.nextCursor,
      refetchOnMount: 'always',
    },
    queries,
  );
  const { data, error, hasNextPage, isFetching, fetchNextPage, refetch } = query;
  const entries = data?.pages.flatMap((page) => page.entries) ?? [];
  return (
    <section aria-labelledby="seen">
      <h2 id="seen">Who saw what</h2>
      <form
        className="filter-bar"
        onSubmit={(event) => {
          event.preventDefault();
          const fields = new FormData(event.currentTarget);
          setSub(String(fields.get('who')).trim());
          setAction(String(fields.get('action')).trim());
        }}
      >
        <input type="search" name="who" aria-label="Who" placeholder="Who" maxLength={200} />
        <input
          type="search"
          name="action"
          aria-label="Action"
          placeholder="Action, like run.get"
          maxLength={100}
          list="actions"
        />
        <datalist id="actions">
          {[...new Set(entries.map((entry) => entry.action))].map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
        <button type="submit">Filter</button>
        <button type="button" onClick={() => void refetch()}>
          Reload
        </button>
      </form>
      {error && (
        <p role="alert">
          The record of access could not be read: {error.message}{' '}
          <button type="button" className="link" onClick={() => void refetch()}>
            Try again
          </button>
        </p>
      )}
      <TableBox>
        <table>
          <caption className="unseen">Accesses, newest first</caption>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Who</th>
              <th scope="col">Did</th>
              <th scope="col">Result</th>
              <th scope="col">Via</th>
              <th scope="col" className="number">
                Times
              </th>
            </tr>
          </thead>
          <tbody>
            {entries.map(({ at, sub: who, action: did, outcome, via, detail, count }, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: an entry has no id, and the list is only replaced or continued.
              <tr key={index}>
                <td>
                  <Time at={at} form="full" />
                </td>
                <td>{who === null ? <span className="soft">nobody signed in</span> : <Name>{who}</Name>}</td>
                <td>
                  <code>{did}</code>
                  {detail !== undefined && <span className="soft"> {detail}</span>}
                </td>
                <td className={outcome === 'ok' ? undefined : 'failure'}>{outcome}</td>
                <td>{via}</td>
                <td className="number">{formatCount(count)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </TableBox>
      <p role="status" className="soft">
        {isFetching
          ? 'Loading…'
          : entries.length === 0 && !error
            ? 'No accesses match.'
            : `${formatCount(entries.length)}${hasNextPage ? '+' : ''} entries`}
      </p>
      {hasNextPage && (
        <button type="button" disabled={isFetching} onClick={() => void fetchNextPage()}>
          Show {PAGE} more
        </button>
      )}
    </section>
  );
}
