import { useEffect } from 'react';
import { expect, onTestFinished, test } from 'vitest';
import { render } from 'vitest-browser-react';
import {
  RunwireProvider,
  type UseRunEventsOptions,
  type UseRunEventsReturn,
  useRunEvents,
} from '../../client/hooks/index.ts';
import { until, watchSubscriptions } from './mount.tsx';
import { draft, openServer, progress, type TestServer } from './servers.ts';

const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
const live = { connectionState: 'connected', phase: 'live' };

type Shown = { [name: string]: { hook: UseRunEventsReturn; seqs: number[] } };

/** A page with hooks by name. Each records the events its handler received and its last return value. */
async function openPage(server: TestServer, hooks: { [name: string]: UseRunEventsOptions }) {
  const shown: Shown = {};
  const Hook = ({ name, options }: { name: string; options: UseRunEventsOptions }) => {
    const hook = useRunEvents(options);
    const { subscribe_category } = hook;
    shown[name] = { hook, seqs: shown[name]?.seqs ?? [] };
    useEffect(
      () => subscribe_category('stage', ({ seq }) => void shown[name]?.seqs.push(seq)),
      [subscribe_category, name],
    );
    return null;
  };
  const Page = ({ all }: { all: { [name: string]: UseRunEventsOptions } }) => (
    <RunwireProvider url={server.url} token={server.token} reconnectDelayMs={1} maxReconnectAttempts={1_000}>
      {Object.entries(all).map(([name, options]) => (
        <Hook key={name} name={name} options={options} />
      ))}
    </RunwireProvider>
  );
  const page = await render(<Page all={hooks} />);
  onTestFinished(() => page.unmount());
  const show = (all: { [name: string]: UseRunEventsOptions }) => page.rerender(<Page all={all} />);
  const isLive = (...names: string[]) =>
    until(() => {
      for (const name of names) expect(shown[name]?.hook).toMatchObject(live);
    });
  const seqsOf = (name: string) => shown[name]?.seqs;
  const hook = (name: string) => shown[name]?.hook as UseRunEventsReturn;
  return { show, isLive, seqsOf, hook };
}

const now: UseRunEventsOptions = { runId: 'r1' };
const start: UseRunEventsOptions = { runId: 'r1', from: 'start' };

test("[H4] a hook that joins a run late with from: 'start' receives all events over the same subscription", async () => {
  const server = await openServer();
  await server.publish(...upTo(20).map((value) => progress('r1', value)));
  const subscriptions = watchSubscriptions();
  const page = await openPage(server, { one: start });
  await page.isLive('one');
  await page.show({ one: start, late: { ...start, limit: 5 } });
  await until(() => expect(page.seqsOf('late')).toEqual(upTo(20)));
  await page.isLive('late');
  await server.publish(progress('r1', 1));
  await until(() => expect(page.seqsOf('late')).toEqual(upTo(21)));
  await until(() => expect(page.hook('late').events.map(({ seq }) => seq)).toEqual(upTo(5, 17)));
  expect(page.hook('one').events).toEqual(await server.history('r1'));
  expect(page.seqsOf('one')).toEqual(upTo(21));
  await until(() => expect(page.hook('late').run).toMatchObject({ lastSeq: 21 }));
  await until(() => expect(page.hook('late').run).toBe(page.hook('one').run));
  expect(subscriptions).toEqual(['onRunEvent']);
});

test("[H4] a hook that joins a long run late with from: 'start' gets its own subscription", async () => {
  const server = await openServer();
  for (let round = 0; round < 3; round++) await server.publish(...upTo(800).map(() => progress('r1', 1)));
  const page = await openPage(server, { one: start });
  await page.isLive('one');
  await page.show({ one: start, late: start });
  await page.isLive('late');
  expect(page.seqsOf('late')).toEqual(upTo(2_400));
  expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 2 });
  await page.show({ late: start });
  await until(async () => expect(await server.stats()).toMatchObject({ subscriptions: 1 }));
  await server.publish(progress('r1', 1));
  await until(() => expect(page.seqsOf('late')).toEqual(upTo(2_401)));
});

