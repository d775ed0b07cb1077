import { dehydrate, HydrationBoundary, hydrate, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { Component, type ReactNode, Suspense, use, useEffect } from 'react';
import { hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, onTestFinished, test, vi } from 'vitest';
import { render } from 'vitest-browser-react';
import { createRunwireClient, prefetchRun, prefetchRuns } from '../../client/index.ts';
import {
  RunwireProvider,
  useApprovals,
  useConnection,
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
  useApprovals();
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

/** A part of the page that is hydrated once `code` has arrived. */
function LatePart({ code }: { code: Promise<void> | undefined }) {
  if (code) use(code);
  const { run, phase } = useRun({ runId: 'r1' });
  const { runs, hasNextPage } = useRuns({ projectId: 'demo' });
  const { state } = useConnection();
  const { status } = useApprovals();
  return (
    <b>{`${status} ${run?.progress} ${phase}, ${runs.map(({ progress }) => progress).join()} ${hasNextPage}, ${state}`}</b>
  );
}

for (const isPrefetched of [true, false]) {
  test(`[H29] a part that is hydrated later differs in nothing from the server's: ${isPrefetched ? 'with' : 'without'} data`, async () => {
    const server = await openServer();
    await server.publish(draft('run.created', 'r1', { name: 'Import' }), progress('r1', 10));
    const runwire = createRunwireClient({ url: server.url, token: server.token });
    const prefetched = new QueryClient();
    if (isPrefetched) await prefetchRun(prefetched, runwire, { runId: 'r1' });
    if (isPrefetched) await prefetchRuns(prefetched, runwire, { projectId: 'demo' });
    await runwire.connection.close();
    const state = dehydrate(prefetched);
    const page = (queries: QueryClient, code?: Promise<void>) => (
      <App server={server} queries={queries}>
        <Page received={[]} />
        <Suspense fallback="loading">
          <LatePart code={code} />
        </Suspense>
      </App>
    );
    const container = document.createElement('div');
    container.innerHTML = renderToString(page(prefetched));
    const late = () => container.querySelector('b')?.textContent;
    const rendered = late();
    expect(rendered).toBe(
      isPrefetched ? 'pending 10 replaying, 10 false, idle' : 'pending undefined replaying,  false, idle',
    );
    document.body.append(container);

    const errors: unknown[] = [];
    const queries = new QueryClient();
    hydrate(queries, JSON.parse(JSON.stringify(state)));
    let arrive = () => {};
    const code = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const root = hydrateRoot(container, page(queries, code), { onRecoverableError: (error) => errors.push(error) });
    onTestFinished(() => {
      root.unmount();
      container.remove();
    });
    await until(() => expect(container.textContent).toContain('Import: 10 (live)'));
    await server.publish(progress('r1', 20));
    await until(() => expect(container.textContent).toContain('Import: 20 (live), r1 20'));
    expect(late()).toBe(rendered);
    arrive();
    await until(() => expect(late()).toBe('success 20 live, 20 false, connected'));
    expect(errors).toEqual([]);
  });
}

test('[H29] a refresh of the page replaces nothing that a hook has received since: the clock of the server is ahead', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'Import' }), progress('r1', 10));
  await server.publish(draft('run.created', 'r2', { name: 'Export' }));
  vi.setSystemTime(Date.now() + 3_600_000);
  const { state } = await renderOnServer(server, async () => undefined);
  vi.useRealTimers();
  const queries = new QueryClient();
  const page = await render(
    <App server={server} queries={queries}>
      <Page received={[]} />
    </App>,
  );
  await until(() => expect(page.container.textContent).toContain('Import: 10 (live), r2 0, r1 10'));
  await server.publish(progress('r1', 20));
  await until(() => expect(page.container.textContent).toContain('Import: 20 (live), r2 0, r1 20'));
  hydrate(queries, JSON.parse(state));
  await server.publish(progress('r2', 70));
  await until(() => expect(page.container.textContent).toContain('r2 70'));
  expect(page.container.textContent).toContain('Import: 20 (live), r2 70, r1 20');
});

test('[H29] a loader replaces nothing that a hook has received since', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'Import' }), progress('r1', 10));
  await server.publish(draft('run.created', 'r2', { name: 'Export' }));
  const queries = new QueryClient();
  const page = await render(
    <App server={server} queries={queries}>
      <Page received={[]} />
    </App>,
  );
  await until(() => expect(page.container.textContent).toContain('Import: 10 (live), r2 0, r1 10'));
  const runwire = createRunwireClient({ url: server.url, token: server.token });
  onTestFinished(() => runwire.connection.close());
  // The answer reaches the loader after an event that it does not contain.
  const sent = fetch;
  let lists = 0;
  vi.stubGlobal('fetch', async (...request: Parameters<typeof fetch>) => {
    const answer = await sent(...request);
    if (!String(request[0]).includes('run.list') || ++lists > 1) return answer;
    await server.publishInside(progress('r1', 20));
    await until(() => expect(page.container.textContent).toContain('Import: 20 (live), r2 0, r1 20'));
    return answer;
  });
  onTestFinished(() => void vi.unstubAllGlobals());
  await prefetchRuns(queries, runwire, { projectId: 'demo' });
  expect(lists).toBe(1);
  await server.publish(progress('r2', 70));
  await until(() => expect(page.container.textContent).toContain('r2 70'));
  expect(page.container.textContent).toContain('Import: 20 (live), r2 70, r1 20');
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
