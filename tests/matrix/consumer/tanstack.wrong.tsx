import { useQuery } from '@tanstack/react-query';
import { useSubscription } from '@trpc/tanstack-react-query';
import { useTRPC, useTRPCClient } from 'runwire/tanstack';

/** Each use is wrong: it must not compile. */

export function Wrong() {
  const trpc = useTRPC();
  // @ts-expect-error: no such procedure
  useQuery(trpc.run.fetch.queryOptions({ runId: 'run-1' }));
  // @ts-expect-error: a limit is a number
  useQuery(trpc.run.history.queryOptions({ runId: 'run-1', limit: 'ten' }));
  // @ts-expect-error: `from` is now or start
  useSubscription(trpc.onRunEvent.subscriptionOptions({ runId: 'run-1', from: 'end' }, {}));
  useSubscription(
    trpc.onRunEvent.subscriptionOptions(
      { runId: 'run-1' },
      // @ts-expect-error: no event has this field
      { onData: ({ data }) => data.percentage },
    ),
  );
  // @ts-expect-error: a subscription is not a query
  useTRPCClient().onRunEvent.query({ runId: 'run-1' });
  return null;
}
