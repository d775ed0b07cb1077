import { setImmediate } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import { startCuttableServer } from '../../tests/browser/server.ts';
import { created, progress, tokenFor } from '../../tests/support/harness.ts';
import { lag } from '../../tests/support/node-of-log.ts';
import { createRunwireClient } from '../index.ts';
import { FeedCache } from './feed-cache.ts';
import type { RunFeedQuery } from './query.ts';
import { RunFeedObserver } from './run-feed-observer.ts';

/** A real server, and the feeds of one client in Node. `fetched` counts the requests for a snapshot. */
async function open() {
  const server = await startCuttableServer();
  onTestFinished(() => server.close());
  const { client, connection } = createRunwireClient({ url: server.url, token: await tokenFor(), WebSocket });
  onTestFinished(() => connection.close());
  const feeds = new FeedCache(client, connection);
  const fetched = vi.spyOn(globalThis, 'fetch');
  onTestFinished(() => fetched.mockRestore());
  const publish = (...events: RunEventDraft[]) => server.bus.publish(events, { actor: 'ada' });
  return { server, feeds, connection, fetched, publish };
}

/** An observer that follows a query, and the positions of the events that its handler received. */
function follow(
  feeds: FeedCache,
  query: RunFeedQuery,
  onEvent: (event: RunEvent, hook: Hook) => void = () => undefined,
) {
  const observer = new RunFeedObserver(feeds);
  const hook: Hook = { observer, seqs: [], leave: () => undefined };
  observer.handlers.subscribeCategory('stage', (event) => {
    hook.seqs.push(event.seq);
    onEvent(event, hook);
  });
  hook.leave = observer.follow(query);
  return hook;
}

type Hook = { observer: RunFeedObserver; seqs: number[]; leave(): void };

const until = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 30_000, interval: 5 });
const isLive = (...hooks: Hook[]) =>
  until(() => {
    for (const { observer } of hooks) expect(observer.getState()).toMatchObject({ phase: 'live' });
  });
const received = (hook: Hook, seqs: number[]) => until(() => expect(hook.seqs).toEqual(seqs));
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const events = (count: number) => upTo(count).map(() => progress('r1', 1));
const now: RunFeedQuery = { runId: 'r1' };
const start: RunFeedQuery = { runId: 'r1', from: 'start' };

test('[D37] a snapshot for an open subscription waits until the server that answers has what the subscription has delivered', async () => {
  const { server, feeds, fetched, publish } = await open();
  await publish(created('r1'), ...events(4));
  const hook = follow(feeds, now);
  await isLive(hook);
  const caught = lag(server.log, 1);
  hook.observer.wantsRun = true;
  await until(() => expect(fetched).toHaveBeenCalledTimes(1));
  expect(fetched.mock.calls[0]?.[1]?.body).toContain(hook.observer.getState().cursor ?? 'a cursor');
  for (let turn = 0; turn < 50; turn++) await setImmediate();
  expect(hook.observer.getState().run).toBeUndefined();
  caught();
  await until(() => expect(hook.observer.getState().run).toMatchObject({ lastSeq: 5 }));
  expect(fetched).toHaveBeenCalledTimes(1);
});

test('[H12] a hook that a handler of another hook disconnects resumes after its own last event', async () => {
  const { feeds, publish } = await open();
  const other: { hook?: Hook } = {};
  const first = follow(feeds, now, ({ seq }) => {
    if (seq === 2) other.hook?.observer.disconnect();
  });
  const second = follow(feeds, now);
  other.hook = second;
  await isLive(first, second);
  await publish(...events(3));
  await received(first, [1, 2, 3]);
  expect(second.seqs).toEqual([1]);
  second.observer.reconnect();
  await received(second, [1, 2, 3]);
  await publish(...events(1));
  await received(second, [1, 2, 3, 4]);
});

test('[H12] a hook that disconnects itself while it catches up resumes there', async () => {
  const { feeds, publish } = await open();
  await publish(...events(5));
  const early = follow(feeds, start);
  await received(early, upTo(5));
  const late = follow(feeds, start, ({ seq }, { observer }) => {
    if (seq === 2) observer.disconnect();
  });
  await received(late, [1, 2]);
  await publish(...events(1));
  await received(early, upTo(6));
  expect(late.seqs).toEqual([1, 2]);
  late.observer.reconnect();
  await received(late, upTo(6));
  await until(() => expect(late.observer.getState().events.map(({ seq }) => seq)).toEqual(upTo(6)));
});

test('[H12] hooks that paused at different events and resume together on one feed receive each event once', async () => {
  const { server, feeds, publish } = await open();
  const [one, two] = [follow(feeds, now), follow(feeds, now)];
  one.observer.wantsRun = true;
  two.observer.wantsRun = true;
  await isLive(one, two);
  await publish(...events(5));
  await received(one, upTo(5));
  one.observer.disconnect();
  await publish(...events(5));
  await received(two, upTo(10));
  await until(() => expect(two.observer.getState().run).toMatchObject({ lastSeq: 10 }));
  two.observer.disconnect();
  const shown: number[] = [];
  two.observer.subscribe(() => shown.push(two.observer.getState().run?.lastSeq ?? 0));
  one.observer.reconnect();
  two.observer.reconnect();
  await publish(...events(1));
  await received(one, upTo(11));
  await received(two, upTo(11));
  await isLive(one, two);
  // The feed begins at event 5. The run of the hook that was further does not go back.
  expect(Math.min(...shown)).toBeGreaterThanOrEqual(10);
  expect(two.observer.getState().run).toBe(one.observer.getState().run);
  expect(server.getStats()).toMatchObject({ subscriptions: 1 });
});

