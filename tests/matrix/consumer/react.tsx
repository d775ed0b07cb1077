import { QueryClient } from '@tanstack/react-query';
import type { inferRouterOutputs } from '@trpc/server';
import { useState } from 'react';
import { type AppRouter, RunwireProvider, trpc, useRun } from 'runwire/react';

function Run({ runId }: { runId: string }) {
  const [seq, setSeq] = useState(0);
  trpc.onRunEvent.useSubscription(
    { runId, from: 'start' },
    { onData: ({ id, data }) => setSeq(data.type === 'stream.gap' ? id.length : data.seq) },
  );
  const history = trpc.run.history.useQuery({ runId, limit: 10 });
  const grant = trpc.approval.grant.useMutation();
  const { run } = useRun({ runId });
  const first: inferRouterOutputs<AppRouter>['run']['history']['events'][number] | undefined = history.data?.events[0];
  return (
    <button type="button" onClick={() => grant.mutate({ runId, approvalId: 'a1', comment: 'fine' })}>
      {run?.name ?? 'no name'} {first?.type ?? 'no event'} {seq.toFixed(0)}
    </button>
  );
}

export const App = ({ url, token }: { url: string; token: string }) => {
  const [queryClient] = useState(() => new QueryClient());
  return (
    <RunwireProvider url={url} token={token} queryClient={queryClient}>
      <Run runId="run-1" />
    </RunwireProvider>
  );
};
