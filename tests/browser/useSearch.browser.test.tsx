import { expect, test } from 'vitest';
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
