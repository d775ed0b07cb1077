import { dehydrate, HydrationBoundary, hydrate, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { Component, type ReactNode, Suspense, useEffect } from 'react';
import { hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, onTestFinished, test, vi } from 'vitest';
import { render } from 'vitest-browser-react';
import { createRunwireClient, prefetchRun, prefetchRuns } from '../../client/index.ts';
import {
  RunwireProvider,
  useRun,
  useRunEvents,
  useRuns,
  useSuspenseRun,
  useSuspenseRuns,
} from '../../client/react/index.ts';
import { until, watchRequests } from './mount.tsx';
import { draft, openServer, progress, type TestServer } from './servers.ts';

/** The page of a guest: a run, the list of runs, and a listener that begins where the run was fetched. */
function Page({ received }: { received: number[] }) {
  const { run, phase } = useRun({ runId: 'r1' });
  const { runs } = useRuns({ projectId: 'demo' });
  const { subscribe } = useRunEvents({ runId: 'r1', from: 'start' });
  useEffect(() => subscribe('stage.progress', ({ seq }) => void received.push(seq)), [subscribe, received]);
  return (
    <p>
      {run?.name}: {run?.progress} ({phase}), {runs.map(({ runId, progress }) => `${runId} ${progress}`).join(', ')}
    </p>
  );
}

const App = ({ server, queries, children }: { server: TestServer; queries: QueryClient; children: ReactNode }) => (
  <QueryClientProvider client={queries}>
    <RunwireProvider url={server.url} token={server.token} reconnectDelayMs={1}>
      {children}
    </RunwireProvider>
  </QueryClientProvider>
);

/** What a server does for a request: fetches, renders, and sends the page with the cache as JSON. */
async function renderOnServer(server: TestServer, afterFetch: () => Promise<unknown>) {
  const runwire = createRunwireClient({ url: server.url, token: server.token });
  const queries = new QueryClient();
  await prefetchRun(queries, runwire, { runId: 'r1' });
  await afterFetch();
  await prefetchRuns(queries, runwire, { projectId: 'demo' });
  const html = renderToString(
    <App server={server} queries={queries}>
      <Page received={[]} />
    </App>,
  );
  const state = JSON.stringify(dehydrate(queries));
  await runwire.connection.close();
  return { html, state };
}

const text = (html: string) => html.replace(/<!-- -->/g, '');

// An event at each of these moments, and at all of them.
const moments = ['between the fetches', 'before the browser', 'before the effects', 'after the effects'];
for (const when of [...moments, 'every moment']) {
  test(`[H29] a page that a server rendered is hydrated as it is, and misses no event: ${when}`, async () => {
    const server = await openServer();
    let value = 10;
    await server.publish(draft('run.created', 'r1', { name: 'Import' }), progress('r1', value));
    const publishAt = async (moment: string) => {
      if (when !== moment && when !== 'every moment') return;
      value += 10;
      await server.publish(progress('r1', value));
    };
    const { html, state } = await renderOnServer(server, () => publishAt('between the fetches'));
    expect(text(html)).toContain('Import: 10 (replaying)');

    await publishAt('before the browser');
    const requests = watchRequests('run.');
    const errors: unknown[] = [];
    const container = document.createElement('div');
    container.innerHTML = html;
    document.body.append(container);
    const queries = new QueryClient();
    hydrate(queries, JSON.parse(state));
    const received: number[] = [];
    const published = publishAt('before the effects');
    const root = hydrateRoot(
      container,
      <App server={server} queries={queries}>
        <Page received={received} />
      </App>,
      { onRecoverableError: (error) => errors.push(error), onUncaughtError: (error) => errors.push(error) },
    );
    onTestFinished(() => {
      root.unmount();
      container.remove();
    });
    await published;
    await publishAt('after the effects');
    await until(() => expect(container.textContent).toContain(`Import: ${value} (live), r1 ${value}`));
    const logged = (await server.history('r1')).filter(({ type }) => type === 'stage.progress').map(({ seq }) => seq);
    await until(() => expect(received).toEqual(logged));
    expect(errors).toEqual([]);
    const fetched = requests.paths.filter((path) => !path.includes('run.history'));
    expect(fetched).toEqual([]); // The run and the list came with the page.
  });
}

test('[H29] HydrationBoundary fills the cache for the hooks below it', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'Import' }), progress('r1', 10));
  const { state } = await renderOnServer(server, async () => undefined);
  const requests = watchRequests('run.');
  const page = await render(
    <App server={server} queries={new QueryClient()}>
      <HydrationBoundary state={JSON.parse(state)}>
        <Page received={[]} />
      </HydrationBoundary>
    </App>,
  );
  expect(page.container.textContent).toContain('Import: 10');
  await until(() => expect(page.container.textContent).toContain('Import: 10 (live), r1 10'));
  expect(requests.count).toBe(0);
});

class Catch extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };
  static getDerivedStateFromError = (error: Error) => ({ error });
  override render() {
    const { error } = this.state;
    return error ? `${error.name} ${(error as { code?: string }).code}` : this.props.children;
  }
}

const SuspendedRun = ({ runId }: { runId: string }) => {
  const { run } = useSuspenseRun({ runId });
  return `${run.name} ${run.progress}`;
};
const SuspendedList = () => useSuspenseRuns().runs.map(({ runId }) => runId);

test('[H30] a suspense hook suspends once, also below a boundary above the provider, and then follows the run', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'Import' }), progress('r1', 10));
  const requests = watchRequests('run.');
  const page = await render(
    <QueryClientProvider client={new QueryClient()}>
      <Suspense fallback="loading">
        <RunwireProvider url={server.url} token={server.token}>
          <SuspendedRun runId="r1" />, <SuspendedList />
        </RunwireProvider>
      </Suspense>
    </QueryClientProvider>,
  );
  expect(page.container.textContent).toBe('loading');
  await until(() => expect(page.container.textContent).toBe('Import 10, r1'));
  await server.publish(progress('r1', 30));
  await until(() => expect(page.container.textContent).toBe('Import 30, r1'));
  expect(requests.count).toBe(2);
});

test('[H30] a suspense hook throws a RunwireError for a run that does not exist', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined); // React reports the caught error.
  onTestFinished(() => void vi.restoreAllMocks());
  const server = await openServer();
  const page = await render(
    <App server={server} queries={new QueryClient()}>
      <Catch>
        <Suspense fallback="loading">
          <SuspendedRun runId="unknown" />
        </Suspense>
      </Catch>
    </App>,
  );
  await until(() => expect(page.container.textContent).toBe('RunwireError RUN_NOT_FOUND'));
});
