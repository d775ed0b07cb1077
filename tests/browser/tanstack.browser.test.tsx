import { QueryClient, QueryClientProvider, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { createTRPCClient, httpLink } from '@trpc/client';
import { createTRPCContext, useSubscription } from '@trpc/tanstack-react-query';
import { type ReactNode, StrictMode } from 'react';
import { expect, onTestFinished, test } from 'vitest';
import { renderHook } from 'vitest-browser-react';
import {
  type AppRouter,
  createRunwireTanstack,
  RunwireProvider,
  useRun,
  useTRPC,
  useTRPCClient,
} from '../../client/tanstack/index.ts';
import { ownEvents } from '../support/own-events.ts';
import { until } from './mount.tsx';
import { draft, openServer, progress, type TestServer } from './servers.ts';

async function mount<Result>(use: () => Result, Wrapper: (props: { children: ReactNode }) => ReactNode) {
  const hook = await renderHook(use, {
    wrapper: ({ children }) => (
      <StrictMode>
        <Wrapper>{children}</Wrapper>
      </StrictMode>
    ),
  });
  onTestFinished(() => hook.unmount());
  return hook;
}

const below = (server: TestServer, queryClient?: QueryClient) =>
  function Below({ children }: { children: ReactNode }) {
    return (
      <RunwireProvider url={server.url} token={server.token} queryClient={queryClient} reconnectDelayMs={1}>
        {children}
      </RunwireProvider>
    );
  };

test('[K6] queries, mutations and the client of runwire/tanstack share the connection and the QueryClient of the provider', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'one' }), progress('r1', 10));
  const queryClient = new QueryClient();
  const hook = await mount(
    () => {
      const trpc = useTRPC();
      return {
        trpc,
        client: useTRPCClient(),
        queries: useQueryClient(),
        history: useQuery(trpc.run.history.queryOptions({ runId: 'r1' })),
        publish: useMutation(trpc.event.publish.mutationOptions()),
        run: useRun({ runId: 'r1' }),
      };
    },
    below(server, queryClient),
  );
  await until(() => expect(hook.result.current.history.data?.events).toHaveLength(2));
  const { client, publish, queries, trpc } = hook.result.current;
  expect(queries).toBe(queryClient);
  expect(JSON.stringify(trpc.run.history.queryKey({ runId: 'r1' }))).toContain(server.url);
  expect(queryClient.getQueryData(trpc.run.history.queryKey({ runId: 'r1' }))?.events).toHaveLength(2);
  await publish.mutateAsync({ events: [progress('r1', 20)] });
  await until(() => expect(hook.result.current.run.run?.lastSeq).toBe(3));
  expect((await client.run.get.query({ runId: 'r1' })).run.lastSeq).toBe(3);
});

test('[K6] useSubscription of @trpc/tanstack-react-query misses nothing over cuts', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'one' }));
  const seqs: number[] = [];
  await mount(() => {
    const trpc = useTRPC();
    useSubscription(
      trpc.onRunEvent.subscriptionOptions(
        { runId: 'r1', from: 'start' },
        { onData: ({ data }) => void ('runSeq' in data && seqs.push(data.seq)) },
      ),
    );
  }, below(server));
  let last = 1;
  for (let cut = 0; cut < 3; cut++) {
    await until(() => expect(seqs.at(-1)).toBe(last));
    await server.cut();
    await server.publishInside(progress('r1', 1), progress('r1', 2), progress('r1', 3));
    last += 3;
  }
  await until(() => expect(seqs.at(-1)).toBe(last));
  // StrictMode subscribes twice at first, and each of the two receives the first event.
  expect([...new Set(seqs)]).toEqual(Array.from({ length: last }, (_, index) => index + 1));
  expect(seqs.length).toBeLessThanOrEqual(last + 1);
});

test('[K6] the tRPC and the QueryClient of the application stay its own, with equal procedures on another server', async () => {
  const [server, others] = [await openServer(), await openServer()];
  await server.publish(draft('run.created', 'r1', { name: 'a run of Runwire' }));
  await others.publish(draft('run.created', 'r1', { name: 'a run of the application' }));
  const own = createTRPCContext<AppRouter>();
  const headers = { authorization: `Bearer ${others.token}` };
  const trpcClient = createTRPCClient<AppRouter>({ links: [httpLink({ url: `${others.url}/trpc`, headers })] });
  const queryClient = new QueryClient();
  const Runwire = below(server);
  const Own = ({ children }: { children: ReactNode }) => (
    <own.TRPCProvider trpcClient={trpcClient} queryClient={queryClient}>
      {children}
    </own.TRPCProvider>
  );
  const use = () => ({
    queries: useQueryClient(),
    ours: useQuery(useTRPC().run.get.queryOptions({ runId: 'r1' })),
    theirs: useQuery(own.useTRPC().run.get.queryOptions({ runId: 'r1' })),
  });
  for (const [Outer, Inner] of [
    [Own, Runwire],
    [Runwire, Own],
  ] as const) {
    queryClient.clear();
    const hook = await mount(use, ({ children }) => (
      <QueryClientProvider client={queryClient}>
        <Outer>
          <Inner>{children}</Inner>
        </Outer>
      </QueryClientProvider>
    ));
    await until(() => expect(hook.result.current.ours.data?.run.name).toBe('a run of Runwire'));
    await until(() => expect(hook.result.current.theirs.data?.run.name).toBe('a run of the application'));
    expect(hook.result.current.queries).toBe(queryClient);
  }
});

test('[K6] createRunwireTanstack types procedures by the registry of the application', async () => {
  const server = await openServer({ hasOwnTypes: true });
  const own = createRunwireTanstack(ownEvents);
  const run = { projectId: 'demo', runId: 'r1' };
  const values: number[] = [];
  const hook = await mount(
    () => {
      const trpc = own.useTRPC();
      const input = { runId: 'r1', types: ['metric.sampled' as const], from: 'start' as const };
      const onData = ({ data }: { data: { type: string; value?: number } }) =>
        void (data.type === 'metric.sampled' && values.push(data.value ?? -1));
      useSubscription(trpc.onRunEvent.subscriptionOptions(input, { onData }));
      return useMutation(trpc.event.publish.mutationOptions());
    },
    ({ children }) => (
      <own.RunwireProvider url={server.url} token={server.token}>
        {children}
      </own.RunwireProvider>
    ),
  );
  await hook.result.current.mutateAsync({
    events: [
      { type: 'run.created', ...run, name: 'One' },
      { type: 'metric.sampled', ...run, metricId: 'loss', unit: '%', value: 7 },
    ],
  });
  await until(() => expect(values).toContain(7));
  // @ts-expect-error -- a metric has a value
  const wrong: Parameters<typeof hook.result.current.mutate>[0] = { events: [{ type: 'metric.sampled', ...run }] };
  expect(wrong.events).toHaveLength(1);
});

test('[K6] useTRPC outside of a provider names the provider', async () => {
  await expect(mount(useTRPC, ({ children }) => children)).rejects.toThrow('needs a <RunwireProvider> above it');
});
