import { z } from 'zod';
import { refuse } from './event-names.ts';
import { checkTable, foldOf, runwireTable } from './event-table.ts';
import * as field from './fields.ts';
import {
  type CategoryOf,
  type CheckedDraftOf,
  categoriesOf,
  type DraftOf,
  defineEvent,
  draftSchemaOf,
  type EventOf,
  eventSchemaOf,
  type Registry,
  type TypeOf,
} from './registry.ts';

/**
 * The registry of Runwire's twelve event types. Below the registry, each schema and each TypeScript type has a public
 * name. A further event type needs only an entry in the registry, but no names.
 */

const failure = z.strictObject({ message: field.message(), code: field.name().optional() });
// zod silently drops the key `__proto__` from a record, so this check refuses the key before zod reads the record.
const labels = z
  .custom<Record<string, string>>((value) => !Object.hasOwn(Object(value), '__proto__'), {
    error: 'has a key that is not allowed',
  })
  .pipe(
    z
      .record(field.text(100), field.text(200, 0))
      .refine((value) => Object.keys(value).length <= 64, { error: 'must have at most 64 labels' }),
  );
const attempt = z.int().positive().max(1_000_000);
/** What the decider of an approval had seen: a position in the log, and the number of the run's last event up to it. */
const seen = { seenSeq: z.int().nonnegative().optional(), seenRunSeq: z.int().nonnegative().optional() };

/** The registry of the twelve event types. A registry with own types begins with `...runwireEvents`. */
export const runwireEvents = {
  'run.created': defineEvent({
    type: 'run.created',
    ...runwireTable['run.created'],
    topic: 'jobs',
    fields: {
      name: field.name(),
      stages: z
        .array(z.strictObject({ stageId: field.id(), name: field.name() }))
        .max(10_000)
        .optional(),
      // Place of the first of `stages` in the plan. With it, the event adds stages to the plan, and changes nothing else.
      stagesFrom: z.int().positive().max(10_000).optional(),
      createdBy: field.userId().optional(),
      labels: labels.optional(),
      parentRunId: field.scopeId().optional(),
    },
  }),
  'run.started': defineEvent({
    type: 'run.started',
    ...runwireTable['run.started'],
    topic: 'jobs',
    fields: {},
  }),
  'run.completed': defineEvent({
    type: 'run.completed',
    ...runwireTable['run.completed'],
    topic: 'jobs',
    fields: { durationMs: field.durationMs().optional(), summary: field.message().optional() },
  }),
  'run.failed': defineEvent({
    type: 'run.failed',
    ...runwireTable['run.failed'],
    topic: 'jobs',
    fields: { error: failure, durationMs: field.durationMs().optional(), stageId: field.id().optional() },
  }),
  'stage.started': defineEvent({
    type: 'stage.started',
    ...runwireTable['stage.started'],
    topic: 'jobs',
    fields: {
      stageId: field.id(),
      name: field.onErase('blanked', field.name()).optional(),
      attempt: attempt.optional(),
    },
  }),
  'stage.progress': defineEvent({
    type: 'stage.progress',
    ...runwireTable['stage.progress'],
    topic: 'jobs',
    fields: {
      stageId: field.id(),
      progress: z.number().min(0).max(100).optional(),
      message: field.onErase('blanked', field.message()).optional(),
      done: field.amount().optional(),
      total: field.amount().optional(),
      attempt: attempt.optional(),
    },
    check: {
      path: 'progress',
      message: 'needs at least one of progress, message, done',
      holds: (event) => event.progress !== undefined || event.message !== undefined || event.done !== undefined,
    },
  }),
  'stage.completed': defineEvent({
    type: 'stage.completed',
    ...runwireTable['stage.completed'],
    topic: 'jobs',
    fields: { stageId: field.id(), durationMs: field.durationMs().optional(), attempt: attempt.optional() },
  }),
  'stage.failed': defineEvent({
    type: 'stage.failed',
    ...runwireTable['stage.failed'],
    topic: 'jobs',
    fields: {
      stageId: field.id(),
      error: failure,
      willRetry: z.boolean().optional(),
      attempt: attempt.optional(),
    },
  }),
  'artifact.created': defineEvent({
    type: 'artifact.created',
    ...runwireTable['artifact.created'],
    topic: 'jobs',
    fields: {
      artifactId: field.id(),
      name: field.name(),
      stageId: field.id().optional(),
      kind: field.name().optional(),
      uri: field.uri().optional(),
      sizeBytes: z.int().nonnegative().optional(),
      sha256: field.sha256().optional(),
    },
  }),
  'governance.required': defineEvent({
    type: 'governance.required',
    ...runwireTable['governance.required'],
    topic: 'governance',
    fields: {
      approvalId: field.id(),
      title: field.name(),
      reason: field.message().optional(),
      stageId: field.id().optional(),
      requestedBy: field.userId().optional(),
      approvers: z.array(field.userId()).max(100).optional(),
      requiredApprovals: z.int().positive().max(100).optional(),
      requiredRole: field.onErase('kept', field.name()).optional(),
      expiresAt: field.instant().optional(),
      evidence: z.array(field.id()).max(100).optional(),
      authority: z.enum(['runwire', 'producer']).optional(),
    },
  }),
  'approval.granted': defineEvent({
    type: 'approval.granted',
    ...runwireTable['approval.granted'],
    topic: 'governance',
    fields: {
      approvalId: field.id(),
      decidedBy: field.userId(),
      comment: field.message().optional(),
      ...seen,
    },
  }),
  'approval.denied': defineEvent({
    type: 'approval.denied',
    ...runwireTable['approval.denied'],
    topic: 'governance',
    fields: {
      approvalId: field.id(),
      decidedBy: field.userId(),
      reason: field.message(),
      expired: z.boolean().optional(),
      ...seen,
    },
  }),
} as const satisfies { [Type in keyof typeof runwireTable]: object };

