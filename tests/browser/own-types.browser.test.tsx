import { useEffect } from 'react';
import { expect, onTestFinished, test } from 'vitest';
import { renderHook } from 'vitest-browser-react';
import { createRunwireClient, type Runwire } from '../../client/index.ts';
import { createRunwireReact } from '../../client/react/index.ts';
import { runwireTable } from '../../shared/event-table.ts';
import { ownEvents } from '../support/own-events.ts';
import { until } from './mount.tsx';
import { openServer, type TestServer } from './servers.ts';

const run = { projectId: 'demo', runId: 'r1' };
const fold = ownEvents['metric.sampled'].fold;

/** A client typed by the application's registry, closed at the end of the test. */
function clientOf({ url, token }: TestServer): Runwire<typeof ownEvents> {
  const runwire = createRunwireClient<typeof ownEvents>({ url, token });
  onTestFinished(() => runwire.connection.close());
  return runwire;
}

test.each([
  ['a registry', createRunwireReact(ownEvents)],
  [
    'a table without schemas',
    createRunwireReact<typeof ownEvents>({ ...runwireTable, 'metric.sampled': { category: 'metric', fold } }),
  ],
])('[E6] hooks made from %s deliver own types by type and category, and fold them', async (_name, own) => {
  const server = await openServer({ hasOwnTypes: true });
  const runwire = clientOf(server);
  const sample = { type: 'metric.sampled', ...run, metricId: 'loss', unit: '%' } as const;
  await runwire.client.event.publish.mutate({
    events: [
      { type: 'run.created', ...run, name: 'One' },
      { ...sample, value: 7 },
    ],
  });
  const received: [string, number][] = [];
  const useSamples = () => {
    const all = own.useRunEvents({ runId: 'r1', from: 'start' });
    const metrics = own.useRunEvents({ runId: 'r1', from: 'start', categories: ['metric'] });
    const { run: folded } = own.useRun({ runId: 'r1' });
    const { subscribe, subscribe_category } = metrics;
    useEffect(() => subscribe('metric.sampled', ({ value }) => void received.push(['type', value])), [subscribe]);
    useEffect(
      () => subscribe_category('metric', ({ value }) => void received.push(['category', value])),
      [subscribe_category],
    );
    return { all, metrics, folded };
  };
  const hook = await renderHook(useSamples, {
    wrapper: ({ children }) => <own.RunwireProvider client={runwire}>{children}</own.RunwireProvider>,
  });
  onTestFinished(() => hook.unmount());
  await until(() => expect(hook.result.current.folded?.summary).toBe('loss: 7%'));
  await runwire.client.event.publish.mutate({ events: [{ ...sample, value: 8 }] });

  await until(() => expect(hook.result.current.all.run?.summary).toBe('loss: 8%'));
  await until(() => expect(hook.result.current.folded?.summary).toBe('loss: 8%'));
  expect(hook.result.current.metrics.events.map(({ value }) => value)).toEqual([7, 8]);
  expect(hook.result.current.all.events.map(({ type }) => type)).toEqual([
    'run.created',
    'metric.sampled',
    'metric.sampled',
  ]);
  expect(received).toEqual([
    ['type', 7],
    ['category', 7],
    ['type', 8],
    ['category', 8],
  ]);
});
