import { trpc } from 'runwire/react';

/** Each use is wrong: it must not compile. */

export function Wrong() {
  // @ts-expect-error: no such procedure
  trpc.run.fetch.useQuery({ runId: 'run-1' });
  // @ts-expect-error: a limit is a number
  trpc.run.history.useQuery({ runId: 'run-1', limit: 'ten' });
  // @ts-expect-error: `from` is now or start
  trpc.onRunEvent.useSubscription({ runId: 'run-1', from: 'end' }, {});
  trpc.onRunEvent.useSubscription(
    { runId: 'run-1' },
    // @ts-expect-error: no event has this field
    { onData: ({ data }) => data.percentage },
  );
  const grant = trpc.approval.grant.useMutation();
  // @ts-expect-error: an approval has an id
  grant.mutate({ runId: 'run-1' });
  return null;
}
