import { QueryClient, QueryClientProvider, useQuery, useQueryClient } from '@tanstack/react-query';
import { httpLink } from '@trpc/client';
import { createTRPCReact } from '@trpc/react-query';
import { initTRPC } from '@trpc/server';
import { type ReactNode, Suspense, useEffect } from 'react';
import { expect, onTestFinished, test, vi } from 'vitest';
import { render } from 'vitest-browser-react';
import { createRunwireClient } from '../../client/index.ts';
import {
  RunwireProvider,
  type TokenSource,
  trpc,
  useConnection,
  useRun,
  useRuns,
  useRunwire,
} from '../../client/react/index.ts';
import { until, watchRequests } from './mount.tsx';
import { draft, openServer, progress } from './servers.ts';

const t = initTRPC.create({ allowOutsideOfServer: true });
const appRouter = t.router({
  hello: t.procedure.query(() => ''),
  run: t.router({ list: t.procedure.query(() => '') }),
});
/** The application's own tRPC, in tRPC's default context. */
const appTrpc = createTRPCReact<typeof appRouter>();

/** A client of the application's own server, which answers each request with its path. */
function appClient() {
  const requests: string[] = [];
  const client = appTrpc.createClient({
    links: [
      httpLink({
        url: 'http://app.invalid/trpc',
        fetch: async (url) => {
          requests.push(String(url).replace(/\?.*/, ''));
          return Response.json({ result: { data: `the app's ${new URL(String(url)).pathname}` } });
        },
      }),
    ],
  });
  return { client, requests };
}

async function show(page: ReactNode) {
  const shown = await render(page);
  onTestFinished(() => shown.unmount());
  return { ...shown, text: () => shown.container.textContent ?? '' };
}

test.each(['outside', 'inside'])(
  '[H32] the tRPC and the QueryClient of the application, %s, stay its own',
  async (place) => {
    const server = await openServer();
    await server.publish(draft('run.created', 'r1', { name: 'one' }));
    const { client, requests } = appClient();
    const appQueries = new QueryClient();
    const fetched = vi.fn(async () => 'own');
    let invalidate = async () => {};
    const Everything = () => {
      const hello = appTrpc.hello.useQuery();
      const list = appTrpc.run.list.useQuery();
      const { runs, phase } = useRuns();
      const listed = trpc.run.list.useQuery({});
      const own = useQuery({ queryKey: ['own'], queryFn: fetched });
      const utils = trpc.useUtils();
      invalidate = () => utils.invalidate();
      const isOwn = useQueryClient() === appQueries;
      const names = `${runs.map(({ name }) => name)} ${listed.data?.runs.map(({ name }) => name)}`;
      return <p>{`${hello.data} | ${list.data} | ${names} ${phase} | ${own.data} | ${isOwn}`}</p>;
    };
    const App = ({ children }: { children: ReactNode }) => (
      <QueryClientProvider client={appQueries}>
        <appTrpc.Provider client={client} queryClient={appQueries}>
          {children}
        </appTrpc.Provider>
      </QueryClientProvider>
    );
    const Runwire = ({ children }: { children: ReactNode }) => (
      <RunwireProvider url={server.url} token={server.token}>
        {children}
      </RunwireProvider>
    );
    const [Outer, Inner] = place === 'outside' ? [App, Runwire] : [Runwire, App];
    const page = await show(
      <Outer>
        <Inner>
          <Everything />
        </Inner>
      </Outer>,
    );
    await until(() =>
      expect(page.text()).toBe("the app's /trpc/hello | the app's /trpc/run.list | one one live | own | true"),
    );
    expect(requests.sort()).toEqual(['http://app.invalid/trpc/hello', 'http://app.invalid/trpc/run.list']);

    // The query of Runwire's tRPC is fetched again, and neither that of `useRuns` nor one of the application's.
    const again = watchRequests('run.list');
    await invalidate();
    expect(again.count).toBe(1);
    expect(requests).toHaveLength(2);
    expect(fetched).toHaveBeenCalledTimes(1);
  },
);

test('[H32] two servers on one page with one QueryClient never share an entry', async () => {
  const servers = [await openServer(), await openServer()] as const;
  for (const [index, server] of servers.entries()) {
    await server.publish(draft('run.created', 'r1', { name: `run of ${index}` }));
  }
  const queryClient = new QueryClient();
  const Everything = () => {
    const { runs, phase } = useRuns();
    const { run } = useRun({ runId: 'r1' });
    const got = trpc.run.get.useQuery({ runId: 'r1' });
    return <p>{`${runs.map(({ name }) => name)}, ${run?.name}, ${got.data?.run.name}, ${phase}`}</p>;
  };
  const page = await show(
    <QueryClientProvider client={queryClient}>
      {servers.map(({ url, token }) => (
        <RunwireProvider key={url} url={url} token={token}>
          <Everything />
        </RunwireProvider>
      ))}
    </QueryClientProvider>,
  );
  const shown = () => [...page.container.querySelectorAll('p')].map((each) => each.textContent);
  const expected = [0, 1].map((index) => `run of ${index}, run of ${index}, run of ${index}, live`);
  await until(() => expect(shown()).toEqual(expected));
  for (const server of servers) await server.publish(progress('r1', 50));
  await queryClient.invalidateQueries();
  await until(() => expect(queryClient.isFetching()).toBe(0));
  expect(shown()).toEqual(expected);
});

