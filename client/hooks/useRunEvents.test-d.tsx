import { skipToken } from '@tanstack/react-query';
import { createTRPCReact } from '@trpc/react-query';
import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import type { RunwireError } from '../../shared/errors.ts';
import { runwireTable } from '../../shared/event-table.ts';
import {
  type ApprovalDeniedEvent,
  type ApprovalGrantedEvent,
  type ArtifactCreatedEvent,
  type GovernanceRequiredEvent,
  type RunEvent,
  type RunEventType,
  type RunFailedEvent,
  runwireEvents,
  type StageFailedEvent,
  type StageProgressEvent,
} from '../../shared/events.ts';
import type { StreamSignal } from '../../shared/protocol.ts';
import { type DraftOf, defineEvent, type EventOf } from '../../shared/registry.ts';
import type { RouterOf } from '../../shared/router.ts';
import type { RunHeader, RunView } from '../../shared/run.ts';
import { ownEvents } from '../../tests/support/own-events.ts';
import {
  type ConnectionState,
  createRunwireHooks,
  createRunwireReact,
  trpc,
  usePublish,
  useRunEvents,
} from '../react/index.ts';

/** Only compiled, never run. */

test('[C7] onData of useSubscription is inferred', () => {
  trpc.onRunEvent.useSubscription(
    { runId: 'r1' },
    {
      onData: ({ id, data }) => {
        expectTypeOf(id).toEqualTypeOf<string>();
        expectTypeOf(data).toExtend<RunEvent | StreamSignal>();
        expectTypeOf(data.type).toEqualTypeOf<RunEventType | StreamSignal['type']>();
        if (data.type === 'stage.progress') expectTypeOf(data.progress).toEqualTypeOf<number | undefined>();
        if (data.type === 'stream.gap') expectTypeOf(data.toSeq).toEqualTypeOf<number>();
        // @ts-expect-error -- unknown event type
        if (data.type === 'stage.paused') return;
        // @ts-expect-error -- only some events have a stageId
        data.stageId;
      },
    },
  );
  trpc.onRunSummary.useSubscription(undefined, {
    onData: ({ data }) => expectTypeOf(data).toExtend<RunHeader | StreamSignal>(),
  });
});

test('[C7] inputs with wrong types, missing fields and unknown keys do not compile', () => {
  const options = { onData: () => undefined };
  // @ts-expect-error -- runId is missing
  trpc.onRunEvent.useSubscription({}, options);
  // @ts-expect-error -- runId is a string
  trpc.onRunEvent.useSubscription({ runId: 1 }, options);
  // @ts-expect-error -- unknown key
  trpc.onRunEvent.useSubscription({ runId: 'r1', run: 'r1' }, options);
  // @ts-expect-error -- unknown event type
  trpc.onRunEvent.useSubscription({ runId: 'r1', types: ['stage.paused'] }, options);
  // @ts-expect-error -- unknown category
  trpc.onRunEvent.useSubscription({ runId: 'r1', categories: ['stages'] }, options);
  // @ts-expect-error -- unknown procedure
  trpc.onRunEvents;

  const { data } = trpc.run.get.useQuery({ runId: 'r1' });
  expectTypeOf(data).toExtend<{ run: RunView; cursor: string } | undefined>();
  const publish = trpc.event.publish.useMutation();
  // @ts-expect-error -- stageId is missing
  publish.mutate({ events: [{ type: 'stage.started', projectId: 'p', runId: 'r' }] });
  // @ts-expect-error -- the server sets seq
  publish.mutate({ events: [{ type: 'run.started', projectId: 'p', runId: 'r', seq: 1 }] });
});

test('[C4] [C7] handlers of useRunEvents receive the narrowed event type', () => {
  const hook = useRunEvents({ runId: 'r1' });
  hook.subscribe('stage.progress', (event) => {
    expectTypeOf(event).toEqualTypeOf<StageProgressEvent>();
    expectTypeOf(event.progress).toEqualTypeOf<number | undefined>();
  });
  hook.subscribe_category('governance', (event) => {
    expectTypeOf(event).toEqualTypeOf<GovernanceRequiredEvent | ApprovalGrantedEvent | ApprovalDeniedEvent>();
  });
  expectTypeOf(hook.subscribe('run.started', () => undefined)).toEqualTypeOf<() => void>();
  hook.unsubscribe('stage.progress', (event) => expectTypeOf(event).toEqualTypeOf<StageProgressEvent>());
  hook.unsubscribe_category('run', (event) => expectTypeOf(event.type).toExtend<`run.${string}`>());

  // @ts-expect-error -- run.completed has no progress
  hook.subscribe('run.completed', (event) => event.progress);
  // @ts-expect-error -- unknown event type
  hook.subscribe('stage.paused', () => undefined);
  // @ts-expect-error -- the handler is for another type
  hook.subscribe('run.started', (event: StageProgressEvent) => event.stageId);
  // @ts-expect-error -- unknown category
  hook.subscribe_category('stages', () => undefined);
});