test("[H4] a hook that joins late with from: 'now' receives every new event and no older event", async () => {
  const server = await openServer();
  const page = await openPage(server, { one: now });
  await page.isLive('one');
  await server.publish(progress('r1', 1), progress('r1', 2));
  await until(() => expect(page.seqsOf('one')).toEqual([1, 2]));
  await page.show({ one: now, late: now });
  await server.publish(progress('r1', 3));
  await until(() => expect(page.seqsOf('late')).toEqual([3]));
  expect(page.seqsOf('one')).toEqual([1, 2, 3]);
  await until(() => expect(page.hook('late').run).toMatchObject({ lastSeq: 3 }));
  expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 1 });
});

test('[H4] queries with another from or another filter get their own subscriptions', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  const page = await openPage(server, { now, start, some: { ...now, types: ['stage.progress'] } });
  await page.isLive('now', 'start', 'some');
  await server.publish(progress('r1', 2));
  await until(() => expect(['now', 'start', 'some'].map(page.seqsOf)).toEqual([[2], [1, 2], [2]]));
  expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 3 });
});

test('[H4] a hook that comes back receives the events it missed, from the shared feed or over its own subscription', async () => {
  const server = await openServer();
  const page = await openPage(server, { one: now, other: now });
  await page.isLive('one', 'other');
  await server.publish(progress('r1', 1));
  await until(() => expect(page.seqsOf('one')).toEqual([1]));
  await page.show({ one: { ...now, enabled: false }, other: now });
  await until(() => expect(page.hook('one').connectionState).toBe('idle'));
  await server.publish(...upTo(10).map(() => progress('r1', 2)));
  await until(() => expect(page.seqsOf('other')).toEqual(upTo(11)));
  await page.show({ one: now, other: now });
  await until(() => expect(page.seqsOf('one')).toEqual(upTo(11)));
  expect(await server.stats()).toMatchObject({ subscriptions: 1 });

  page.hook('one').disconnect();
  for (let round = 0; round < 3; round++) await server.publish(...upTo(800).map(() => progress('r1', 1)));
  await until(() => expect(page.seqsOf('other')).toHaveLength(2_411));
  page.hook('one').reconnect();
  await until(() => expect(page.seqsOf('one')).toEqual(upTo(2_411)));
  await page.isLive('one');
  await until(() => expect(page.hook('one').run).toMatchObject({ lastSeq: 2_411 }));
  await until(() => expect(page.hook('one').run).toEqual(page.hook('other').run));
  expect(await server.stats()).toMatchObject({ subscriptions: 2 });
});

test('[H4] a hook that comes back after a gap reports the gap', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'old' }), progress('r1', 1), progress('r1', 2));
  const page = await openPage(server, { one: start, other: start });
  await page.isLive('one', 'other');
  page.hook('one').disconnect();
  await server.replace();
  await server.publish(...upTo(5).map(() => progress('r1', 2)));
  await until(() => expect(page.hook('other')).toMatchObject({ gap: { reason: 'epoch_changed' }, ...live }));
  page.hook('one').reconnect();
  await until(() => expect(page.hook('one')).toMatchObject({ gap: { reason: 'epoch_changed' }, ...live }));
  // The earlier events belong to the replaced log.
  expect(page.hook('one').events).toEqual([]);
  const { run } = await server.client.run.get.query({ runId: 'r1' });
  await until(() => expect(page.hook('one').run).toEqual(run));
});

test('[H4] an error ends a shared subscription for all its hooks; reconnect() resumes one hook alone', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1), draft('run.created', 'r1', { projectId: 'another', name: 'of the same id' }));
  const errors: string[] = [];
  const failing = (name: string): UseRunEventsOptions => ({ ...start, onError: () => void errors.push(name) });
  const subscriptions = watchSubscriptions();
  const page = await openPage(server, { one: failing('one'), other: failing('other') });
  await until(() => expect(page.hook('other').connectionState).toBe('failed'));
  expect(errors).toEqual(['one', 'other']);
  expect(subscriptions).toHaveLength(1);
  page.hook('one').reconnect();
  await until(() => expect(errors).toEqual(['one', 'other', 'one']));
  expect(subscriptions).toHaveLength(2);
});
