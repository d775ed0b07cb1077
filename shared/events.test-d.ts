import { assertType, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { z as z3 } from 'zod/v3';
import { foldOf } from './event-table.ts';
import {
  EventCategories,
  type EventCategory,
  foldEvent,
  isValidWebSocketEvent,
  type RunEvent,
  type RunEventDraft,
  type RunEventType,
  runwireEvents,
  type StageProgressEvent,
} from './events.ts';
import { isSignal, type StreamSignal } from './protocol.ts';
import {
  type CategoryOf,
  categoriesOf,
  type DraftOf,
  defineEvent,
  draftSchemaOf,
  type EventOf,
  eventSchemaOf,
  type TypeOf,
} from './registry.ts';
import { RunMemory } from './run-memory.ts';

const registry = {
  ...runwireEvents,
  'instrument.reading': defineEvent({
    type: 'instrument.reading',
    category: 'instrument',
    topic: 'jobs',
    fields: { celsius: z.number(), at: z.string().optional() },
    fold: (_rows, event) => {
      expectTypeOf(event.celsius).toEqualTypeOf<number>();
      expectTypeOf(event.seq).toEqualTypeOf<number>();
      expectTypeOf(event.type).toEqualTypeOf<'instrument.reading'>();
      // @ts-expect-error: not a field of this type.
      event.fahrenheit;
    },
  }),
};

type Registry = typeof registry;

test('[E6] an added type is inferred in types, categories, drafts and events', () => {
  expectTypeOf<TypeOf<Registry>>().toEqualTypeOf<RunEventType | 'instrument.reading'>();
  expectTypeOf<CategoryOf<Registry>>().toEqualTypeOf<EventCategory | 'instrument'>();
  expectTypeOf(categoriesOf(registry).instrument).toEqualTypeOf<readonly TypeOf<Registry>[]>();
  expectTypeOf<EventOf<Registry, 'instrument.reading'>['celsius']>().toEqualTypeOf<number>();
  expectTypeOf<EventOf<Registry, 'instrument.reading'>['runSeq']>().toEqualTypeOf<number>();
  expectTypeOf<Extract<EventOf<Registry>, { type: 'instrument.reading' }>['at']>().toEqualTypeOf<string | undefined>();
  expectTypeOf<Extract<EventOf<Registry>, { type: 'run.created' }>['name']>().toEqualTypeOf<string>();

  const envelope = { projectId: 'p', runId: 'r' };
  assertType<DraftOf<Registry>>({ type: 'instrument.reading', ...envelope, celsius: 4 });
  // @ts-expect-error: a field of the wrong type.
  assertType<DraftOf<Registry>>({ type: 'instrument.reading', ...envelope, celsius: '4' });
  // @ts-expect-error: a field is missing.
  assertType<DraftOf<Registry>>({ type: 'instrument.reading', ...envelope });
  // @ts-expect-error: the registry of twelve does not know it.
  assertType<RunEventDraft>({ type: 'instrument.reading', ...envelope, celsius: 4 });
});

test('[E6] schemas and fold of a registry have its types', () => {
  expectTypeOf<z.input<ReturnType<typeof draftSchemaOf<Registry>>>>().toEqualTypeOf<DraftOf<Registry>>();
  const event = eventSchemaOf(registry).parse({});
  expectTypeOf(event).toEqualTypeOf<EventOf<Registry>>();
  expectTypeOf(draftSchemaOf(registry).parse({}).type).toEqualTypeOf<TypeOf<Registry>>();
  foldOf(registry)(new RunMemory(), event);
  // @ts-expect-error: the fold of the twelve does not know the added type.
  foldEvent(new RunMemory(), event);
});

test('[E6] there are twelve types in four categories', () => {
  expectTypeOf<EventCategory>().toEqualTypeOf<'run' | 'stage' | 'artifact' | 'governance'>();
  expectTypeOf<keyof typeof EventCategories>().toEqualTypeOf<EventCategory>();
  expectTypeOf<RunEvent['type']>().toEqualTypeOf<RunEventType>();
  expectTypeOf<RunEventDraft['type']>().toEqualTypeOf<RunEventType>();
  expectTypeOf<RunEventType>().toEqualTypeOf<
    | `run.${'created' | 'started' | 'completed' | 'failed'}`
    | `stage.${'started' | 'progress' | 'completed' | 'failed'}`
    | 'artifact.created'
    | 'governance.required'
    | `approval.${'granted' | 'denied'}`
  >();
  // @ts-expect-error: no such category.
  EventCategories.stream;
});

test('[E7] isValidWebSocketEvent narrows unknown to the union, and `type` narrows further', () => {
  const value: unknown = {};
  if (isValidWebSocketEvent(value)) {
    expectTypeOf(value).toEqualTypeOf<RunEvent>();
    if (value.type === 'stage.progress') {
      expectTypeOf(value).toEqualTypeOf<StageProgressEvent>();
      expectTypeOf(value.progress).toEqualTypeOf<number | undefined>();
      expectTypeOf(value.stageId).toEqualTypeOf<string>();
      // @ts-expect-error: a field of another type.
      value.decidedBy;
    }
    if (value.type === 'run.failed')
      expectTypeOf(value.error).toEqualTypeOf<{ message: string; code?: string | undefined }>();
    if (value.type === 'governance.required') {
      expectTypeOf(value.authority).toEqualTypeOf<'runwire' | 'producer' | undefined>();
    }
    // @ts-expect-error: only some types have it.
    value.stageId;
  } else {
    expectTypeOf(value).toEqualTypeOf<unknown>();
  }
});

test('every logged event has the envelope', () => {
  expectTypeOf<RunEvent['seq' | 'runSeq']>().toEqualTypeOf<number>();
  expectTypeOf<
    RunEvent['eventId' | 'timestamp' | 'recordedAt' | 'actor' | 'projectId' | 'runId']
  >().toEqualTypeOf<string>();
  expectTypeOf<RunEvent['audience']>().toEqualTypeOf<string[] | undefined>();
});

test('[E1] a draft of a wrong type, with a field missing, or with an unknown or server-set key does not compile', () => {
  const envelope = { projectId: 'p', runId: 'r' };
  assertType<RunEventDraft>({ type: 'run.started', ...envelope });
  assertType<RunEventDraft>({ type: 'run.created', ...envelope, name: 'n', labels: { a: 'b' }, eventId: 'e' });
  // @ts-expect-error: no such type.
  assertType<RunEventDraft>({ type: 'run.paused', ...envelope });
  // @ts-expect-error: `name` is missing.
  assertType<RunEventDraft>({ type: 'run.created', ...envelope });
  // @ts-expect-error: `runId` is missing.
  assertType<RunEventDraft>({ type: 'run.started', projectId: 'p' });
  // @ts-expect-error: `progress` is a number.
  assertType<RunEventDraft>({ type: 'stage.progress', ...envelope, stageId: 'a', progress: '50' });
  // @ts-expect-error: a label is text.
  assertType<RunEventDraft>({ type: 'run.created', ...envelope, name: 'n', labels: { a: 1 } });
  // @ts-expect-error: `color` is not a field.
  assertType<RunEventDraft>({ type: 'stage.started', ...envelope, stageId: 'a', color: 'red' });
  // @ts-expect-error: `seq` is set by the log.
  assertType<RunEventDraft>({ type: 'run.started', ...envelope, seq: 1 });
  // @ts-expect-error: `authority` is one of two.
  assertType<RunEventDraft>({ type: 'governance.required', ...envelope, approvalId: 'x', title: 't', authority: 'me' });
});

test('isSignal narrows an item to a signal or an event', () => {
  const item = {} as RunEvent | StreamSignal;
  if (isSignal(item)) expectTypeOf(item).toEqualTypeOf<StreamSignal>();
  else expectTypeOf(item).toEqualTypeOf<RunEvent>();
  // @ts-expect-error: not a reason for a gap.
  assertType<StreamSignal>({ type: 'stream.gap', reason: 'slow', fromSeq: 1, toSeq: 2 });
});

test('[E9] a definition with a reserved name, or with values that JSON cannot carry, does not compile', () => {
  const own = { category: 'c', topic: 't' } as const;
  // @ts-expect-error: a type of the signals.
  defineEvent({ ...own, type: 'stream.own', fields: {} });
  // @ts-expect-error: a field of the envelope.
  defineEvent({ ...own, type: 'own', fields: { runId: z.string() } });
  // @ts-expect-error: JSON has no dates.
  defineEvent({ ...own, type: 'own', fields: { at: z.date().optional() } });
  // @ts-expect-error: JSON has no big integers.
  defineEvent({ ...own, type: 'own', fields: { size: z.bigint() } });
  // @ts-expect-error: a schema of zod 3.
  defineEvent({ ...own, type: 'own', fields: { old: z3.string() } });
  defineEvent({ ...own, type: 'own', fields: { any: z.any(), unknown: z.unknown(), json: z.json().optional() } });
});
