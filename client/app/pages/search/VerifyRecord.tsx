import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { useNow } from '../../hooks/useNow.ts';
import { formatCount, formatDuration } from '../../lib/format.ts';

/** Verifies the hash chain of the whole log. For administrators. */
export function VerifyRecord() {
  const { client, queryKey } = useRunwire();
  const [startedAt, setStartedAt] = useState<number | null>(null);
  const { data, error, isFetching, refetch } = useQuery({
    queryKey: queryKey('audit.verify'),
    queryFn: ({ signal }) => client.audit.verify.query({}, { signal }),
    enabled: false,
    retry: false,
  });
  const now = useNow(isFetching);
  const verify = () => {
    if (isFetching) return;
    setStartedAt(Date.now());
    void refetch();
  };
  return (
    <div className="verify">
      <button type="button" onClick={verify} aria-disabled={isFetching}>
        Verify the record
      </button>
      <p role="status">
        {isFetching && `Verifying every event… ${formatDuration(Math.max(0, now - (startedAt ?? now)))}`}
        {!isFetching && error && `The record could not be verified: ${error.message}`}
        {!isFetching && data?.ok === true && (
          <>
            Intact: {formatCount(data.events)} events, head <code title={data.hash}>{data.hash.slice(0, 8)}…</code>
          </>
        )}
        {!isFetching && data?.ok === false && (
          <strong className="broken">
            Event {formatCount(data.seq)} of the log does not hold: {data.reason}
          </strong>
        )}
      </p>
    </div>
  );
}