test('[H32] a client that the application created shares its socket and token, and stays open', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'one' }));
  const token = vi.fn(() => server.token);
  const runwire = createRunwireClient({ url: server.url, token });
  onTestFinished(() => runwire.connection.close());
  const received: (number | undefined)[] = [];
  const begin = () =>
    runwire.client.onRunEvent.subscribe(
      { runId: 'r1', from: 'start' },
      { onData: ({ data }) => void ('runSeq' in data && received.push(data.runSeq)) },
    );
  const subscription = begin();
  let connection: unknown;
  const Run = () => {
    connection = useRunwire().connection;
    const { run, phase } = useRun({ runId: 'r1' });
    const { state } = useConnection();
    return <p>{`${run?.lastRunSeq} ${phase} ${state}`}</p>;
  };
  const page = await show(
    <RunwireProvider client={runwire}>
      <Run />
    </RunwireProvider>,
  );
  await until(() => expect(page.text()).toBe('1 live connected'));
  expect(connection).toBe(runwire.connection);
  for (let value = 1; value <= 20; value++) await server.publish(progress('r1', value));
  await until(() => expect(page.text()).toBe('21 live connected'));
  await until(() => expect(received).toEqual(Array.from({ length: 21 }, (_, index) => index + 1)));
  expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 2 });
  await page.unmount();
  await server.publish(progress('r1', 21));
  await until(() => expect(received).toHaveLength(22));
  expect((await runwire.client.auth.me.query()).sub).toBe('ada');
  expect(token).toHaveBeenCalledTimes(1);
  subscription.unsubscribe();
});

test.each(['a text', 'a function'])(
  '[H33] a query that suspends below a boundary above the provider is sent once: token as %s',
  async (kind) => {
    const server = await openServer();
    await server.publish(draft('run.created', 'r1', { name: 'one' }));
    const requests = watchRequests('run.get');
    const token = kind === 'a text' ? server.token : () => Promise.resolve(server.token);
    const Run = (): ReactNode => <p>{trpc.run.get.useSuspenseQuery({ runId: 'r1' })[0].run.name}</p>;
    const page = await show(
      <Suspense fallback={<i>wait</i>}>
        <RunwireProvider url={server.url} token={token}>
          <Run />
        </RunwireProvider>
      </Suspense>,
    );
    await until(() => expect(page.text()).toBe('one'));
    expect(requests.count).toBe(1);
  },
);

const notYet: [string, TokenSource][] = [
  ['null', null],
  ['a function that has none yet', () => undefined],
];

test.each(notYet)(
  '[C17] with the token %s the hooks wait, and the components stay when it comes',
  async (_name, none) => {
    const server = await openServer();
    await server.publish(draft('run.created', 'r1', { name: 'one' }));
    let mounts = 0;
    const Run = () => {
      const { run, connectionState, error } = useRun({ runId: 'r1' });
      useEffect(() => void mounts++, []);
      return <p>{`${run?.name} ${connectionState} ${error?.message}`}</p>;
    };
    const requests = watchRequests('run.get');
    const Page = ({ token }: { token: TokenSource }) => (
      <RunwireProvider url={server.url} token={token}>
        <input />
        <Run />
      </RunwireProvider>
    );
    const page = await show(<Page token={none} />);
    (page.container.querySelector('input') as HTMLInputElement).value = 'a draft';
    expect(page.text()).toBe('undefined connecting undefined');
    expect(requests.count).toBe(0);
    expect((await server.stats()).connections).toBe(0);
    await page.rerender(<Page token={server.token} />);
    await until(() => expect(page.text()).toBe('one connected undefined'));
    expect((page.container.querySelector('input') as HTMLInputElement).value).toBe('a draft');
    expect(mounts).toBe(1);
  },
);

test('[C18] another text of the same user is sent over the open socket', async () => {
  const server = await openServer();
  await server.publish(
    draft('run.created', 'r1', { name: 'one' }),
    draft('run.created', 'r1', { projectId: 'b', name: 'two' }),
  );
  const Run = () => {
    const { run, phase } = useRun({ runId: 'r1', projectId: 'b' });
    return <p>{`${run?.name} ${phase}`}</p>;
  };
  const Page = ({ token }: { token: string }) => (
    <RunwireProvider url={server.url} token={token}>
      <Run />
    </RunwireProvider>
  );
  const page = await show(<Page token={await server.tokenOf('ann', { projects: ['demo'] })} />);
  await until(() => expect(page.text()).toBe('undefined live'));
  const before = (await server.stats()).clients;
  await page.rerender(<Page token={await server.tokenOf('ann', { projects: ['demo', 'b'] })} />);
  await until(() => expect(page.text()).toBe('two live'));
  const after = (await server.stats()).clients;
  expect(after.map(({ id }) => id)).toEqual(before.map(({ id }) => id));
  expect(after).toHaveLength(1);
});
