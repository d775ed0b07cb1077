import { keepPreviousData, onlineManager, QueryClient, QueryClientProvider, useMutation } from '@tanstack/react-query';
import { type ReactNode, useEffect } from 'react';
import { expect, onTestFinished, test } from 'vitest';
import { render } from 'vitest-browser-react';
import {
  RunwireProvider,
  type RunwireProviderProps,
  trpc,
  useRun,
  useRunEvents,
  useRuns,
  useSearch,
} from '../../client/react/index.ts';
import { RunwireProvider as RunwireTanstackProvider, useTRPC } from '../../client/tanstack/index.ts';
import { until } from './mount.tsx';
import { draft, openServer } from './servers.ts';

/** Ann reads the project `a`, and Bob the project `b`. Both have a run `r` with a progress. */
async function openWithUsers() {
  const server = await openServer();
  for (const projectId of ['a', 'b']) {
    await server.publish(
      draft('run.created', 'r', { projectId, name: `run of ${projectId}` }),
      draft('stage.progress', 'r', { projectId, stageId: 's1', progress: 1 }),
    );
  }
  return {
    server,
    ann: await server.tokenOf('ann', { projects: ['a'] }),
    bob: await server.tokenOf('bob', { projects: ['b'] }),
  };
}

/** Every text that the page has shown, from the frames that were painted. */
function watchPaint(container: () => HTMLElement) {
  const painted: string[] = [];
  let frame = requestAnimationFrame(function look() {
    painted.push(container().textContent ?? '');
    frame = requestAnimationFrame(look);
  });
  onTestFinished(() => cancelAnimationFrame(frame));
  return painted;
}

const received: string[] = [];
let mounts = 0;
let unmounts = 0;

function Runs() {
  const { runs, phase } = useRuns();
  return <p>{`runs: ${runs.map(({ name }) => name).join(',')} ${phase}.`}</p>;
}

function Everything() {
  const { run } = useRun({ runId: 'r' });
  const { subscribe, events, phase } = useRunEvents({ runId: 'r', from: 'start' });
  const me = trpc.auth.me.useQuery();
  const kept = trpc.run.list.useQuery({}, { placeholderData: keepPreviousData });
  const found = useSearch({ runId: 'r' });
  const last = trpc.onRunEvent.useSubscription({ runId: 'r', from: 'start' }, {});
  useEffect(() => {
    mounts++;
    return () => void unmounts++;
  }, []);
  useEffect(
    () => subscribe('stage.progress', ({ projectId, progress }) => void received.push(`${projectId}${progress}`)),
    [subscribe],
  );
  const lastProject = last.data && 'projectId' in last.data.data ? last.data.data.projectId : '';
  return (
    <>
      <input />
      <p>{`me: ${me.data?.sub}. run: ${run?.name}. events: ${events.map((event) => event.projectId)} ${phase}.`}</p>
      <p>{`last: ${lastProject}.`}</p>
      <p>{`kept: ${kept.data?.runs.map((each) => each.name)}. found: ${found.events.map((event) => event.projectId)}.`}</p>
      <Runs />
    </>
  );
}

async function show(props: RunwireProviderProps, queryClient?: QueryClient) {
  received.length = 0;
  mounts = 0;
  unmounts = 0;
  const Outer = ({ children }: { children: ReactNode }) =>
    queryClient ? <QueryClientProvider client={queryClient}>{children}</QueryClientProvider> : children;
  const Page = (props: RunwireProviderProps) => (
    <Outer>
      <RunwireProvider reconnectDelayMs={1} {...props}>
        <Everything />
      </RunwireProvider>
    </Outer>
  );
  const page = await render(<Page {...props} />);
  onTestFinished(() => page.unmount());
  return {
    text: () => page.container.textContent ?? '',
    container: () => page.container,
    input: () => page.container.querySelector('input') as HTMLInputElement,
    with: (next: RunwireProviderProps) => page.rerender(<Page {...next} />),
    unmount: () => page.unmount(),
  };
}

const isOf = (project: 'a' | 'b') => {
  const [sub, other] = project === 'a' ? ['ann', 'b'] : ['bob', 'a'];
  return (text: string) => {
    expect(text).toContain(`me: ${sub}. run: run of ${project}. events: ${project},${project} live.`);
    expect(text).toContain(`runs: run of ${project} live.`);
    expect(text).toMatch(new RegExp(`kept: run of ${project}. found: ${project},${project}`));
    expect(text).not.toContain(`of ${other}`);
  };
};
const [isAnns, isBobs] = [isOf('a'), isOf('b')];

const kinds: [string, (token: string) => RunwireProviderProps['token']][] = [
  ['a text', (token) => token],
  ['a function', (token) => () => token],
  ['a slow function', (token) => () => new Promise((resolve) => setTimeout(resolve, 50, token))],
];