test('[C4] useRunEvents returns the fields of the original design and more', () => {
  const hook = useRunEvents({ scope: 'user', enabled: true, limit: 10, onError: (error) => error.message });
  expectTypeOf(hook.isConnected).toEqualTypeOf<boolean>();
  expectTypeOf(hook.connectionState).toEqualTypeOf<ConnectionState>();
  expectTypeOf<ConnectionState>().toEqualTypeOf<
    'idle' | 'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'failed'
  >();
  expectTypeOf(hook.error).toEqualTypeOf<RunwireError | null>();
  expectTypeOf(hook.reconnect).toEqualTypeOf<() => void>();
  expectTypeOf(hook.disconnect).toEqualTypeOf<() => void>();
  expectTypeOf(hook.events).toEqualTypeOf<readonly RunEvent[]>();
  expectTypeOf(hook.run).toEqualTypeOf<RunView | undefined>();
  expectTypeOf(hook.phase).toEqualTypeOf<'replaying' | 'live' | 'gap'>();
});

test('[C7] useRunEvents takes a run, a project or a scope, and no unknown option', () => {
  useRunEvents({ runId: 'r1', projectId: 'p1', types: ['run.failed'], categories: ['stage'], from: 'start' });
  useRunEvents({ projectId: 'p1' });
  useRunEvents({ scope: 'all' });
  // @ts-expect-error -- runId, projectId or scope is missing
  useRunEvents({});
  // @ts-expect-error -- runId and scope exclude each other
  useRunEvents({ runId: 'r1', scope: 'all' });
  // @ts-expect-error -- unknown scope
  useRunEvents({ scope: 'team' });
  // @ts-expect-error -- unknown option
  useRunEvents({ runId: 'r1', autoConnect: true });
  // @ts-expect-error -- unknown event type
  useRunEvents({ runId: 'r1', types: ['stage.paused'] });
});

test('[C7] [E6] an event type added to the registry is inferred through its router', () => {
  const events = {
    ...runwireEvents,
    'stage.paused': defineEvent({
      type: 'stage.paused',
      category: 'stage',
      topic: 'jobs',
      fields: { stageId: z.string(), until: z.string().optional() },
    }),
  };
  const own = createTRPCReact<RouterOf<typeof events>>();
  own.onRunEvent.useSubscription(
    { runId: 'r1', types: ['stage.paused', 'run.failed'] },
    {
      onData: ({ data }) => {
        if (data.type === 'stage.paused') expectTypeOf(data.until).toEqualTypeOf<string | undefined>();
      },
    },
  );
  own.event.publish.useMutation().mutate({
    events: [{ type: 'stage.paused', projectId: 'p', runId: 'r', stageId: 's' }],
  });
});

test('[C4] `types` and `categories` narrow the events and the handlers', () => {
  const failed = useRunEvents({ runId: 'r1', types: ['stage.failed', 'run.failed'] });
  expectTypeOf(failed.events).toEqualTypeOf<readonly (StageFailedEvent | RunFailedEvent)[]>();
  failed.subscribe('run.failed', (event) => expectTypeOf(event).toEqualTypeOf<RunFailedEvent>());
  failed.subscribe_category('stage', (event) => expectTypeOf(event).toEqualTypeOf<StageFailedEvent>());
  // @ts-expect-error -- the filter lets no such event pass
  failed.subscribe('run.started', () => undefined);

  const either = useRunEvents({ scope: 'all', types: ['run.failed'], categories: ['artifact'] });
  expectTypeOf(either.events).toEqualTypeOf<readonly (RunFailedEvent | ArtifactCreatedEvent)[]>();
  const category = useRunEvents({ scope: 'all', categories: ['artifact'] });
  expectTypeOf(category.events).toEqualTypeOf<readonly ArtifactCreatedEvent[]>();
  const maybe = useRunEvents({ scope: 'all', types: Math.random() > 0.5 ? ['run.failed'] : undefined });
  expectTypeOf(maybe.events).toEqualTypeOf<readonly RunEvent[]>();
  const none = useRunEvents({ scope: 'all', types: [] });
  expectTypeOf(none.events).toEqualTypeOf<readonly never[]>();
  const some: RunEventType[] = ['run.failed'];
  expectTypeOf(useRunEvents({ scope: 'all', types: some }).events).toEqualTypeOf<readonly RunEvent[]>();
});

