import { expect, onTestFinished, test, vi } from 'vitest';
import { z } from 'zod';
import { type RunEvent, runwireEvents } from '../../shared/events.ts';
import { defineEvent } from '../../shared/registry.ts';
import { Handlers } from './handlers.ts';

const eventOf = (type: string) => ({ type, seq: 1, runSeq: 1 }) as unknown as RunEvent;

test('[H10] a handler for a category receives the own event types of that category', () => {
  const events = {
    ...runwireEvents,
    'sensor.read': defineEvent({
      type: 'sensor.read',
      category: 'sensor',
      topic: 'jobs',
      fields: { value: z.number() },
    }),
  };
  const handlers = new Handlers(events);
  const received: string[] = [];
  handlers.subscribeCategory('sensor' as never, ({ type }: RunEvent) => void received.push(`sensor: ${type}`));
  handlers.subscribeCategory('run', ({ type }) => void received.push(`run: ${type}`));
  for (const type of ['sensor.read', 'run.started', 'unknown.type'])
    for (const call of handlers.calls(eventOf(type))) call();
  expect(received).toEqual(['sensor: sensor.read', 'run: run.started']);
});

test('[H11] on a platform without reportError, a handler that throws is reported on the console and ends no process', async () => {
  const logged = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  vi.stubGlobal('reportError', undefined);
  onTestFinished(() => {
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });
  const handlers = new Handlers(runwireEvents);
  const failure = new Error('of the application');
  const received: number[] = [];
  handlers.subscribe('run.started', () => {
    throw failure;
  });
  handlers.subscribe('run.started', ({ seq }) => void received.push(seq));
  for (const call of handlers.calls(eventOf('run.started'))) call();
  await new Promise((resolve) => setImmediate(resolve)); // An uncaught error would fail the test run here.
  expect(received).toEqual([1]);
  expect(logged.mock.calls).toEqual([[failure]]);
});
