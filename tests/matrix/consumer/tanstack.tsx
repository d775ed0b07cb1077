import { QueryClient, QueryClientProvider, skipToken, useMutation, useQuery } from '@tanstack/react-query';
import { useSubscription } from '@trpc/tanstack-react-query';
import { useState } from 'react';
import { RunwireProvider, useRun, useTRPC, useTRPCClient } from 'runwire/tanstack';

function Run({ runId }: { runId: string | undefined }) {
  const [seq, setSeq] = useState(0);
  const trpc = useTRPC();
  const client = useTRPCClient();
  const history = useQuery(trpc.run.history.queryOptions(runId === undefined ? skipToken : { runId, limit: 10 }));
  const grant = useMutation(
    trpc.approval.grant.mutationOptions({ onSuccess: ({ decisions }) => setSeq(decisions.length) }),
  );
  const { status } = useSubscription(
    trpc.onRunEvent.subscriptionOptions(runId === undefined ? skipToken : { runId, from: 'start' }, {
      onData: ({ id, data }) => setSeq(data.type === 'stream.gap' ? id.length : data.seq),
    }),
  );
  const { run } = useRun({ runId: runId ?? 'none', enabled: runId !== undefined });
  const reload = () => client.run.get.query({ runId: 'run-1' }).then((answer) => answer.run.name.trim());
  return (
    <button type="button" onClick={() => grant.mutate({ runId: 'run-1', approvalId: 'a1' })} onFocus={reload}>
      {run?.name ?? 'no name'} {history.data?.events[0]?.type ?? 'no event'} {status} {seq.toFixed(0)}
    </button>
  );
}

export const App = ({ url, token }: { url: string; token: string }) => {
  const [queryClient] = useState(() => new QueryClient());
  return (
    <QueryClientProvider client={queryClient}>
      <RunwireProvider url={url} token={token}>
        <Run runId="run-1" />
      </RunwireProvider>
    </QueryClientProvider>
  );
};