test('[H12] a handler that another handler disconnects receives the event after the reconnect, once', async () => {
  const { feeds, publish } = await open();
  const hook = follow(feeds, now);
  const second: number[] = [];
  const third: number[] = [];
  const disconnectAt = (at: number) => (event: RunEvent) => {
    if (event.seq === at) hook.observer.disconnect();
  };
  hook.observer.handlers.subscribe('stage.progress', disconnectAt(2));
  hook.observer.handlers.subscribe('stage.progress', (event) => {
    second.push(event.seq);
    disconnectAt(3)(event);
  });
  hook.observer.handlers.subscribe('stage.progress', ({ seq }) => third.push(seq));
  await isLive(hook);
  await publish(...events(4));
  await until(() => expect(hook.observer.getState().connectionState).toBe('disconnected'));
  expect([second, third, hook.seqs]).toEqual([[1], [1], [1]]);
  hook.observer.reconnect();
  await until(() =>
    expect([second, third, hook.seqs]).toEqual([
      [1, 2, 3],
      [1, 2],
      [1, 2],
    ]),
  );
  await until(() => expect(hook.observer.getState().connectionState).toBe('disconnected'));
  hook.observer.reconnect();
  await received(hook, [1, 2, 3, 4]);
  expect([second, third]).toEqual([
    [1, 2, 3, 4],
    [1, 2, 3, 4],
  ]);
});

test('[H12] an event is delivered once to a hook that opens its subscription again in each handler', async () => {
  const { feeds, publish } = await open();
  const hook = follow(feeds, start, (_event, { observer }) => observer.reconnect());
  await publish(...events(20));
  await received(hook, upTo(20));
  await isLive(hook);
  await publish(...events(1));
  await received(hook, upTo(21));
});

test('[H12] a hook that resumes while the feed drops old events receives them all', async () => {
  const { feeds, publish } = await open();
  const pair: { hook?: Hook } = {};
  const first = follow(feeds, start, ({ seq }) => {
    if (seq === 1) pair.hook?.observer.disconnect();
    if (seq === 2_000) pair.hook?.observer.reconnect();
  });
  const second = follow(feeds, start);
  pair.hook = second;
  await isLive(first, second);
  for (let round = 0; round < 3; round++) await publish(...events(800));
  await received(first, upTo(2_400));
  await received(second, upTo(2_400));
});

test('[H13] a hook that does not use the run requests no snapshot, and is live without one', async () => {
  const { feeds, fetched, publish } = await open();
  await publish(created('r1'), progress('r1', 1));
  const listener = follow(feeds, now);
  await isLive(listener);
  await publish(progress('r1', 2));
  await received(listener, [3]);
  expect(fetched).not.toHaveBeenCalled();
  expect(listener.observer.getState().run).toBeUndefined();

  listener.observer.wantsRun = true;
  expect(listener.observer.getState().phase).toBe('live');
  await until(() => expect(listener.observer.getState()).toMatchObject({ phase: 'live', run: { lastSeq: 3 } }));
  expect(fetched).toHaveBeenCalledOnce();
  await publish(progress('r1', 3));
  await until(() => expect(listener.observer.getState().run).toMatchObject({ lastSeq: 4 }));
  expect(fetched).toHaveBeenCalledOnce();
});

test('[H13] after a gap, a hook that does not use the run is live without a snapshot', async () => {
  const { server, feeds, fetched, publish } = await open();
  await publish(created('r1'), progress('r1', 1), progress('r1', 2));
  const listener = follow(feeds, start);
  await isLive(listener);
  const gaps: unknown[] = [];
  listener.observer.onGap = (gap) => gaps.push(gap);
  listener.observer.disconnect();
  await publish(progress('r1', 3), progress('r1', 4));
  await server.log.trim(Date.now() + 60_000);
  listener.observer.reconnect();
  await until(() => expect(gaps).toEqual([{ reason: 'expired', fromSeq: 4, toSeq: 4 }]));
  await isLive(listener);
  expect(listener.seqs).toEqual([2, 3, 5]);
  expect(fetched).not.toHaveBeenCalled();
  listener.observer.wantsRun = true;
  await until(() => expect(listener.observer.getState()).toMatchObject({ phase: 'live', run: { lastSeq: 5 } }));
});

test('[H14] when the scope ends, its subscriptions end at once and no handler is called any more', async () => {
  const { server, feeds, publish } = await open();
  const late: number[] = [];
  let before: number[] | undefined;
  const hook = follow(feeds, start, ({ seq }) => {
    if (seq !== 2) return;
    feeds.end();
    before = [...other.seqs];
  });
  hook.observer.handlers.subscribeCategory('stage', ({ seq }) => late.push(seq));
  const other = follow(feeds, { scope: 'all' });
  await isLive(hook, other);
  await publish(...events(3));
  await received(hook, [1, 2]);
  await until(() => expect(server.getStats()).toMatchObject({ subscriptions: 0 }));
  other.observer.reconnect();
  hook.leave();
  hook.observer.follow(now);
  follow(feeds, start);
  await publish(...events(1));
  expect(server.getStats()).toMatchObject({ subscriptions: 0 });
  expect(hook.seqs).toEqual([1, 2]);
  expect(late).toEqual([1]);
  expect(other.seqs).toEqual(before);
});