/** The registry of the twelve types. */
export type RunwireEvents = typeof runwireEvents;

/** Validates a logged event of the type `run.created`. */
export const RunCreatedEventSchema = runwireEvents['run.created'].event;
/** Validates a logged event of the type `run.started`. */
export const RunStartedEventSchema = runwireEvents['run.started'].event;
/** Validates a logged event of the type `run.completed`. */
export const RunCompletedEventSchema = runwireEvents['run.completed'].event;
/** Validates a logged event of the type `run.failed`. */
export const RunFailedEventSchema = runwireEvents['run.failed'].event;
/** Validates a logged event of the type `stage.started`. */
export const StageStartedEventSchema = runwireEvents['stage.started'].event;
/** Validates a logged event of the type `stage.progress`. */
export const StageProgressEventSchema = runwireEvents['stage.progress'].event;
/** Validates a logged event of the type `stage.completed`. */
export const StageCompletedEventSchema = runwireEvents['stage.completed'].event;
/** Validates a logged event of the type `stage.failed`. */
export const StageFailedEventSchema = runwireEvents['stage.failed'].event;
/** Validates a logged event of the type `artifact.created`. */
export const ArtifactCreatedEventSchema = runwireEvents['artifact.created'].event;
/** Validates a logged event of the type `governance.required`. */
export const GovernanceRequiredEventSchema = runwireEvents['governance.required'].event;
/** Validates a logged event of the type `approval.granted`. */
export const ApprovalGrantedEventSchema = runwireEvents['approval.granted'].event;
/** Validates a logged event of the type `approval.denied`. */
export const ApprovalDeniedEventSchema = runwireEvents['approval.denied'].event;

/** Schema of a logged event of any of the twelve types. */
export const AnyWebSocketEventSchema = eventSchemaOf(runwireEvents);
/** Schema of a draft (an event before the server logs it) of any of the twelve types. */
export const RunEventDraftSchema = draftSchemaOf(runwireEvents);

/**
 * An event of the twelve types as the log has it: the fields of the draft, `eventId`, `timestamp`, `actor`,
 * `recordedAt`, `seq` and `runSeq`.
 */
export type RunEvent = EventOf<RunwireEvents>;
/**
 * An event of the twelve types before it is published. Without `eventId` it gets a random one; without `timestamp`, the
 * time of its arrival.
 */
export type RunEventDraft = DraftOf<RunwireEvents>;
/** A draft after validation. Its instants are converted to UTC with milliseconds. */
export type CheckedDraft = CheckedDraftOf<RunwireEvents>;
/** One of the twelve types. */
export type RunEventType = TypeOf<RunwireEvents>;
/** One of the categories of the twelve types, by which subscriptions select events. */
export type EventCategory = CategoryOf<RunwireEvents>;

/** A logged event of the type `run.created`. */
export type RunCreatedEvent = EventOf<RunwireEvents, 'run.created'>;
/** A logged event of the type `run.started`. */
export type RunStartedEvent = EventOf<RunwireEvents, 'run.started'>;
/** A logged event of the type `run.completed`. */
export type RunCompletedEvent = EventOf<RunwireEvents, 'run.completed'>;
/** A logged event of the type `run.failed`. */
export type RunFailedEvent = EventOf<RunwireEvents, 'run.failed'>;
/** A logged event of the type `stage.started`. */
export type StageStartedEvent = EventOf<RunwireEvents, 'stage.started'>;
/** A logged event of the type `stage.progress`. */
export type StageProgressEvent = EventOf<RunwireEvents, 'stage.progress'>;
/** A logged event of the type `stage.completed`. */
export type StageCompletedEvent = EventOf<RunwireEvents, 'stage.completed'>;
/** A logged event of the type `stage.failed`. */
export type StageFailedEvent = EventOf<RunwireEvents, 'stage.failed'>;
/** A logged event of the type `artifact.created`. */
export type ArtifactCreatedEvent = EventOf<RunwireEvents, 'artifact.created'>;
/** A logged event of the type `governance.required`. */
export type GovernanceRequiredEvent = EventOf<RunwireEvents, 'governance.required'>;
/** A logged event of the type `approval.granted`. */
export type ApprovalGrantedEvent = EventOf<RunwireEvents, 'approval.granted'>;
/** A logged event of the type `approval.denied`. */
export type ApprovalDeniedEvent = EventOf<RunwireEvents, 'approval.denied'>;

/** The event types of each category. */
export const EventCategories = categoriesOf(runwireEvents);

/** Returns whether a value is a valid logged event of one of the twelve types. */
export function isValidWebSocketEvent(value: unknown): value is RunEvent {
  return AnyWebSocketEventSchema.safeParse(value).success;
}

/** Applies one logged event of the twelve types to the rows of its run, as `run-fold.ts` explains. */
export const foldEvent = foldOf(runwireEvents);

/**
 * Throws a `RunwireError` with the code `INVALID_INPUT` and a path: for an event type under a key that is not its type, and for
 * one of the twelve types with another definition, because the server publishes these types itself.
 */
export function checkRegistry(registry: Registry): void {
  checkTable(registry);
  for (const [type, definition] of Object.entries<object>(runwireEvents)) {
    if (Object.hasOwn(registry, type) && registry[type] !== definition) {
      refuse(type, 'is a type of Runwire: define a type of another name');
    }
  }
}
