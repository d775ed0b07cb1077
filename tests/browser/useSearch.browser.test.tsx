import { expect, onTestFinished, test, vi } from 'vitest';
import { type UseSearchOptions, usePublish, useSearch } from '../../client/react/index.ts';
import { mount, until, watchRequests } from './mount.tsx';
import { draft, openServer } from './servers.ts';

const use = (options: UseSearchOptions) => useSearch(options);
const failed = (number: number, message: string) =>
  draft('stage.failed', 'r1', { stageId: `s${number}`, error: { message } });

test('[H27] a search returns the events found, newest first and page by page, and keeps the last result while the next loads', async () => {
  const server = await openServer();
  await server.publish(...Array.from({ length: 5 }, (_, index) => failed(index, 'the disk is full')));
  await server.publish(failed(9, 'no network'));
  await until(async () => expect((await server.client.event.search.query({ text: 'network' })).events.length).toBe(1));
  const hook = await mount(server, { props: { text: 'disk', limit: 2 }, use });
  const stages = () => hook.result.current.events.map((event) => (event as { stageId?: string }).stageId);
  await until(() => expect(stages()).toEqual(['s4', 's3']));
  await hook.result.current.fetchNextPage();
  await until(() => expect(stages()).toEqual(['s4', 's3', 's2', 's1']));

  const release = watchRequests('event.search').hold();
  await hook.rerender({ text: 'network', limit: 2 });
  await until(() => expect(hook.result.current.isPrevious).toBe(true));
  expect(stages()).toEqual(['s4', 's3', 's2', 's1']);
  release();
  await until(() => expect(stages()).toEqual(['s9']));
  expect(hook.result.current).toMatchObject({ status: 'success', isPrevious: false, hasNextPage: false, error: null });
});

test('[H27] a refused search has an error with a code', async () => {
  const server = await openServer();
  const hook = await mount(server, { props: { since: 'yesterday' }, use });
  await until(() => expect(hook.result.current).toMatchObject({ status: 'error', error: { code: 'INVALID_INPUT' } }));
});

test('[H28] usePublish stores drafts once and in order, while the server is away too', async () => {
  const server = await openServer();
  const hook = await mount(server, { props: {}, use: () => usePublish() });
  const { publish } = hook.result.current;
  await publish(draft('run.created', 'r1', { name: 'Run' }));
  await server.away();
  const calls = [failed(1, 'a'), failed(2, 'b'), failed(3, 'c')].map((each) => publish(each));
  await until(() => expect(hook.result.current.isPublishing).toBe(true));
  await server.back();
  await Promise.all(calls);
  await until(() => expect(hook.result.current).toMatchObject({ isPublishing: false, error: null }));
  const events = await server.history('r1');
  expect(events.map((event) => (event as { stageId?: string }).stageId)).toEqual([undefined, 's1', 's2', 's3']);
});

test('[H28] a refused draft rejects the call, and is the error of the hook', async () => {
  const server = await openServer();
  const hook = await mount(server, { props: {}, use: () => usePublish() });
  const refused = hook.result.current.publish(draft('run.created', 'r1', { name: '' }));
  await expect(refused).rejects.toMatchObject({ name: 'RunwireError', code: 'INVALID_EVENT' });
  await until(() => expect(hook.result.current.error).toMatchObject({ code: 'INVALID_EVENT' }));
  await hook.result.current.publish(draft('run.created', 'r1', { name: 'Run' }));
  await until(() => expect(hook.result.current.error).toBe(null));
});

test('[H28] a draft that is no JSON is refused, and holds up no other', async () => {
  const server = await openServer();
  const hook = await mount(server, { props: {}, use: () => usePublish() });
  const { publish } = hook.result.current;
  const circular: Record<string, unknown> = { ...draft('run.created', 'r1', { name: 'Run' }) };
  circular.self = circular;
  for (const wrong of [circular, { ...circular, self: 1n }, null, 'text', [[]]]) {
    await expect(publish(wrong as never)).rejects.toMatchObject({ name: 'RunwireError', code: 'INVALID_EVENT' });
  }
  await expect(publish([])).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  const many = Array.from({ length: 1_001 }, (_, index) => failed(index, 'a'));
  await expect(publish(many)).rejects.toMatchObject({ code: 'TOO_LARGE' });
  await publish(draft('run.created', 'r1', { name: 'Run' }));
  await until(() => expect(hook.result.current).toMatchObject({ isPublishing: false, error: null }));
  expect(await server.history('r1')).toHaveLength(1);
});

test('[H28] a draft is stored once, as it was at the call, if the answer is lost', async () => {
  const server = await openServer();
  const hook = await mount(server, { props: {}, use: () => usePublish() });
  const realFetch = window.fetch;
  let lost = 0;
  vi.stubGlobal('fetch', async (...request: Parameters<typeof fetch>) => {
    const response = await realFetch(...request);
    if (String(request[0]).includes('event.publish') && ++lost === 1) throw new TypeError('Failed to fetch');
    return response;
  });
  onTestFinished(() => void vi.unstubAllGlobals());
  const error = { message: 'a' };
  const published = hook.result.current.publish({ ...failed(1, ''), error, eventId: undefined } as never);
  error.message = 'changed';
  await published;
  expect(lost).toBe(2);
  expect(await server.history('r1')).toMatchObject([{ error: { message: 'a' } }]);
});