test.each(kinds)(
  '[H31] with the token of another user, as %s, the page is of that user alone',
  async (kind, source) => {
    const { server, ann, bob } = await openWithUsers();
    const queryClient = new QueryClient();
    const page = await show({ url: server.url, token: source(ann) }, queryClient);
    await until(() => isAnns(page.text()));
    page.input().value = 'a draft';
    expect(received).toEqual(['a1']);

    received.length = 0;
    const painted = watchPaint(page.container);
    const token = source(bob);
    await page.with({ url: server.url, token });
    await until(() => isBobs(page.text()));
    // The components are the same ones, and their state is kept.
    expect(page.input().value).toBe('a draft');
    expect([mounts, unmounts]).toEqual([1, 0]);
    // Once a frame shows Bob's page, no later frame shows anything of Ann's. A text is known before the first frame.
    const annIn = painted.map((text) => /ann|of a|: a[,.]/.test(text));
    const firstOfBob = kind === 'a text' ? 0 : annIn.lastIndexOf(true) + 1;
    expect(annIn.slice(firstOfBob)).not.toContain(true);
    expect(
      JSON.stringify(
        queryClient
          .getQueryCache()
          .getAll()
          .map(({ queryHash, state }) => [queryHash, state]),
      ),
    ).not.toMatch(/ann|run of a/);

    // Events of both: only Bob's arrive.
    await server.publish(
      draft('stage.progress', 'r', { projectId: 'a', stageId: 's1', progress: 2 }),
      draft('stage.progress', 'r', { projectId: 'b', stageId: 's1', progress: 2 }),
    );
    await until(() => expect(page.text()).toContain('last: b.'));
    await until(() => expect(received).toEqual(['b1', 'b2']));
    expect((await server.stats()).connections).toBe(1);
  },
);

test.each(kinds)(
  '[H31] a decision on the page of another user, as %s, is in the name of that user',
  async (kind, source) => {
    const server = await openServer();
    const [ann, bob] = [
      await server.tokenOf('ann', { projects: ['demo'] }),
      await server.tokenOf('bob', { projects: ['demo'] }),
    ];
    await server.publish(
      draft('run.created', 'g', { name: 'g' }),
      draft('governance.required', 'g', { approvalId: 'x', title: 'x' }),
    );
    let decide = () => {};
    const Decide = () => {
      const grant = trpc.approval.grant.useMutation();
      const me = trpc.auth.me.useQuery();
      decide = () => grant.mutate({ runId: 'g', approvalId: 'x' });
      return <p>{`${me.data?.sub} ${grant.status} ${grant.error?.message ?? ''}`}</p>;
    };
    const Page = ({ token }: { token: RunwireProviderProps['token'] }) => (
      <RunwireProvider url={server.url} token={token}>
        <Decide />
      </RunwireProvider>
    );
    const page = await render(<Page token={source(ann)} />);
    onTestFinished(() => page.unmount());
    await until(() => expect(page.container.textContent).toContain('ann'));
    await page.rerender(<Page token={source(bob)} />);
    decide(); // At once, before a new token function is asked for any other reason.
    await until(() => expect(page.container.textContent).toMatch(/success|error/));
    const granted = (await server.history('g')).filter(({ type }) => type === 'approval.granted');
    expect(granted.map((event) => event.actor)).toEqual(kind === 'a text' ? ['bob'] : []);
  },
);

const hooksForGrant = {
  trpc: [RunwireProvider, () => trpc.approval.grant.useMutation({ retry: 3, retryDelay: 1 })],
  useTRPC: [
    RunwireTanstackProvider,
    () => useMutation(useTRPC().approval.grant.mutationOptions({ retry: 3, retryDelay: 1 })),
  ],
} as const;

test.each(Object.entries(hooksForGrant))(
  '[H31] a decision that waits for the network, by the hooks of %s, fails when another user takes over',
  async (_name, [Provider, useGrant]) => {
    const server = await openServer();
    const [ann, bob] = [
      await server.tokenOf('ann', { projects: ['demo'] }),
      await server.tokenOf('bob', { projects: ['demo'] }),
    ];
    await server.publish(draft('governance.required', 'g', { approvalId: 'x', title: 'x' }));
    const queryClient = new QueryClient();
    let decide = () => {};
    const Decide = () => {
      const { mutate } = useGrant();
      decide = () => mutate({ runId: 'g', approvalId: 'x' });
      return null;
    };
    const Page = ({ token }: { token: string }) => (
      <Provider url={server.url} token={token} queryClient={queryClient}>
        <Decide />
      </Provider>
    );
    const page = await render(<Page token={ann} />);
    onTestFinished(() => page.unmount());
    onTestFinished(() => onlineManager.setOnline(true));
    onlineManager.setOnline(false);
    decide();
    const decision = () => queryClient.getMutationCache().getAll()[0]?.state;
    await until(() => expect(decision()).toMatchObject({ isPaused: true }));
    await page.rerender(<Page token={bob} />);
    onlineManager.setOnline(true);
    await until(() => expect(decision()?.status).toMatch(/success|error/));
    expect(await server.history('g')).toHaveLength(1);
    decide(); // Bob's own.
    await until(async () => expect(await server.history('g')).toMatchObject([{}, { actor: 'bob' }]));
  },
);

test.each(kinds)(
  '[H32] providers of two users with one QueryClient, token as %s, share nothing, one after the other and side by side',
  async (_kind, source) => {
    const { server, ann, bob } = await openWithUsers();
    const queryClient = new QueryClient();
    const Page = ({ tokens }: { tokens: string[] }) => (
      <QueryClientProvider client={queryClient}>
        {tokens.map((token) => (
          <section key={token}>
            <RunwireProvider url={server.url} token={source(token)}>
              <Everything />
            </RunwireProvider>
          </section>
        ))}
      </QueryClientProvider>
    );
    const page = await render(<Page tokens={[ann]} />);
    onTestFinished(() => page.unmount());
    const texts = () => [...page.container.querySelectorAll('section')].map((each) => each.textContent ?? '');
    await until(() => isAnns(texts()[0] ?? ''));
    await page.rerender(<Page tokens={[bob]} />);
    expect(texts()[0]).not.toMatch(/ann|of a|: a[,.]/);
    await until(() => isBobs(texts()[0] ?? ''));
    await page.rerender(<Page tokens={[ann, bob]} />);
    await until(() => isAnns(texts()[0] ?? ''));
    isBobs(texts()[1] ?? '');
  },
);