test('[E6] the hooks of createRunwireReact are typed by the registry', () => {
  const own = createRunwireReact(ownEvents);
  const hook = own.useRunEvents({ runId: 'r1' });
  expectTypeOf(hook.events).toEqualTypeOf<readonly EventOf<typeof ownEvents>[]>();
  hook.subscribe('metric.sampled', (event) => expectTypeOf(event.value).toEqualTypeOf<number>());
  hook.subscribe_category('metric', (event) => expectTypeOf(event.type).toEqualTypeOf<'metric.sampled'>());
  expectTypeOf(own.useRunEvents({ runId: 'r1', categories: ['metric'] }).events).toEqualTypeOf<
    readonly EventOf<typeof ownEvents, 'metric.sampled'>[]
  >();
  own.trpc.onRunEvent.useSubscription({ runId: 'r1', types: ['metric.sampled'] });
  own.useRunwire().client.run.history.query({ runId: 'r1', types: ['metric.sampled'] });
  const found = own.useSearch({ text: 'x', types: ['metric.sampled'] });
  expectTypeOf(found.events).toEqualTypeOf<readonly EventOf<typeof ownEvents, 'metric.sampled'>[]>();
  own
    .usePublish()
    .publish({ type: 'metric.sampled', projectId: 'p', runId: 'r', value: 1 } as DraftOf<
      typeof ownEvents,
      'metric.sampled'
    >);
  // @ts-expect-error -- the twelve do not have this type
  usePublish().publish({ type: 'metric.sampled', projectId: 'p', runId: 'r', value: 1 });
  // @ts-expect-error -- no registry has this type
  hook.subscribe('metric.lost', () => undefined);
  // @ts-expect-error -- no such category
  own.useRunEvents({ runId: 'r1', categories: ['metrics'] });
  // @ts-expect-error -- the twelve do not have this type
  useRunEvents({ runId: 'r1', types: ['metric.sampled'] });

  createRunwireHooks<typeof ownEvents>({ ...runwireTable, 'metric.sampled': { category: 'metric' } });
  // @ts-expect-error -- the table lacks the own type
  createRunwireHooks<typeof ownEvents>(runwireTable);
  // @ts-expect-error -- the own type has another category
  createRunwireHooks<typeof ownEvents>({ ...runwireTable, 'metric.sampled': { category: 'run' } });
});

test('[H15] [H16] [H17] callbacks are typed by the filter, and `select` by what it returns', () => {
  const hook = useRunEvents({
    runId: 'r1',
    types: ['stage.failed', 'run.failed'],
    lastEventId: sessionStorage.getItem('cursor'),
    onEvent: (event) => expectTypeOf(event).toEqualTypeOf<StageFailedEvent | RunFailedEvent>(),
    onEnd: (event) => expectTypeOf(event.type).toEqualTypeOf<'run.completed' | 'run.failed'>(),
    onGap: (gap) => expectTypeOf(gap.reason).toEqualTypeOf<'expired' | 'epoch_changed' | 'ahead' | 'access_changed'>(),
    stopOnEnd: true,
    pauseWhenHidden: true,
  });
  expectTypeOf(hook.cursor).toEqualTypeOf<string | null>();
  const selected = useRunEvents({ runId: 'r1', select: ({ status, progress }) => ({ status, progress }) });
  expectTypeOf(selected.run).toEqualTypeOf<Pick<RunView, 'status' | 'progress'> | undefined>();
  const maybe = useRunEvents(Math.random() > 0.5 ? { runId: 'r1', types: ['run.failed'] } : skipToken);
  expectTypeOf(maybe.events).toEqualTypeOf<readonly RunFailedEvent[]>();
  // @ts-expect-error -- the filter lets no such event pass
  useRunEvents({ runId: 'r1', types: ['run.failed'], onEvent: (event: StageProgressEvent) => event });

  const own = createRunwireReact(ownEvents);
  own.useRunEvents({
    runId: 'r1',
    categories: ['metric'],
    onEvent: (event) => expectTypeOf(event.value).toEqualTypeOf<number>(),
  });
});
